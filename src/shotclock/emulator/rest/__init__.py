"""IBM's REST API on top of the emulator's core, for IBM's unmodified clients. Everything here is EMULATED."""
