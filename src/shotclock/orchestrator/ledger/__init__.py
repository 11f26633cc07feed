"""What is paid for, written down before it is submitted."""
