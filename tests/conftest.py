"""Its presence puts tests/ on the path, so that a test may import `synthetic` and its like."""
