"""One file per kernel; a kernel proposes subproblems and turns their answers into deltas."""
