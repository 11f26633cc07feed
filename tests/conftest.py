"""Its presence puts tests/ on the path, so that a test may import `harness` and its like."""

from __future__ import annotations

import os
import tempfile

# two threads of a matrix product wait for each other on two busy cores
os.environ.setdefault("OMP_NUM_THREADS", "1")

# templates compiled by tests go to a cache of their own, not to the user's
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="shotclock-tests-")
