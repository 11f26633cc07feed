"""Runs the arms and writes the run folder."""
