"""Providers, one vendor per module; `registry` loads them by name. The emulated one is in `emulator`."""
