"""Its presence puts tests/ on the path, so that a test may import `harness` and its like."""

from __future__ import annotations

import os
import tempfile

# templates compiled by tests go to a cache of their own, not to the user's
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="shotclock-tests-")
