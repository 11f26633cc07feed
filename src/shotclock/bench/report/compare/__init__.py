"""The table of a comparison."""
