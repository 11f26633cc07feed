"""Throughput and tails from one trainer to many, over one orchestrator and several that share a ledger.

Each trainer is a process with a torch model that `attach`es to all orchestrators and asks at every step, on
a schedule: a step's latency counts from its scheduled instant. Orchestrators are real `shotclock serve` with
one real PostgreSQL ledger. The provider is a vendor's process whose jobs take up to 5 ms, so that software
is measured, and not a QPU.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import _extras
from _options import make_parser
from _trainer import BUDGET_MS, N
from shotclock.bench.stats.statistics import Sample, percentile
from shotclock.domain.budget import NS_PER_MS, NS_PER_S

TESTS = Path(__file__).parents[1] / "tests"
TRAINER = Path(__file__).with_name("_trainer.py")
STEPS_PER_S = 20.0
STEPS = 700
QUICK_STEPS = 140
"""Enough for a p99, and for a p95."""
GRID = tuple((replicas, trainers) for replicas in (1, 2, 3) for trainers in (1, 4, 8))
QUICK_GRID = ((1, 1), (3, 4))
JOB_S = 0.005
LANES = 64
ACHIEVED = 0.99
"""Of the offered rate, as a load generator must reach it, and of calls in time."""
SATURATED = 0.9
"""A share of all cores' time above which they are what limits."""
START_DELAY_S = 0.5
COLUMNS = (
    "orchestrators",
    "trainers",
    "calls a second, offered",
    "achieved",
    "in time",
    "p50",
    "p95",
    "p99",
    "cores busy",
    "limited by",
)


@dataclass(frozen=True, slots=True)
class Point:
    """One size.

    offered_per_s, achieved_per_s: calls a second of all trainers.
    latencies_ns: of every step. endings: outcome → calls.
    cores_busy: share of all cores' time that something ran.
    """

    replicas: int
    trainers: int
    offered_per_s: float
    achieved_per_s: float
    latencies_ns: tuple[int, ...]
    endings: dict[str, int]
    cores_busy: float

    def quantile_ms(self, quantile: float) -> float | None:
        """None with too few samples."""
        bounded = percentile(Sample.of(list(self.latencies_ns)), quantile)
        return bounded.value if bounded else None

    def in_time(self) -> float:
        """Share of the steps that ended within the budget with samples behind them, at most."""
        late = sum(latency > BUDGET_MS * NS_PER_MS for latency in self.latencies_ns)
        return min(self.endings.get("Done", 0), len(self.latencies_ns) - late) / len(self.latencies_ns)

    def limit(self) -> str:
        """What kept this size from its rate, or its calls from their deadline; "" where nothing did."""
        if self.achieved_per_s >= ACHIEVED * self.offered_per_s and self.in_time() >= ACHIEVED:
            return ""
        if self.cores_busy >= SATURATED:
            return f"{os.cpu_count()} cores, {self.cores_busy:.0%} busy"
        return f"not the cores ({self.cores_busy:.0%} busy)"


def main() -> None:
    """Prints the figures as JSON, or the section of docs/benchmarks.md."""
    words = make_parser(__doc__, "two sizes: half a minute").parse_args()
    sys.path.insert(0, str(TESTS))
    points = asyncio.run(measure(QUICK_GRID, QUICK_STEPS) if words.quick else measure(GRID, STEPS))
    if words.json:
        print(json.dumps(figures(points), indent=2))
    else:
        print(markdown(points))


async def measure(grid: tuple[tuple[int, int], ...], steps: int) -> list[Point]:
    """Every size in turn on one database, vendor and set of orchestrators a number of replicas."""
    from paid_provider import vendor  # noqa: PLC0415 - the tests' folder is on the path only now
    from postgres_cluster import run_cluster  # noqa: PLC0415

    points = []
    with tempfile.TemporaryDirectory() as name, run_cluster() as cluster:
        folder = Path(name)
        with vendor(folder, 0, run_s=JOB_S) as account:
            for count in sorted({replicas for replicas, _ in grid}):
                async with AsyncExitStack() as stack:
                    targets = await _serve(stack, folder, cluster.url(), account.port, count)
                    for trainers in (size for replicas, size in grid if replicas == count):
                        points.append(await measure_point(targets, trainers, steps))
                        print(f"{count} replicas, {trainers} trainers: measured", file=sys.stderr)
    return points


async def _serve(stack: AsyncExitStack, folder: Path, url: str, account_port: int, count: int) -> list[str]:
    """Starts so many orchestrators on one ledger; their addresses."""
    from paid_provider import LANES as LANES_VARIABLE  # noqa: PLC0415
    from paid_provider import PORT  # noqa: PLC0415
    from served import ServiceProcess, free_port  # noqa: PLC0415

    targets = []
    for number in range(count):
        target = f"127.0.0.1:{free_port()}"
        config = folder / f"replica-{number}.toml"
        config.write_text(f"""
[quantum]
provider = "paid_provider:connect"
max_money_per_run = 1e9
shots = 64
budget_ms = {BUDGET_MS}
[serve]
listen = "{target}"
metrics = "127.0.0.1:0"
insecure = true
sizes = [{N}]
ledger = "{url}"
""")
        environment = {PORT: str(account_port), LANES_VARIABLE: str(LANES)}
        process = await ServiceProcess.start(config, lean=True, environment=environment)
        stack.push_async_callback(process.kill)
        process.go()
        await process.wait_for_event("ready")
        targets.append(target)
    return targets


async def measure_point(targets: list[str], trainers: int, steps: int) -> Point:
    """All trainers begin at one instant, after the last one is ready."""
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            str(TRAINER),
            ",".join(targets),
            str(STEPS_PER_S),
            str(steps),
            str(seed),
            stdin=PIPE,
            stdout=PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for seed in range(trainers)
    ]
    for process in processes:
        assert process.stdout is not None
        if await process.stdout.readline() != b"ready\n":
            raise SystemExit("trainers.py: a trainer ended before its first step; see its message above")
    start_ns = time.monotonic_ns() + round(START_DELAY_S * NS_PER_S)
    before = _read_cores()
    ended = await asyncio.gather(*(process.communicate(f"{start_ns}\n".encode()) for process in processes))
    busy, total = (after - earlier for after, earlier in zip(_read_cores(), before, strict=True))
    documents = [json.loads(out) for out, _ in ended]
    endings: dict[str, int] = {}
    for document in documents:
        for outcome, calls in document["endings"].items():
            endings[outcome] = endings.get(outcome, 0) + calls
    taken_s = (max(document["ended_ns"] for document in documents) - start_ns) / NS_PER_S
    return Point(
        len(targets),
        trainers,
        trainers * STEPS_PER_S,
        trainers * steps / max(taken_s, steps / STEPS_PER_S),
        tuple(latency for document in documents for latency in document["latencies_ns"]),
        endings,
        busy / total,
    )


def _read_cores() -> tuple[int, int]:
    """Ticks of all cores since the start: spent running, and in total (proc(5), /proc/stat)."""
    ticks = [
        int(word) for word in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    ]
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)


def figures(points: list[Point]) -> dict[str, float]:
    """Metric → number; a percentile with too few samples is absent."""
    result: dict[str, float] = {}
    for point in points:
        size = f"replicas_{point.replicas}_trainers_{point.trainers}"
        result[f"{size}_calls_per_s"] = point.achieved_per_s
        result[f"{size}_in_time_ratio"] = point.in_time()
        for name, quantile in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            value = point.quantile_ms(quantile)
            if value is not None:
                result[f"{size}_step_{name}_ms"] = value
    return result


def markdown(points: list[Point]) -> str:
    """The section of docs/benchmarks.md."""
    lines = [
        "## Trainers and orchestrators",
        "",
        f"Each trainer is a process with a torch model that asks at every step, {STEPS_PER_S:.0f} steps a"
        " second on a schedule, over all orchestrators in turn; they share a PostgreSQL ledger, and every job"
        " is paid. Milliseconds from a step's scheduled instant to the applied delta, the computation"
        f" of a step included. The vendor's jobs take up to {JOB_S * 1e3:.0f} ms, not those of a QPU. In"
        f" time: with samples, within {BUDGET_MS} ms. Everything runs on the same cores.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
    ]
    for point in points:
        cells = [
            point.replicas,
            point.trainers,
            f"{point.offered_per_s:.0f}",
            f"{point.achieved_per_s:.1f}",
            f"{point.in_time():.1%}",
            *(_cell(point.quantile_ms(quantile)) for quantile in (0.5, 0.95, 0.99)),
            f"{point.cores_busy:.0%}",
            point.limit() or "–",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "too few" if value is None else f"{value:.1f}"


if __name__ == "__main__":
    _extras.run(main)
