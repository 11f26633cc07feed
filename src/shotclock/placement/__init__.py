"""Placement: accelerators of this host and ways to an orchestrator on it."""
