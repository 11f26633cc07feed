"""Reads the host around calls in a thread: whoever makes a call marks its ends and never waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shotclock.domain.host_figures import COUNTERS, NOT_READ, AroundCall, HostReading, Labels

EVERY_S = 0.2
"""Between two readings while a call is open: for the peak and the mean of a long one."""
WAIT_S = 10.0
"""For the last readings of a run; a tree answers each read within its own limit."""


@dataclass(slots=True)
class OpenCall:
    """A call and what its readings come to.

    first, last: of them; None before the first
    peak_bytes: the most HBM in use
    ratios, ratio_sum: readings with a share of the bandwidth, and their sum
    is_ended: its answer has arrived, and the last reading is due
    """

    first: HostReading | None = None
    last: HostReading | None = None
    peak_bytes: int | None = None
    ratios: int = 0
    ratio_sum: float = 0.0
    is_ended: bool = False

    def add(self, reading: HostReading) -> None:
        """One more reading."""
        self.first, self.last = self.first or reading, reading
        if reading.hbm_used_bytes is not None:
            self.peak_bytes = max(self.peak_bytes or 0, reading.hbm_used_bytes)
        if reading.hbm_bandwidth_ratio is not None:
            self.ratios += 1
            self.ratio_sum += reading.hbm_bandwidth_ratio

    def compare(self) -> AroundCall:
        """What changed from the first reading to the last."""
        first, last = self.first, self.last
        if first is None or last is None:
            return NOT_READ
        return AroundCall(
            hbm_used_before_bytes=first.hbm_used_bytes,
            hbm_used_after_bytes=last.hbm_used_bytes,
            hbm_used_peak_bytes=self.peak_bytes,
            hbm_bandwidth_ratio=self.ratio_sum / self.ratios if self.ratios else None,
            hbm_bandwidth_method=first.hbm_bandwidth_method if self.ratios else "",
            **{name: _count_increase(name, first.counts, last.counts) for name in COUNTERS},
        )


class CallWatch:
    """`begin` and `end` of each call by name, from any thread; then `take`; `close` ends the thread.

    read: one reading, in however long it takes.
    """

    def __init__(self, read: Callable[[], HostReading], every_s: float = EVERY_S) -> None:
        self._read = read
        self._every_s = every_s
        self._changed = threading.Condition()
        self._open: dict[str, OpenCall] = {}
        self._ended: dict[str, AroundCall] = {}
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="figures around calls", daemon=True)
        self._thread.start()

    def begin(self, name: str) -> None:
        """The call is being made."""
        with self._changed:
            self._open[name] = OpenCall()
            self._changed.notify_all()

    def end(self, name: str) -> None:
        """Its answer has arrived. A call that ended before its first reading has no figures."""
        with self._changed:
            call = self._open.get(name)
            if call is None:
                return
            if call.first is None:
                del self._open[name]
            call.is_ended = True
            self._changed.notify_all()

    def take(self, name: str, wait_s: float = WAIT_S) -> AroundCall:
        """What was read around the call, once; waits for a reading that is due, and then forgets the call."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_due(name), wait_s)
            self._open.pop(name, None)
            return self._ended.pop(name, NOT_READ)

    def close(self) -> None:
        """Ends the thread; a reading in progress is not waited for."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()

    def _is_due(self, name: str) -> bool:
        call = self._open.get(name)
        return call is not None and call.is_ended and self._thread.is_alive()

    def _run(self) -> None:
        while self._wait_for_calls():
            with self._changed:
                calls = [(name, call, call.is_ended) for name, call in self._open.items()]
            reading = self._read()
            with self._changed:
                for name, call, is_last in calls:
                    if self._open.get(name) is call:
                        call.add(reading)
                        if is_last:
                            self._ended[name] = call.compare()
                            del self._open[name]
                self._changed.notify_all()

    def _wait_for_calls(self) -> bool:
        """Waits until a reading is due: at once where a call began or ended; False once it is closed."""
        with self._changed:
            while not self._is_closing:
                if any(call.first is None or call.is_ended for call in self._open.values()):
                    return True
                if not self._changed.wait(self._every_s if self._open else None):
                    return True
        return False


def _count_increase(
    name: str, before: Mapping[tuple[str, Labels], float], after: Mapping[tuple[str, Labels], float]
) -> int | None:
    """Over the counters that both readings have; None without one."""
    increases = [after[key] - before[key] for key in after if key[0] == name and key in before]
    return round(sum(increases)) if increases else None
