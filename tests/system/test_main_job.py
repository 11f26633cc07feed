"""The main job on virtual time: production code, real circuits, a real model, no waiting.

The base clock ticks a microsecond a reading, so software takes the same time on any machine, however busy.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from certificates import SERVER, TRAINER, Site
from mtls_loopback import POLICY, ScriptedDispatcher, ScriptedOperations, at_once
from shotclock.app import host
from shotclock.app.main_job import JobProgress, MainJob, run
from shotclock.bench.record.arm_runs import SOLVERS
from shotclock.bench.record.samples import read_samples
from shotclock.bench.schema import TOO_FEW, ArmSummary, Latency, Ratio, Result, Summary
from shotclock.bench.verify.bench_run import check_bench
from shotclock.cli.bench import exit_code
from shotclock.domain.circuit import STATE_VECTOR
from shotclock.domain.hosts import Endpoint, HostState
from shotclock.domain.outcome import Outcome
from shotclock.domain.stages import Stage
from shotclock.domain.subproblem import Subproblem
from shotclock.runtime.loop_thread import LoopThread
from shotclock.runtime.virtual_loop import VirtualLoop
from shotclock.settings import Settings, load
from shotclock.training.loops import medium
from shotclock.wire.server import Server, serve
from shotclock.wire.tls import ClientTls, ServerTls

SILENT = JobProgress(lambda text: None, lambda steps, estimate: None, lambda arm, steps: None)

PROFILE = """
schema = 1
name = "{name}"
title = "a test's"
summary = "One constant overhead."
execution_mode = "dedicated"

[subjob_overhead]
kind = "constant"
[subjob_overhead.value]
value = {overhead_ms}
unit = "ms"
tag = "assumed"
source = "the test that wrote it"

[[not_modelled]]
component = "link"
reason = "left out by the test"
[[not_modelled]]
component = "queue"
reason = "left out by the test"
[[not_modelled]]
component = "poll_interval"
reason = "left out by the test"
[[not_modelled]]
component = "submissions_per_minute"
reason = "left out by the test"
"""


def job(folder: Path, arms: tuple[str, ...], samples: bool = False, **words: Any) -> Summary:
    """A virtual run: 45 calls a seed on small subproblems."""
    bench = {"arms": arms, "steps": 90, "seeds": 2, "warmup_steps": 20, "samples": samples}
    flags = {"bench": bench, "kernel": {"n": 6, "every": 2}, **words}
    return virtual(load(None, flags), folder / "run")


def virtual(settings: Settings, folder: Path) -> Summary:
    summary, _ = run(settings, MainJob(folder, quick=False, clock="virtual", metrics_port=None), SILENT)
    return summary


def profile(folder: Path, name: str, overhead_ms: float) -> str:
    file = folder / f"{name}.toml"
    file.write_text(PROFILE.format(name=name, overhead_ms=overhead_ms), encoding="utf-8")
    return str(file)


def latency(summary: Summary, name: str) -> Latency:
    metric = summary.metrics[name]
    assert isinstance(metric, Latency)
    return metric


def share(summary: Summary, name: str) -> Ratio:
    metric = summary.metrics[name]
    assert isinstance(metric, Ratio)
    return metric


@pytest.fixture(scope="module", autouse=True)
def ticking_clock() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(host, "VirtualLoop", lambda: VirtualLoop(base_ns=itertools.count(0, 1_000).__next__))
        for size in ("WIDTH", "BATCH"):  # no clock here times the reference iteration of 15 GFLOP
            patch.setattr(medium, size, 64)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Summary, Path]:
    folder = tmp_path_factory.mktemp("whole")
    arms = (
        "classical-only",
        "classical-control",
        "hybrid-colocated",
        "hybrid-colocated-protected",
        "hybrid-public-cloud",
        "quantum-raw",
    )
    thresholds = (
        {"metric": "hybrid-colocated.quantum_latency.p95_ms", "max": 200},
        {"metric": "hybrid-public-cloud.quantum_latency.p95_ms", "max": 200},
        {"metric": "hybrid-colocated.quantum_share", "min": 0.9},
    )
    return job(folder, arms, samples=True, threshold=thresholds), folder / "run"


def test_the_folder_is_whole(whole: tuple[Summary, Path]) -> None:
    summary, folder = whole
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "summary.json",
        "steps.parquet",
        "samples.parquet",
        "config.lock.toml",
        "machine.json",
        "latency.hlog",
        "trace.pftrace",
        "report.html",
        "charts",
    }
    assert Summary.model_validate_json((folder / "summary.json").read_text()) == summary
    assert {path.suffix for path in (folder / "charts").iterdir()} == {".svg", ".png"}
    assert json.loads((folder / "machine.json").read_text())["python"]


def test_every_arm_and_stage_has_percentiles_with_bounds_or_too_few(whole: tuple[Summary, Path]) -> None:
    summary, _ = whole
    for arm in summary.arms:
        for figure in ("added_latency", "quantum_latency", *(str(stage) for stage in Stage)):
            for part in ("", ".software", ".emulated_wait"):
                metric = latency(summary, f"{arm}.{figure}{part}")
                assert set(metric.percentiles) == {"p50", "p95", "p99"}
                for name, fewest in (("p50", 11), ("p95", 130), ("p99", 662)):
                    assert (metric.percentiles[name] == TOO_FEW) == (metric.n < fewest)  # type: ignore[index]


def test_a_threshold_is_decided_without_its_percentile(whole: tuple[Summary, Path]) -> None:
    summary, _ = whole
    assert latency(summary, "hybrid-colocated.quantum_latency").percentiles["p95"] == TOO_FEW
    results = {gate.metric: gate.result for gate in summary.thresholds}
    assert results == {
        "hybrid-colocated.quantum_latency.p95_ms": Result.PASS,
        "hybrid-public-cloud.quantum_latency.p95_ms": Result.FAIL,
        "hybrid-colocated.quantum_share": Result.PASS,
    }
    assert summary.metrics["hybrid-colocated.quantum_latency"].ok is True
    assert summary.metrics["hybrid-public-cloud.quantum_latency"].ok is False
    assert summary.metrics["hybrid-public-cloud.added_latency"].ok is None
    assert exit_code(summary, strict=False) == 99


def test_latency_splits_into_emulated_wait_and_software(whole: tuple[Summary, Path]) -> None:
    summary, folder = whole
    table = pq.read_table(folder / "steps.parquet").to_pylist()
    calls = [row for row in table if row["arm"] == "hybrid-public-cloud" and row["called"]]
    assert len(calls) == 90
    for row in calls:
        assert row["quantum_emulated_ns"] >= 2_000_000_000
        assert 0 < row["quantum_latency_ns"] - row["quantum_emulated_ns"] < 1_000_000
        stages = [stage for stage in Stage if stage is not Stage.TOTAL_ITERATION_TIME]
        assert sum(row[f"{stage}_ns"] for stage in stages) <= row["added_latency_ns"]
    # the submission limit of five a minute shows once the first minute's burst is spent
    assert sum(row["submission_bucket_wait_ns"] > 0 for row in calls) > 80
    assert summary.clock == "virtual"
    assert summary.emulated


def test_every_shot_of_every_call_with_samples_is_kept(whole: tuple[Summary, Path]) -> None:
    summary, folder = whole
    assert not [fault for fault in check_bench(folder) if fault.file == "samples.parquet"]
    rows = read_samples(folder / "samples.parquet").to_pylist()
    shots: Counter[tuple[str, int, int]] = Counter()
    for row in rows:
        shots[row["arm"], row["seed"], row["step"]] += row["count"]
        assert row["best_known"] <= row["energy"]
        assert row["optimum"] == pytest.approx(row["best_known"])
        assert (row["emulated"], row["method"], len(row["bitstring"])) == (True, STATE_VECTOR, 6)
        assert row["profile"] == summary.arms[row["arm"]].profile
    called = [row for row in pq.read_table(folder / "steps.parquet").to_pylist() if row["in_time"]]
    assert shots.keys() == {(row["arm"], row["seed"], row["step"]) for row in called}
    assert set(shots.values()) == {256}


def test_hybrid_arms_with_the_same_answers_train_the_same_model(whole: tuple[Summary, Path]) -> None:
    summary, _ = whole
    control, hybrid = (summary.arms[name].loss.per_seed for name in ("classical-control", "hybrid-colocated"))
    assert control == hybrid
    assert summary.arms["hybrid-colocated"].winners.get("quantum", 0) == 0


def test_the_verdict_flips_between_a_fast_and_a_slow_fabric(tmp_path: Path) -> None:
    arms = ("classical-only", "hybrid-colocated")
    heard = {}
    for name, overhead_ms in (("fast", 25.0), ("slow", 3000.0)):
        (tmp_path / name).mkdir()
        own = {"hybrid-colocated": {"profile": profile(tmp_path, name, overhead_ms), "rep_delay_us": 0}}
        summary = job(tmp_path / name, arms, arm=own)
        (gate,) = summary.mission_gates
        heard[name] = gate.result, summary.verdict.modes["hybrid-colocated"]
    assert heard == {"fast": (Result.PASS, "inline"), "slow": (Result.FAIL, "offline")}


def test_a_qpu_that_never_answers_shows_misses_not_passes(tmp_path: Path) -> None:
    arms = ("classical-only", "hybrid-colocated", "hybrid-colocated-protected")
    summary = job(tmp_path, arms, quantum={"provider": "harness:never"})
    for arm in arms[1:]:
        metric = latency(summary, f"{arm}.quantum_latency")
        assert (metric.n, metric.missed, metric.mean) == (summary.arms[arm].calls, metric.n, None)
        assert share(summary, f"{arm}.quantum_share").value == 0.0
        assert share(summary, f"{arm}.deadline_hit_ratio").value == 1.0
    assert [gate.result for gate in summary.mission_gates] == [Result.FAIL]
    assert "no samples came back" in summary.verdict.headline
    # "auto" stops waiting; the end of a seed alone waits for what is under way
    iteration = latency(summary, "hybrid-colocated-protected.total_iteration_time")
    assert iteration.mean is not None
    assert iteration.mean <= 250


def test_a_protected_arm_on_a_slow_fabric_overlaps_and_revalidates(tmp_path: Path) -> None:
    summary = job(tmp_path, ("classical-only", "hybrid-public-cloud-protected"))
    arm = summary.arms["hybrid-public-cloud-protected"]
    assert arm.mode == "auto"
    assert arm.meeting is not None
    assert (arm.meeting.inline, arm.meeting.overlapped) == (0, arm.calls)
    assert set(arm.decisions) <= {"applied", "revalidated", "rejected"}
    # training does not wait, so 90 steps pass within one call of two virtual seconds
    assert latency(summary, "hybrid-public-cloud-protected.added_latency").mean is not None
    assert arm.calls >= summary.arms["hybrid-public-cloud-protected"].seeds[-1]


def test_the_lock_file_repeats_the_run(whole: tuple[Summary, Path], tmp_path: Path) -> None:
    summary, folder = whole
    again = virtual(load(folder / "config.lock.toml", {}), tmp_path / "again")
    assert again.arms.keys() == summary.arms.keys()
    for name, arm in again.arms.items():
        assert arm.loss == summary.arms[name].loss
        assert arm.outcomes == summary.arms[name].outcomes


def test_a_kernel_that_harms_turns_the_positive_control_negative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    arms = ("classical-only", "classical-control", "classical-longer", *SOLVERS)
    bench = {"arms": arms, "steps": 12, "seeds": 3, "warmup_steps": 2, "workload": "harmful:build"}
    summary = virtual(load(None, {"bench": bench, "kernel": {"every": 1}}), tmp_path / "run")
    assert summary.kernel == "rounding"
    assert summary.arms["classical-control"].decisions["applied"] > 0
    (text,) = [
        sentence.text
        for sentence in summary.verdict.sentences
        if sentence.text.startswith("Positive control: ")
    ]
    assert "solving the subproblems harms" in text
    assert "excludes 0" in text
    hours = {name: arm.cost.compute_h for name, arm in summary.arms.items()}
    assert hours["classical-control"] <= hours["classical-longer"] < 1.05 * hours["classical-control"]
    longer = summary.arms["classical-longer"]
    assert longer.steps == summary.arms["classical-control"].steps
    rows = pq.read_table(tmp_path / "run" / "steps.parquet")
    rows = rows.filter(pc.equal(rows["arm"], "classical-longer"))
    more = pc.sum(rows["optimizer_steps"]).as_py()
    assert more > len(rows) == longer.steps
    seconds = pc.sum(rows["total_iteration_time_ns"]).as_py() / 1e9
    assert longer.samples_per_s == pytest.approx(64 * more / seconds)
    assert summary.throughput["classical-longer"].iterations_per_s == pytest.approx(more / seconds)
    assert longer.calls == 0
    assert longer.loss.improvement is not None
    assert longer.loss.improvement > 0
    assert longer.cost.compute_h_per_loss is not None
    assert summary.arms["classical-control"].cost.compute_h_per_loss is None
    assert text.endswith("cost per improvement: no improvement measured.")
    weaker = {name: summary.arms[name] for name in SOLVERS}
    assert {name: arm.provider for name, arm in weaker.items()} == SOLVERS
    assert all(arm.calls == longer.steps for arm in weaker.values())


MIB = 2**20
FREE_MIB = (512, 512, 1)


@contextmanager
def three_services(site: Site) -> Iterator[tuple[list[str], ClientTls]]:
    """Orchestrators behind mutual TLS; the one that gets the second counted call is lost with it.

    Two have free memory, and the third hardly any.
    """
    thread, servers, calls = LoopThread(), list[Server](), itertools.count(1)
    stops: list[asyncio.Task[None]] = []

    async def solve(number: int, subproblem: Subproblem) -> Outcome:
        if not subproblem.request_id.startswith("warm-") and next(calls) == 2:
            stops.append(asyncio.create_task(servers[number].stop(0)))
            await asyncio.wait(stops)
        return await at_once(subproblem)

    security = ServerTls(site.issue(SERVER), POLICY)

    def read(number: int) -> tuple[HostState, Endpoint]:
        state = HostState(f"host-{number}", free_memory_bytes=FREE_MIB[number] * MIB)
        return state, Endpoint("scripted", emulated=True)

    async def start(number: int) -> Server:
        return await serve(
            ScriptedDispatcher(partial(solve, number)),
            ScriptedOperations(),
            "127.0.0.1:0",
            security,
            read_host=partial(read, number),
        )

    try:
        servers += [thread.run(start(number)) for number in range(len(FREE_MIB))]
        yield [f"127.0.0.1:{server.port}" for server in servers], ClientTls(site.issue(TRAINER), SERVER)
    finally:
        for server in servers:
            thread.run(server.stop(0))
        thread.close()


def check_calls_moved(arm: ArmSummary) -> None:
    """One host was lost with a call, another got it and the rest, the last has too little memory for any."""
    assert (arm.provider, arm.calls, arm.outcomes) == ("scripted", 4, {"done": 4})
    placement = arm.placement
    assert placement is not None
    assert (placement.policy, sum(each.calls for each in placement.hosts.values())) == ("rtt", 5)
    *able, small = placement.hosts.items()
    assert small[1].calls == 0
    assert sorted(each.unanswered for _, each in able) == [0, 1]
    assert placement.moves >= 1
    (survivor,) = [host for host, each in able if not each.unanswered]
    assert placement.choices[-1].startswith(f"{survivor}: ")


def test_a_quick_run_has_a_slow_emulated_arm_on_the_virtual_clock(
    tmp_path: Path, shared_machine: Callable[[str], Path]
) -> None:
    """Its subproblems leave terms out, and its host has two devices of eight partitions; it says both.

    A third arm's calls go to services behind mutual TLS, of which one is lost and one has too little memory.
    """
    arm, remote = "hybrid-public-cloud", "hybrid-hosts"
    with three_services(Site.at(tmp_path / "certificates")) as (hosts, security):
        quick = MainJob(tmp_path / "run", quick=True, clock="wall", metrics_port=None, security=security)
        flags = {
            "bench": {"arms": ("classical-only", arm, remote), "steps": 4, "seeds": 1, "hosts": tuple(hosts)},
            "kernel": {"n": 4, "every": 2, "sparse": True},
            "arm": {remote: {"every": 1}},
            "placement": {"root": str(shared_machine("mi300x-cpx")), "needs_memory_mib": 256},
        }
        summary, folder = run(load(None, flags), quick, SILENT)
    check_calls_moved(summary.arms[remote])
    assert summary.clock == "wall"
    assert {name: each.clock for name, each in summary.arms.items()} == {
        "classical-only": "wall",
        arm: "virtual",
        remote: "wall",
    }
    assert (summary.arms[arm].calls, summary.arms[arm].call_every) == (2, 2)
    again = load(folder.path / "config.lock.toml", {})
    assert again.arm[arm].clock == "virtual"
    assert again.arm[arm].every is None
    assert again.kernel.sparse
    rows = pq.read_table(folder.path / "steps.parquet")
    calls = rows.filter(pc.and_(rows["called"], pc.equal(rows["arm"], arm)))
    errors = calls["surrogate_error"].to_pylist()
    assert summary.arms[arm].surrogate_error == sum(errors) / 2 > 0.0
    ladder = summary.arms[arm].ladder
    assert ladder is not None
    assert list(ladder.rungs)[-2:] == ["exact", "dense-annealing"]
    texts = [sentence.text for sentence in summary.verdict.sentences]
    assert (
        sum(text.startswith("Terms left out: subproblems have terms on the device's") for text in texts) == 1
    )
    page = (folder.path / "report.html").read_text(encoding="utf-8")
    assert f"VIRTUAL CLOCK: {arm} (emulated waits counted" in page
    assert not check_bench(folder.path)

    assert summary.accelerators is not None
    assert len(summary.accelerators.devices) == 16
    around = summary.accelerators.arms[arm]
    waited_ns = pc.sum(calls["added_latency_ns"]).as_py() - pc.sum(calls["propose_ns"]).as_py()
    waited_ns -= pc.sum(calls["apply_ns"]).as_py()
    assert around.gpu_idle_s == pytest.approx(16 * waited_ns / 1e9)
    assert 16 * waited_ns / 1e9 > 2 * 16 * 2.0
    assert "2 × AMD" not in page
    assert "16 × AMD Instinct MI300X OAM" in page
