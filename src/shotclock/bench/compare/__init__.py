"""Compares two sets of runs pair by pair."""
