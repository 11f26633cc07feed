"""A cache of the samples of earlier, equal calls, keyed by content; counts hits and misses."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from shotclock.domain.circuit import Samples
from shotclock.domain.subproblem import Subproblem


class ResultCache:
    """The `size` most recently used results; with size 0 the cache is off and counts nothing."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._samples: OrderedDict[str, Samples] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._samples)

    def key(self, subproblem: Subproblem, shots: int, seed_policy: str) -> str:
        """SHA-256 of what the samples depend on, hexadecimal; "" if the cache is off.

        Covers coefficients, kind, n, shots and seed policy; not the offset, which changes no sample, nor
        request id, version, budget and priority.
        """
        if not self._size:
            return ""
        digest = hashlib.sha256(subproblem.fingerprint())
        digest.update(repr((shots, seed_policy)).encode())
        return digest.hexdigest()

    def get(self, key: str) -> Samples | None:
        """The samples stored under this key, read-only, or None."""
        if not self._size:
            return None
        samples = self._samples.get(key)
        if samples is None:
            self.misses += 1
            return None
        self.hits += 1
        self._samples.move_to_end(key)
        return samples

    def put(self, key: str, samples: Samples) -> None:
        """Stores a read-only copy; evicts the least recently used result if the cache is full."""
        if not self._size:
            return
        self._samples[key] = _freeze(samples)
        self._samples.move_to_end(key)
        if len(self._samples) > self._size:
            self._samples.popitem(last=False)


def _freeze(samples: Samples) -> Samples:
    """A read-only copy: the caller's arrays stay writeable."""
    pool, counts = samples.pool.copy(), samples.counts.copy()
    pool.flags.writeable = False
    counts.flags.writeable = False
    return Samples(pool, counts, samples.simulation)
