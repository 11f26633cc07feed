"""Judges any dispatcher: arms side by side, honest percentiles, cost, verdict."""
