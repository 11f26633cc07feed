"""A host's figures as metric families, sampled in a background thread."""
