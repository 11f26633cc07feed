"""Keeps the promise: every accepted call ends in exactly one outcome, by its deadline."""
