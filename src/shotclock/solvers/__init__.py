"""Classical answers: the fallback, the incumbent and the control arms. Every one is a `Solver`."""
