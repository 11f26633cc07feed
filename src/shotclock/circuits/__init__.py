"""From a subproblem to a circuit, and from samples to an answer."""
