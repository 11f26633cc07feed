"""Quantum meaning: subproblem to circuit, samples to answer."""
