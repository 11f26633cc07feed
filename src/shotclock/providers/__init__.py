"""Providers, one vendor a module; `registry` loads them by name. The emulated one has its own room."""
