"""Checks a run folder against every rule it must meet, and lists all that it breaks."""
