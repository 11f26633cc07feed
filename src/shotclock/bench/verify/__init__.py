"""Checks a run folder against all rules and lists every violation."""
