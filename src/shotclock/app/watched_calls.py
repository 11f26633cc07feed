"""Reads accelerators and fabrics around the calls of a training loop."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shotclock.domain.host_figures import NOT_READ, AcceleratorFacts, AroundCall
from shotclock.domain.iteration import FinishedCall
from shotclock.domain.outcome import Decision, Outcome
from shotclock.domain.ports import Caller, Pending
from shotclock.domain.subproblem import Subproblem
from shotclock.placement.figures.call_watch import CallWatch
from shotclock.placement.figures.reading import CallReader
from shotclock.placement.tree import Tree
from shotclock.training.observe import CallObserver

OBSERVER_WAIT_S = 0.05
"""For the reading at a call's end, on the training thread: a driver that takes longer leaves no figures."""


def name_call(arm: str, seed: int, request_id: str) -> str:
    """Of a benchmark's call: arms of one seed have the same request ids."""
    return f"{arm}/{seed}/{request_id}"


@dataclass(frozen=True, slots=True)
class HostWatch:
    """The accelerators of this process, and the readings around its calls.

    accelerators: that it can use
    because: how many the process can use, or why it has none
    watch: None on a host where there is nothing to read
    """

    accelerators: tuple[AcceleratorFacts, ...]
    because: str
    watch: CallWatch | None

    @classmethod
    def open(cls, root: Path = Path("/")) -> HostWatch:
        """Of the file system below `root`."""
        reader = CallReader(Tree(root), os.environ)
        return cls(
            reader.accelerators, reader.because, CallWatch(reader.read) if reader.has_figures else None
        )

    def wrap(self, caller: Caller, prefix: str) -> Caller:
        """The caller, with each of its calls between two readings; prefix: of the call's name."""
        return caller if self.watch is None else WatchedCaller(caller, self.watch, prefix)

    def take(self, name: str) -> AroundCall:
        """What was read around a call, by prefix and request id, once."""
        return NOT_READ if self.watch is None else self.watch.take(name)

    def inform(self, observers: Sequence[CallObserver]) -> Sequence[CallObserver]:
        """The observers, each with what was read around the call in its record."""
        if self.watch is None or not observers:
            return observers
        watch = self.watch

        def observe(call: FinishedCall) -> None:
            informed = replace(call, around=watch.take(call.request_id, OBSERVER_WAIT_S))
            for observer in observers:
                observer(informed)

        return (observe,)

    def close(self) -> None:
        """Ends the readings."""
        if self.watch is not None:
            self.watch.close()


NO_WATCH = HostWatch((), "is not read", None)


@dataclass(frozen=True, slots=True)
class WatchedCaller:
    """A Caller that marks both ends of each call."""

    caller: Caller
    watch: CallWatch
    prefix: str

    def ask(self, subproblem: Subproblem) -> Pending:
        """See `Caller.ask`."""
        name = f"{self.prefix}{subproblem.request_id}"
        self.watch.begin(name)
        return WatchedPending(self.caller.ask(subproblem), lambda: self.watch.end(name))

    def record_decision(self, request_id: str, decision: Decision, *, stale: bool = False) -> None:
        """See `Caller.record_decision`."""
        self.caller.record_decision(request_id, decision, stale=stale)


@dataclass(frozen=True, slots=True)
class WatchedPending:
    """A Pending that reports when its answer was received."""

    pending: Pending
    end: Callable[[], None]

    def done(self) -> bool:
        """See `Pending.done`."""
        return self.pending.done()

    def result(self) -> Outcome:
        """See `Pending.result`."""
        outcome = self.pending.result()
        self.end()
        return outcome
