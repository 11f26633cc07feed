"""The ledger of paid jobs: each is recorded durably before it is submitted."""
