"""Asks and uses: kernels find subproblems, the aggregator applies answers where they still hold."""
