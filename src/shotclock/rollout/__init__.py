"""Feature flags and canary: which calls may use the QPU, and whether that goes well."""
