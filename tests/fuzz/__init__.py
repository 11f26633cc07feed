"""Targets of fuzzing: plain functions from bytes, for the short corpus of CI and for long runs."""
