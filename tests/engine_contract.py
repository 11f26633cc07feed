"""What every engine must keep, checked on a real cluster: `python tests/engine_contract.py ENGINE FOLDER`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from shotclock.domain.engine import Engine, Failed, Finished, Lost, Report, Task
from shotclock.engines.registry import open_engine
from shotclock.settings import EngineSettings

MODULE = """
import os, signal, sys, time
from pathlib import Path
folder, host = Path(sys.argv[1]), sys.argv[2]
how = (folder / "task.json").read_text()
if how == '"fail"':
    sys.exit("a warning\\nclassical-control, step 3: boom")
if how == '"die"':
    os.kill(os.getpid(), signal.SIGKILL)
if how == '"sleep"':
    time.sleep(3600)
(folder / "result.json").write_text(how)
"""
"""A task that does what its document says."""
NAME = "engine_task"


def collect(engine: Engine, number: int) -> dict[str, Report]:
    """The next reports, by task; each comes once."""
    reports: dict[str, Report] = {}
    while len(reports) < number:
        for report in engine.wait(1.0):
            assert report.task not in reports
            reports[report.task] = report
    return reports


def check_engine(engine: Engine) -> None:
    """Results, errors and losses of three tasks; with several hosts a task that avoids one; then the end."""
    hosts = engine.list_hosts(0)
    for how in ("echo", "fail", "die"):
        engine.start(Task(how, NAME, f'"{how}"'))
    reports = collect(engine, 3)
    assert all(report.host in {*hosts, ""} for report in reports.values()), reports
    finished = reports["echo"]
    assert isinstance(finished, Finished)
    assert finished.content == b'"echo"'
    failed = reports["fail"]
    assert isinstance(failed, Failed)
    assert failed.because == "classical-control, step 3: boom"
    assert isinstance(reports["die"], Lost), reports
    if len(hosts) > 1:
        engine.start(Task("elsewhere", NAME, '"echo"', avoid=frozenset({finished.host})))
        assert collect(engine, 1)["elsewhere"].host not in {finished.host, ""}
    engine.start(Task("endless", NAME, '"sleep"'))
    assert engine.wait(0.0) == []
    engine.close()


def main() -> None:
    engine, folder = sys.argv[1:]
    settings = EngineSettings.model_validate({"name": engine, "heartbeat_s": 0.5})
    check_engine(open_engine(settings, Path(folder)))
    sys.stdout.write("kept\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
