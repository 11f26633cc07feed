"""One target under libFuzzer (atheris), in the process that `soak_fuzz.py` starts: NAME OPTION… CORPUS."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import atheris

OF_BYTES = {
    "qasm": ("fuzz_targets", "check_qasm"),
    "qasm-read": ("fuzz_targets", "read_qasm"),
    "qpy": ("fuzz_targets", "check_qpy"),
    "template": ("fuzz_targets", "load_template"),
    "lines": ("fuzz_targets", "load_line_set"),
    "subproblem": ("fuzz.targets_messages", "subproblem"),
    "circuit": ("fuzz.targets_messages", "circuit"),
    "decision": ("fuzz.targets_messages", "decision"),
    "answer": ("fuzz.targets_messages", "answer"),
    "subproblem-batch": ("fuzz.targets_messages", "subproblem_batch"),
    "batch-answers": ("fuzz.targets_messages", "batch_answers"),
    "circuit-answer": ("fuzz.targets_messages", "circuit_answer"),
    "host-state": ("fuzz.targets_messages", "host_state"),
    "host-report": ("fuzz.targets_messages", "host_report"),
    "status": ("fuzz.targets_messages", "status"),
}
"""Functions of bytes, by module and name: only what a target needs is imported, and instrumented."""

OF_FILES = {
    "settings": ("fuzz.targets_service", "settings_file"),
    "flags": ("fuzz.targets_service", "flags_file"),
    "ledger": ("fuzz.targets_service", "ledger_file"),
    "profile": ("fuzz.targets_files", "profile_file"),
    "records": ("fuzz.targets_files", "job_records"),
    "pairs": ("fuzz.targets_files", "pairs_record"),
    "history": ("fuzz.targets_files", "history_file"),
    "parquet": ("fuzz.targets_files", "steps_file"),
    "samples": ("fuzz.targets_files", "samples_file"),
}
"""Functions of a file's content and a folder."""

OF_A_RUN = {"summary": "summary.json"}
OF_A_LOAD_TEST = {"load": "load.json"}
SIDE_FILES = {
    "machine": "machine.json",
    "lock": "config.lock.toml",
    "page": "report.html",
    "latency-log": "latency.hlog",
    "trace": "trace.pftrace",
}
"""Files of a valid run folder, each replaced in turn."""


def prepare(name: str, folder: Path) -> Callable[[bytes], object]:
    """The target, with the files that it needs in the folder."""
    with atheris.instrument_imports(include=["shotclock"]):
        if name in OF_BYTES:
            of_bytes: Callable[[bytes], object] = _import(*OF_BYTES[name])
            return of_bytes
        if name in OF_FILES:
            function = _import(*OF_FILES[name])
            return lambda content: function(content, folder)
        run_folders = importlib.import_module("fuzz.run_folders")
        targets = importlib.import_module("fuzz.targets_files")
    if name in OF_A_LOAD_TEST:
        run_folders.make_load(folder)
    else:
        folder = run_folders.make_run(folder / "run")
    whole_files = OF_A_RUN | OF_A_LOAD_TEST
    function = (
        partial(targets.run_file, whole_files[name])
        if name in whole_files
        else partial(targets.side_file, SIDE_FILES[name])
    )
    return lambda content: function(content, folder)


def _import(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    name, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        run = prepare(name, Path(folder))
        run(b"")  # imports and caches
        atheris.Setup([sys.argv[0], *options], run)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
