"""Reference workloads and their data."""
