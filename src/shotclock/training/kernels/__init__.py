"""One file a kernel: propose a subproblem, turn its answer into a delta."""
