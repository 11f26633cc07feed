"""Metrics of what happens; it observes and never decides."""
