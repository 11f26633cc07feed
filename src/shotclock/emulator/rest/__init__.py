"""IBM's REST API over the emulator's core, for IBM's own, unmodified clients. Everything here is EMULATED."""
