"""A real Ray cluster of three nodes: Ray Train, `shotclock bench` with paid arms, and as a node is lost."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_ddp import CALLS, serve_settings

import engine_contract
import paid_provider
from paid_provider import ProviderAccount, vendor
from postgres_cluster import Cluster
from ray_cluster import RayCluster, run_cluster, wait_for
from served import ServiceProcess, free_port
from shotclock.bench.record.folder import RunFolder
from shotclock.bench.verify.check import verify
from shotclock.domain.ledger import LedgerState
from shotclock.orchestrator.ledger.places import FilePlace, find_place

TESTS = Path(__file__).parents[1]
TRAINING = Path(__file__).with_name("ray_train_loop.py")

HELD = """
import os, sys, time
from pathlib import Path
from shotclock.training.loops.digits_mlp import build_quantized

FOLDER = Path(os.environ["HELD"])

def build(seed):
    if seed == 1 and not (FOLDER / "go").exists():
        (FOLDER / "host").write_text(sys.argv[-1])
        while not (FOLDER / "go").exists():
            time.sleep(0.05)
    return build_quantized(seed)
"""
"""A workload whose second seed waits, so that its node can be killed in the middle."""


def read_example() -> list[str]:
    """The small run of the page."""
    page = (Path(__file__).parents[2] / "docs" / "run-on-ray.md").read_text()
    return next(
        line[2:].split() for line in page.splitlines() if line.startswith("$ shotclock bench --engine")
    )


@pytest.fixture(scope="module")
def signals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("signals")


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderAccount]:
    with vendor(tmp_path_factory.mktemp("vendor")) as running:
        yield running


@pytest.fixture(scope="module")
def cluster(signals: Path, account: ProviderAccount) -> Iterator[RayCluster]:
    paid = Path(paid_provider.__file__).read_text()
    modules = {"held": HELD, "paid_provider": paid, engine_contract.NAME: engine_contract.MODULE}
    variables = {"HELD": str(signals), paid_provider.PORT: str(account.port)}
    with run_cluster(("alpha", "beta", "gamma"), modules, variables) as running:
        yield running


def test_the_engine_keeps_its_contract(cluster: RayCluster, tmp_path: Path) -> None:
    contract = [sys.executable, str(TESTS / "engine_contract.py"), "ray", str(tmp_path)]
    environment = {**cluster.environment, "RAY_ADDRESS": cluster.address}
    contract_run = subprocess.run(contract, env=environment, stdout=subprocess.PIPE, check=False)
    assert contract_run.stdout == b"kept\n"


def test_workers_of_ray_train_keep_one_model(cluster: RayCluster, tmp_path: Path) -> None:
    """Before the test that kills a node."""
    port = free_port()
    (tmp_path / "killed").touch()  # what the loop waits for at half-way, where another test kills a process

    async def live() -> tuple[int | None, str]:
        serving = await ServiceProcess.start(serve_settings(tmp_path, port))
        try:
            await serving.wait_for_event("ready")
            training = await asyncio.create_subprocess_exec(
                sys.executable,
                str(TRAINING),
                str(tmp_path),
                f"127.0.0.1:{port}",
                env={**cluster.environment, "RAY_ADDRESS": cluster.address},
                cwd=tmp_path,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            printed, _ = await training.communicate()
            return training.returncode, printed.decode()
        finally:
            await serving.kill()

    code, printed = asyncio.run(live())
    assert code == 0, printed
    lines = [
        [line.split() for line in (tmp_path / f"rank-{rank}").read_text().splitlines()] for rank in (0, 1)
    ]
    assert [words[2] for words in lines[0] if words[0] == "call"] == ["Done"] * CALLS
    assert "applied" in {words[3] for words in lines[0] if words[0] == "call"}
    ends = [words[2:4] for rank in lines for words in rank if words[0] == "end"]
    assert len(ends) == 2
    assert ends[0] == ends[1]  # parameters and version


PAID_RUN = """
schema = 1

[engine]
name = "ray"

[bench]
workload = "digits-quantized"
seeds = 2
steps = 4
warmup_steps = 0

[kernel]
n = 6
every = 1

[quantum]
provider = "paid_provider:connect"
max_money_per_run = 0.15

[cost]
qpu_second = 1.0

[serve]
{serve}
"""
"""Its provider reserves 0.05 s a job: the budget is that of three jobs, for eight calls."""


async def run_bench(cluster: RayCluster, folder: Path, settings: str, *words: str) -> Any:
    """Its summary."""
    config = folder / "settings.toml"
    config.write_text(settings)
    command = ["-P", "-m", "shotclock", "bench", "--config", str(config), "--json"]
    run = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        *words,
        env={**cluster.environment, "RAY_ADDRESS": cluster.address},
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, progress = await run.communicate()
    assert run.returncode == 0, progress.decode()
    summary = json.loads(printed)
    assert summary["status"] == "complete"
    return summary


def test_paid_replicates_keep_to_their_shares_beside_an_arm_on_other_hosts(
    cluster: RayCluster, account: ProviderAccount, tmp_path: Path
) -> None:
    port, out = free_port(), tmp_path / "run"
    arms = "classical-only,hybrid-colocated,hybrid-hosts"
    (tmp_path / "service").mkdir()
    before = len(account.list_paid())

    async def live() -> Any:
        serving = await ServiceProcess.start(serve_settings(tmp_path / "service", port))
        try:
            await serving.wait_for_event("ready")
            words = ["--hosts", f"127.0.0.1:{port}", "--arms", arms, "--out", str(out)]
            return await run_bench(cluster, tmp_path, PAID_RUN.format(serve=""), *words)
        finally:
            await serving.kill()

    summary = asyncio.run(live())
    paid = [tag for tag, _ in account.list_paid()[before:]]
    ledgers = [FilePlace(out / "replicates" / f"ledger-{seed:03d}.db").read_jobs() for seed in (0, 1)]
    assert [len(jobs) for jobs in ledgers] == [1, 1]  # half of the budget is one job and a half
    assert sorted(paid) == sorted(job.tag for jobs in ledgers for job in jobs)
    ended = {LedgerState.RESULT, LedgerState.APPLIED, LedgerState.STALE}
    assert all(job.state in ended for jobs in ledgers for job in jobs)
    placement = summary["arms"]["hybrid-hosts"]["placement"]
    assert placement["hosts"] == {f"127.0.0.1:{port}": {"calls": 8, "unanswered": 0}}
    assert verify(out) == []


def test_paid_replicates_share_one_budget_in_postgresql(
    cluster: RayCluster, account: ProviderAccount, postgres: Cluster, tmp_path: Path
) -> None:
    before, url = len(account.list_paid()), postgres.create("replicates")
    settings = PAID_RUN.format(serve=f'ledger = "{url}"')
    words = ["--arms", "classical-only,hybrid-colocated", "--out", str(tmp_path / "run")]
    asyncio.run(run_bench(cluster, tmp_path, settings, *words))
    paid = [tag for tag, _ in account.list_paid()[before:]]
    assert len(paid) == 3
    assert sorted(paid) == sorted(job.tag for job in find_place(url).read_jobs())


def test_a_run_is_complete_when_a_node_is_killed_in_the_middle(
    cluster: RayCluster, signals: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = [*read_example(), "--workload", "held:build", "--json", "--out", str(out)]
    with (tmp_path / "progress").open("wb") as progress:
        run = subprocess.Popen(
            [sys.executable, "-P", "-m", *command],
            env={**cluster.environment, "RAY_ADDRESS": cluster.address},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=progress,
        )
        replicates = out / "replicates"
        wait_for(lambda: (signals / "host").exists() or run.poll() is not None, "seed 1 did not start")
        wait_for(
            lambda: (replicates / "seed-000-validation.json").exists() or run.poll() is not None,
            "seed 0 and its repetition did not finish",
        )
        finished = {file: file.read_bytes() for file in replicates.glob("seed-000*.json")}
        lost = (signals / "host").read_text()
        cluster.kill(lost)
        (signals / "go").touch()
        printed, _ = run.communicate()
    assert run.returncode == 0, (tmp_path / "progress").read_text()
    summary = json.loads(printed)
    assert summary["status"] == "complete"
    assert summary["arms"]["classical-control"]["seeds"] == [0, 1]
    assert len(finished) == 2
    assert {file: file.read_bytes() for file in finished} == finished

    replication = summary["replication"]
    assert [(each["seed"], each["host"]) for each in replication["lost"]] == [(1, lost)]
    ran = {name: (host["replicates"], host["validations"]) for name, host in replication["hosts"].items()}
    assert lost not in ran
    assert sorted(seed for seeds, _ in ran.values() for seed in seeds) == [0, 1]
    first = next(name for name, (seeds, _) in ran.items() if 0 in seeds)
    second = next(name for name, (_, repeated) in ran.items() if repeated == [0])
    assert first != second
    # the same seed on equal machines trains the same model
    assert replication["repeated"]["classical-control.loss"] == {"n": 1, "equal": 1, "mean": 0.0}
    assert replication["spread"]["classical-control.loss"]["n"] == 3
    assert replication["others"] == []

    assert verify(out) == []
    assert RunFolder(out).read_summary().replication is not None
    page = (out / "report.html").read_text()
    assert f"Lost: seed 1 on {lost}" in page
    assert "it ran again on" in page
