"""What a script can tell from how a verb ended; an error's own code is its class's `exit_code`."""

RUN_FAILED = 4
INCONCLUSIVE = 5
THRESHOLD_FAILED = 99
INTERRUPTED = 130
READER_GONE = 141
"""What a shell gives for a pipe whose reader has left."""
