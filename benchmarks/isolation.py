"""Whether one caller can take the QPU from the others: honest callers beside attackers and a heavy user.

A real `shotclock serve` with mutual TLS over the EMULATED provider. The honest callers' arrivals are fixed
beforehand; latency counts from the scheduled instant, and a call without samples counts as its whole budget.
The baseline is the same honest load without attackers. The three loads take turns, so that what else the
machine does meets all of them.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import _extras
from _options import make_parser

if TYPE_CHECKING:
    from _isolation_service import Site
    from shotclock.wire.client import GrpcDispatcher

OTHERS = ("alpha", "beta", "gamma", "delta")
HEAVY = "heavy"
SHARE_PER_S = 2.0
"""Calls a second of each caller at its share: with five of them the QPU is busy, and keeps up."""
TIMES = 10
SILENT = "silent"
BUDGET_S = 1.0
ATTACKS = (
    "The attacks, all at once and throughout: nested gate definitions, circuits of 20 qubits and 500 gates, "
    "declarations of 200,000,000 bits and the like, `ctrl(20) @ U`, QPY with 3,000,000 bits, coefficients of "
    "±1e308, 1,000 silent HTTP connections. They come from one process, which gives way to the others "
    "(niceness 19), as attackers on other machines would."
)
FEWEST_CALLS = 662
"""For a p99 with its bound."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How often each of the three loads has its turn, and for how many seconds."""

    rounds: int
    window_s: float


QUICK, FULL = Effort(1, 10.0), Effort(6, 15.0)


@dataclass(slots=True)
class Window:
    """What the others had: latencies in seconds, as many as calls, and why some had no samples."""

    latencies_s: list[float] = field(default_factory=list)
    without: Counter[str] = field(default_factory=Counter)

    def add(self, other: Window) -> None:
        """Takes in what another one had."""
        self.latencies_s += other.latencies_s
        self.without += other.without

    @property
    def done_ratio(self) -> float:
        """Calls with samples, of all."""
        return 1.0 - self.without.total() / len(self.latencies_s)

    @property
    def p99_s(self) -> float:
        """By nearest rank."""
        ordered = sorted(self.latencies_s)
        return ordered[max(0, -(-99 * len(ordered) // 100) - 1)]


@dataclass(frozen=True, slots=True)
class Measured:
    """The three windows, how long SIGTERM took under attack, and what the machine did beside it."""

    baseline: Window
    heavy: Window
    attacked: Window
    sigterm_s: float
    stderr_bytes: int
    load_before: float
    attacks: Counter[str]

    def figures(self) -> dict[str, float]:
        """Metric → number."""
        return {
            "others_done_ratio_during_attack": self.attacked.done_ratio,
            "others_done_ratio_before": self.baseline.done_ratio,
            "others_p99_ratio": self.attacked.p99_s / self.baseline.p99_s,
            "heavy_user_others_p99_ratio": self.heavy.p99_s / self.baseline.p99_s,
            "heavy_user_others_done_ratio": self.heavy.done_ratio,
            "sigterm_s": self.sigterm_s,
            "baseline_p99_ms": self.baseline.p99_s * 1e3,
            "baseline_calls": len(self.baseline.latencies_s),
            "attacked_calls": len(self.attacked.latencies_s),
            "stderr_bytes": self.stderr_bytes,
            "machine_load_before": self.load_before,
            "attack_calls": self.attacks.total(),
        }


def main() -> None:
    """Measures, then prints JSON or markdown on stdout."""
    parser = make_parser(__doc__, "under two minutes; too few calls for a p99")
    parser.add_argument("--attacks", default="", metavar="NAME,…", help="only these, to find the costly one")
    arguments = parser.parse_args()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    measured = measure(QUICK if arguments.quick else FULL, tuple(filter(None, arguments.attacks.split(","))))
    if arguments.json:
        print(json.dumps({key: round(value, 5) for key, value in measured.figures().items()}, indent=2))
    else:
        print("\n".join(markdown(measured)))


def measure(effort: Effort, attacks: tuple[str, ...] = ()) -> Measured:
    """Baseline, heavy user, the attacks (all by default) at once, in turns; SIGTERM while they go on."""
    from _isolation_attacks import CALLERS, attacking, offering  # noqa: PLC0415
    from _isolation_service import Site, serving  # noqa: PLC0415

    load_before, seconds = os.getloadavg()[0], effort.window_s
    baseline, heavy, attacked, sent = Window(), Window(), Window(), Counter[str]()
    names, seeds = (*OTHERS, HEAVY, *CALLERS), itertools.count(1)
    with tempfile.TemporaryDirectory() as folder:
        site = Site.of(Path(folder), names)
        with serving(site, names) as running:
            port, sigterm_s = running.grpc_port, 0.0
            _observe(site, port, 2.0, 0)  # connections, and the first calls
            for rounds_to_go in reversed(range(effort.rounds)):
                _tell(f"{rounds_to_go + 1} more rounds")
                with offering(site, HEAVY, port, SHARE_PER_S):
                    baseline.add(_observe(site, port, seconds, next(seeds)))
                with offering(site, HEAVY, port, TIMES * SHARE_PER_S):
                    heavy.add(_observe(site, port, seconds, next(seeds)))
                with (
                    offering(site, HEAVY, port, TIMES * SHARE_PER_S),
                    attacking(site, port, running.http_port, attacks or (*CALLERS, SILENT)) as calls,
                ):
                    attacked.add(_observe(site, port, seconds, next(seeds)))
                    if not rounds_to_go:
                        sigterm_s = running.terminate_s()
                sent.update(calls)
            size = running.stderr.stat().st_size
    return Measured(baseline, heavy, attacked, sigterm_s, size, load_before, sent)


def markdown(measured: Measured) -> list[str]:
    """The section of docs/benchmarks.md."""
    from _isolation_service import DRAIN_S  # noqa: PLC0415

    figures, calls = measured.figures(), len(measured.attacked.latencies_s)
    rows = (
        ("at their share, nobody else", measured.baseline),
        (f"beside an honest user at {TIMES} times its share", measured.heavy),
        ("beside that user and every attack", measured.attacked),
    )
    few = "" if calls >= FEWEST_CALLS else f" Fewer than {FEWEST_CALLS} calls: no p99 to rely on."
    return [
        "## One caller beside the others (EMULATED)",
        "",
        f"Four honest callers of `shotclock serve` at {SHARE_PER_S:g} calls a second each, arrivals fixed "
        f"beforehand, budget {BUDGET_S:g} s; a call without samples counts as its budget.{few} The profile "
        "is `colocated` without tails, every wait at its median: the QPU's own rare waits of 140 ms and "
        f"more, one job in a thousand, would decide a ratio of two p99. {ATTACKS}",
        "",
        "| the others | calls | with samples | p99, ms | p99 ÷ baseline |",
        "|---|---|---|---|---|",
        *(
            f"| {what} | {len(window.latencies_s)} | {window.done_ratio:.1%} | {window.p99_s * 1e3:.0f} | "
            f"{window.p99_s / measured.baseline.p99_s:.2f} |"
            for what, window in rows
        ),
        "",
        *_list_causes(rows),
        f"SIGTERM under attack: ended after {figures['sigterm_s']:.1f} s, `drain_s` being {DRAIN_S:g} s. The "
        f"service wrote {measured.stderr_bytes} bytes to stderr. The machine's load before: "
        f"{measured.load_before:.1f}. The attackers' calls by gRPC's status: "
        f"{', '.join(f'{what} {count}' for what, count in sorted(measured.attacks.items()))}.",
        "",
    ]


def _list_causes(rows: Sequence[tuple[str, Window]]) -> list[str]:
    """One paragraph, none where every call had samples."""
    causes = [
        f"{what}: {cause} {count}" for what, window in rows for cause, count in sorted(window.without.items())
    ]
    return [f"Calls without samples: {'; '.join(causes)}.", ""] if causes else []


def _observe(site: Site, port: int, seconds: float, seed: int) -> Window:
    return asyncio.run(_observe_all(site, port, seconds, seed))


async def _observe_all(site: Site, port: int, seconds: float, seed: int) -> Window:
    from _isolation_service import SERVER  # noqa: PLC0415
    from shotclock.wire.channels import connect  # noqa: PLC0415
    from shotclock.wire.client import GrpcDispatcher  # noqa: PLC0415
    from shotclock.wire.tls import ClientTls  # noqa: PLC0415

    dispatchers = [
        GrpcDispatcher(connect(f"127.0.0.1:{port}", ClientTls(site.issue(name), SERVER))) for name in OTHERS
    ]
    window = Window()
    try:
        began = time.monotonic() + 0.5
        await asyncio.gather(
            *(
                _call_at(dispatcher, began + at, number, window)
                for number, dispatcher in enumerate(dispatchers)
                for at in _arrivals(seconds, seed * len(OTHERS) + number)
            )
        )
    finally:
        for dispatcher in dispatchers:
            await dispatcher.close()
    return window


def _arrivals(seconds: float, seed: int) -> list[float]:
    import numpy as np  # noqa: PLC0415

    plenty = round(4 * seconds * SHARE_PER_S) + 50
    instants = np.cumsum(np.random.default_rng(seed).exponential(1.0 / SHARE_PER_S, size=plenty))
    return [float(at) for at in instants[instants < seconds]]


async def _call_at(dispatcher: GrpcDispatcher, at: float, number: int, window: Window) -> None:
    from _orchestrator_system import instances  # noqa: PLC0415
    from shotclock.domain.outcome import Done, why_no_samples  # noqa: PLC0415

    subproblem = instances(len(OTHERS), round(BUDGET_S * 1e9))[number]
    await asyncio.sleep(max(0.0, at - time.monotonic()))
    outcome = await dispatcher.solve(subproblem)
    if isinstance(outcome, Done) and outcome.samples.shots > 0:
        window.latencies_s.append(time.monotonic() - at)
    else:
        window.latencies_s.append(BUDGET_S)
        window.without[why_no_samples(outcome, figures=False) or "answered without samples"] += 1


def _tell(what: str) -> None:
    print(what, file=sys.stderr)


if __name__ == "__main__":
    _extras.run(main)
