"""Engines: they run tasks on the hosts of a cluster; one scheduler a file."""
