"""`shotclock bench --engine slurm` on a real Slurm: a job that is requeued, then cancelled, then runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

import engine_contract
from shotclock.bench.verify.check import verify
from shotclock.cli import app
from slurm_cluster import SlurmCluster, run_cluster, wait_for

TESTS = Path(__file__).parents[1]
HELD = """
import sys, time
from pathlib import Path
from shotclock.training.loops.digits_mlp import build_quantized

FOLDER = Path("signals")
IS_JOB = "replicate_process" in sys.argv[0]
starts = 0

def build(seed):
    global starts
    if IS_JOB and not starts:
        starts = 1 + len(list(FOLDER.glob("start-*")))
        (FOLDER / f"start-{starts}").touch()
    while IS_JOB and not (FOLDER / "go").exists():
        time.sleep(0.05)
    return build_quantized(seed)
"""
"""A workload that waits in each job until it may go on."""


def read_example(beginning: str) -> list[str]:
    """The first command of the page that begins so."""
    page = (Path(__file__).parents[2] / "docs" / "run-on-slurm.md").read_text()
    commands = (line[2:] for line in page.splitlines() if line.startswith(f"$ {beginning}"))
    return next(commands).split()


def test_the_script_is_printed_without_slurm(tmp_path: Path) -> None:
    words = read_example("shotclock bench --engine slurm --partition")
    answer = CliRunner().invoke(app, [*words[1:], "--out", str(tmp_path / "run")])
    assert answer.exit_code == 0
    assert "#SBATCH --partition=cpu\n" in answer.stdout
    assert f"submitit.core._submit {tmp_path}/run/replicates/slurm\n" in answer.stdout
    assert not (tmp_path / "run").exists()


def find_job(cluster: SlurmCluster) -> str:
    return cluster.ask("squeue", "-h", "-o", "%i", "-t", "RUNNING").strip()


def test_a_run_is_complete_after_a_requeue_and_a_cancel(tmp_path: Path) -> None:
    signals, out = tmp_path / "signals", tmp_path / "run"
    signals.mkdir()
    (tmp_path / "held.py").write_text(HELD)
    words = [
        *read_example("shotclock bench --engine"),
        "--workload",
        "held:build",
        "--json",
        "--out",
        str(out),
    ]
    with run_cluster({"PYTHONPATH": str(tmp_path)}) as cluster:
        (tmp_path / f"{engine_contract.NAME}.py").write_text(engine_contract.MODULE)
        contract = [sys.executable, str(TESTS / "engine_contract.py"), "slurm", str(tmp_path / "contract")]
        contract_run = subprocess.run(contract, env=cluster.environment, stdout=subprocess.PIPE, check=False)
        assert contract_run.stdout == b"kept\n"

        bad = [sys.executable, "-P", "-m", *words, "--partition", "nowhere"]
        refused = subprocess.Popen(bad, env=cluster.environment, cwd=tmp_path, stderr=subprocess.PIPE)
        _, error = refused.communicate()
        assert refused.returncode == 3
        assert error.decode().splitlines() == [
            "shotclock: --partition nowhere: no node runs jobs: allocation failure: Invalid partition name "
            "specified"
        ]
        assert not out.exists()

        with (tmp_path / "progress").open("wb") as progress:
            run = subprocess.Popen(
                [sys.executable, "-P", "-m", *words],
                env=cluster.environment,
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=progress,
            )
            wait_for(lambda: (signals / "start-1").exists() or run.poll() is not None, cluster)
            first = find_job(cluster)
            cluster.ask("scontrol", "requeue", first)
            wait_for(lambda: (signals / "start-2").exists() or run.poll() is not None, cluster)
            assert find_job(cluster) == first
            cluster.ask("scancel", first)
            wait_for(lambda: (signals / "start-3").exists() or run.poll() is not None, cluster)
            second = find_job(cluster)
            (signals / "go").touch()
            printed, _ = run.communicate()
        listed = cluster.ask("sacct", "-X", "-n", "-o", "JobID,State%20", "--parsable2", "-S", "now-1hour")
    assert run.returncode == 0, (tmp_path / "progress").read_text()
    assert second != first
    assert [line for line in listed.splitlines() if line.startswith(f"{first}|CANCELLED")]
    summary = json.loads(printed)
    assert summary["status"] == "complete"
    replication = summary["replication"]
    (loss,) = replication["lost"]
    assert (loss["seed"], loss["host"]) == (0, cluster.host)
    assert loss["because"].startswith(f"its job {first} left the queue without a result: CANCELLED")
    assert replication["hosts"][cluster.host]["replicates"] == [0]
    assert verify(out) == []
