"""File descriptors: as many as this process may have, and whether they suffice."""

from __future__ import annotations

import resource
from contextlib import suppress

MOST = 65_536
"""More is of no use here, and some libraries close every possible descriptor in a child."""


def raise_limit() -> int:
    """Raises the soft limit as far as the hard one allows; the limit in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft == resource.RLIM_INFINITY:
        return MOST
    if soft < limit:
        with suppress(OSError, ValueError):  # a sandbox may refuse it
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def attainable() -> int:
    """The limit that `raise_limit` would find."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if resource.RLIM_INFINITY in {soft, hard} else min(max(soft, hard), MOST)
