"""Shotclock puts a quantum processor behind a deadline."""

__version__ = "0.1.0"
