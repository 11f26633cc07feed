"""Samples of earlier, equal calls, by content; the hit rate is counted."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from shotclock.domain.circuit import Samples
from shotclock.domain.subproblem import Subproblem


class ResultCache:
    """The `size` most recently used results; size 0 keeps nothing, hashes nothing and counts nothing."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._samples: OrderedDict[str, Samples] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._samples)

    def key(self, subproblem: Subproblem, shots: int, seed_policy: str) -> str:
        """SHA-256 of what samples depend on, hexadecimal; "" in a cache of size 0.

        Coefficients, kind, n, shots and seed policy; not the offset, which moves no sample, nor the
        caller's id, version, budget and priority.
        """
        if not self._size:
            return ""
        words = repr((subproblem.kind, subproblem.n, shots, seed_policy))
        digest = hashlib.sha256(words.encode())
        for coefficients in (subproblem.quadratic, subproblem.linear):
            # −0.0 and 0.0 are one number; adding 0.0 writes them alike.
            digest.update((coefficients + 0.0).tobytes())
        return digest.hexdigest()

    def get(self, key: str) -> Samples | None:
        """The samples kept under this key, read-only, or None."""
        if not self._size:
            return None
        found = self._samples.get(key)
        if found is None:
            self.misses += 1
            return None
        self.hits += 1
        self._samples.move_to_end(key)
        return found

    def put(self, key: str, samples: Samples) -> None:
        """Keeps a read-only copy; the least recently used result makes room."""
        if not self._size:
            return
        self._samples[key] = _freeze(samples)
        self._samples.move_to_end(key)
        if len(self._samples) > self._size:
            self._samples.popitem(last=False)


def _freeze(samples: Samples) -> Samples:
    """A copy of its own: the caller's arrays stay writeable, the cache's are not."""
    pool, counts = samples.pool.copy(), samples.counts.copy()
    pool.flags.writeable = False
    counts.flags.writeable = False
    return Samples(pool, counts)
