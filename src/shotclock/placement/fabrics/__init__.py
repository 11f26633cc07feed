"""Fabrics of a host: which devices are on each, what state they are in, and what they have counted."""
