"""The page that shows several runs side by side."""
