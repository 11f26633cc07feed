"""Rehearsals of incidents against the real stack: the fault at its source, the alert, the runbook's steps."""
