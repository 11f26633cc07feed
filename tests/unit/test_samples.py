"""samples.parquet: what was drawn comes back from the file, and verify finds each broken rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import synthetic
from run_folder import write_run
from shotclock.bench.columns import Origin, mark_origin
from shotclock.bench.record import samples
from shotclock.bench.record.rows import StepRow
from shotclock.bench.record.samples import SAMPLES, CallSamples, read_samples, write_samples
from shotclock.bench.schema import Summary
from shotclock.bench.verify.samples import check_samples
from shotclock.domain.circuit import Samples

RUN_ID = "20261122-0900"
ARM = "hybrid-colocated"
ABOUT = {ARM: ("ibm_torino", "colocated")}


@pytest.fixture(scope="module")
def rows() -> list[StepRow]:
    return synthetic.rows(synthetic.SMALL)


@pytest.fixture(scope="module")
def written(rows: list[StepRow], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    folder = tmp_path_factory.mktemp("samples") / "run"
    return folder, write_run(folder, rows)


@pytest.fixture(scope="module")
def call(rows: list[StepRow]) -> CallSamples:
    """Two bit strings of three variables, of the first call with samples."""
    step = next(row for row in rows if row.arm == ARM and row.call and row.call.in_time)
    assert step.call is not None
    drawn = Samples(np.array([[1, 0, 0], [0, 1, 1]], np.uint8), np.array([5, 3]))
    name = step.call.request_id
    return CallSamples(ARM, step.seed, step.step, name, drawn, np.array([-1.5, 2.0]), -2.0, -2.0, "x", True)


def write(calls: list[CallSamples], folder: Path, origin: Origin) -> None:
    write_samples(calls, ABOUT, folder / SAMPLES, origin)


def faults(folder: Path, rows: list[StepRow], summary: Summary) -> list[str]:
    return [str(fault).removeprefix("samples.parquet: ") for fault in check_samples(folder, rows, summary)]


def test_samples_survive_the_file(call: CallSamples, tmp_path: Path) -> None:
    write([call, replace(call, optimum=None, step=call.step + 1)], tmp_path, Origin())
    first, second, later, _ = read_samples(tmp_path / SAMPLES).to_pylist()
    assert (first["bitstring"], first["count"], first["energy"]) == ("100", 5, -1.5)
    assert (second["bitstring"], second["count"], second["energy"]) == ("011", 3, 2.0)
    assert (first["device"], first["profile"], first["method"]) == ("ibm_torino", "colocated", "x")
    assert (first["optimum"], later["optimum"], later["best_known"]) == (-2.0, None, -2.0)


def test_a_run_without_samples_has_an_empty_file(tmp_path: Path) -> None:
    write([], tmp_path, Origin())
    assert read_samples(tmp_path / SAMPLES).num_rows == 0


def test_no_more_rows_are_written_than_are_read(
    call: CallSamples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "MOST_SAMPLES", 3)
    calls = [replace(call, step=step) for step in range(4)]
    assert write_samples(calls, ABOUT, tmp_path / SAMPLES, Origin()) == 3
    table = read_samples(tmp_path / SAMPLES)
    assert table.num_rows == 2
    assert pq.read_schema(tmp_path / SAMPLES).metadata[b"calls_left_out"] == b"3"
    assert write_samples(calls[:1], ABOUT, tmp_path / SAMPLES, Origin()) == 0
    assert pq.read_schema(tmp_path / SAMPLES).metadata[b"calls_left_out"] == b"0"


def test_samples_that_the_run_was_to_keep_are_missed(
    written: tuple[Path, Summary], rows: list[StepRow], tmp_path: Path
) -> None:
    folder, summary = copytree(written[0], tmp_path / "run"), written[1]
    lock = folder / "config.lock.toml"
    lock.write_text(lock.read_text().replace("[bench]", "[bench]\nsamples = true"))
    (folder / SAMPLES).unlink(missing_ok=True)
    assert faults(folder, rows, summary) == ["is missing; config.lock.toml has bench.samples = true"]


def test_each_broken_rule_is_found(
    written: tuple[Path, Summary], rows: list[StepRow], call: CallSamples
) -> None:
    folder, summary = written
    ours, where = mark_origin(RUN_ID, emulated=True), f"{ARM}, seed {call.seed}, step {call.step}"
    assert faults(folder, rows, summary) == []
    for wrong, origin, *expected in (
        (call, ours),
        (replace(call, request_id="other"), ours, f"{where}: steps.parquet has no such call with samples"),
        (replace(call, emulated=False), ours, f"{where}: emulated: says False, its arm otherwise"),
        (
            replace(call, best_known=-1.0),
            ours,
            "energy: below best_known in 1 rows",
            "optimum: below best_known in 2 rows",
        ),
        (call, mark_origin("b", emulated=True), f"is of run b, and the summary of {RUN_ID}"),
        (replace(call, energies=np.array([np.nan, 1.0])), ours, "energy: has NaN or infinite values"),
    ):
        write([wrong], folder, origin)
        assert faults(folder, rows, summary) == expected
    pq.write_table(pa.table({"arm": [ARM]}), folder / SAMPLES)
    assert "has no column seed" in faults(folder, rows, summary)[0]
