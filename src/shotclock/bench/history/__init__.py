"""Runs of the past: the store, and what its series show."""
