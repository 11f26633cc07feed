"""Exit codes of a subcommand; an error's code is its class's `exit_code`."""

RUN_FAILED = 4
INCONCLUSIVE = 5
THRESHOLD_FAILED = 99
INTERRUPTED = 130
READER_GONE = 141
"""A shell's code for a pipe whose reader has exited."""
