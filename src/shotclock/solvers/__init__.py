"""Classical solvers: the fallback, the incumbent and the control arms, all behind the `Solver` protocol."""
