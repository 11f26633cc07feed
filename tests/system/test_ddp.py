"""Two ranks under torchrun: one model to the end, whatever becomes of the orchestrator or of a rank."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from pathlib import Path

from served import START_S, ServiceProcess, free_port

LOOP = Path(__file__).with_name("ddp_loop.py")
N, CALLS = 6, 8


async def torchrun(folder: Path, port: int, how: str) -> Process:
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(LOOP)]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        str(folder),
        f"127.0.0.1:{port}",
        how,
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


async def lines_until(process: Process, word: str, times: int) -> list[list[str]]:
    """What the ranks print, word by word, up to the line that starts with `word` for the n-th time."""
    assert process.stdout is not None
    assert process.stderr is not None
    lines: list[list[str]] = []
    async with asyncio.timeout(START_S):
        while line := await process.stdout.readline():
            lines.append(line.decode().split())
            if Counter(words[0] for words in lines)[word] == times:
                return lines
    raise AssertionError(f"'{word}' was not said {times} times: {(await process.stderr.read()).decode()}")


async def wait_ended(process: Process) -> tuple[int | None, str]:
    async with asyncio.timeout(START_S):
        _, complaints = await process.communicate()
    return process.returncode, complaints.decode()


def serve_settings(folder: Path, port: int) -> Path:
    config = folder / "settings.toml"
    config.write_text(f"""
[serve]
listen = "127.0.0.1:{port}"
metrics = "127.0.0.1:0"
insecure = true
sizes = [{N}]
ledger = "{folder / "ledger.db"}"
""")
    return config


def test_an_orchestrator_killed_half_way_leaves_one_model(tmp_path: Path) -> None:
    port = free_port()

    async def live() -> tuple[list[list[str]], list[list[str]], int | None, str]:
        serving = await ServiceProcess.start(serve_settings(tmp_path, port))
        try:
            await serving.wait_for_event("ready")
            training = await torchrun(tmp_path, port, "well")
            before = await lines_until(training, "half-way", 2)
            await serving.kill()
            (tmp_path / "killed").touch()
            after = await lines_until(training, "end", 2)
            return before, after, *await wait_ended(training)
        finally:
            await serving.kill()

    before, after, code, complaints = asyncio.run(live())
    assert code == 0, complaints
    assert [words[2] for words in before if words[0] == "call"] == ["Done"] * (CALLS // 2)
    assert [words[2] for words in after if words[0] == "call"] == ["Degraded"] * (CALLS // 2)
    # deltas did move the model, before the kill and after it
    assert "applied" in {words[3] for words in before if words[0] == "call"}
    assert "applied" in {words[3] for words in after if words[0] == "call"}
    ends = [words[1:] for words in after if words[0] == "end"]
    assert {rank for rank, *_ in ends} == {"0", "1"}
    assert len({(parameters, version) for _, parameters, version, *_ in ends}) == 1
    assert {ray for *_, ray, _ in ends} == {"False"}
    # rank zero decides, and counts what it decides
    assert {rank: int(counted) for rank, *_, counted in ends} == {"0": CALLS, "1": 0}


def test_ranks_that_part_and_ranks_that_die_end_the_run_with_words(tmp_path: Path) -> None:
    async def live() -> tuple[list[list[str]], tuple[int | None, str], tuple[int | None, str]]:
        tampered, lost = [await torchrun(tmp_path, free_port(), how) for how in ("tampered", "lost")]
        lines = await lines_until(tampered, "parted", 2)
        return lines, await wait_ended(tampered), await wait_ended(lost)

    lines, (parted, words), (lost, last_words) = asyncio.run(live())
    assert parted == lost == 1
    # both ranks say it, so whoever reads either log knows
    text_by_rank = {line[1]: " ".join(line[2:]) for line in lines if line[0] == "parted"}
    assert text_by_rank.keys() == {"0", "1"}
    message = "distributed: at step 4, parameter '2.weight' differs between ranks"
    assert all(text.startswith(message) for text in text_by_rank.values())
    assert f"RunError: {message}" in words
    assert "SIGKILL" in last_words
