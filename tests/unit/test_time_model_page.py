"""The tables of docs/time-model.md are what the code computes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from qiskit import QuantumCircuit

from shotclock.domain.circuit import Bound, DeviceCircuit, Template
from shotclock.domain.ports import Job
from shotclock.emulator import device, snapshot
from shotclock.emulator.device import DeviceFacts
from shotclock.emulator.profile import load
from shotclock.emulator.timing import mean_by_component, shots_s

PAGE = (Path(__file__).parents[2] / "docs" / "time-model.md").read_text(encoding="utf-8")
ASSUMED_RESET_S = 1.7e-6


def rows(headings: str) -> list[list[str]]:
    """The cells of the table whose heading begins so."""
    (body,) = re.findall(rf"^\| {re.escape(headings)}.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines()]


def number(cell: str) -> float:
    """The first figure of a cell, as the page writes it."""
    found = re.search(r"[−+]?[\d,]*\.?\d+", cell)
    assert found, cell
    return float(found[0].replace(",", "").replace("−", "-"))


def job_id(cell: str) -> str:
    (found,) = re.findall(r"`(\w+)`", cell)
    return str(found)


def bare(name: str) -> DeviceFacts:
    """The device with nothing fitted."""
    return replace(device.describe(name), efficiency=1.0)


def read_published(row: list[str]) -> Job:
    """The job of a row: PUBs × shots of circuits of this length."""
    pubs, shots = row[2].split("×")
    template = Template("", "", (), b"", number(row[3]) * 1e-6, 0, 0)
    return Job.of((DeviceCircuit(template, Bound(b"", 16, 16)),) * int(pubs), int(number(shots)), "t")


JOBS = rows("job | device | PUBs × shots")


def test_the_table_of_clops() -> None:
    for row in rows("device, snapshot | published CLOPS_h"):
        name = row[0].partition(" ")[0].removeprefix("ibm_")
        found = snapshot.read(f"Fake{name.capitalize()}")
        assert found.taken_at[:10] == row[0][-10:]
        published_s, modelled_s = 100.0 / found.clops_h, found.model_shot_s(ASSUMED_RESET_S)
        assert number(row[1]) == found.clops_h
        assert number(row[2]) == pytest.approx(published_s * 1e6, rel=5e-4)
        assert number(row[3]) == pytest.approx(modelled_s * 1e6, rel=5e-4)
        assert number(row[4]) == pytest.approx(100.0 / modelled_s, rel=5e-3)
        assert number(row[5]) == pytest.approx(modelled_s / published_s, abs=5.1e-3)
        assert number(row[6]) == pytest.approx(100.0 * (modelled_s / published_s - 1.0), abs=0.6)


@pytest.mark.parametrize("row", JOBS, ids=lambda row: job_id(row[0]))
def test_the_table_of_jobs(row: list[str]) -> None:
    formula_s = shots_s(read_published(row), bare(row[1]))
    assert number(row[5]) == pytest.approx(formula_s, abs=5.1e-5)
    assert number(row[6]) == pytest.approx(formula_s / number(row[4]), abs=5.1e-4)
    assert number(row[7]) == pytest.approx(100.0 * (formula_s / number(row[4]) - 1.0), abs=0.06)
    # what the page says of the bare formula and of the fitted factor
    assert 0.95 < number(row[6]) < 1.0
    fitted_s = shots_s(read_published(row), device.describe(row[1]))
    assert 1.8 < fitted_s / number(row[4]) < 2.0


def test_the_table_of_charges() -> None:
    jobs = {job_id(row[0]): row for row in JOBS}
    charges = rows("job | charged, whole seconds")
    assert [job_id(row[0]) for row in charges] == list(jobs)
    for row in charges:
        source = jobs[job_id(row[0])]
        parts = mean_by_component(read_published(source), bare(source[1]), load("public-cloud"))
        formula_s = sum(part.mean_ms for part in parts if part.name in {"subjob_overhead", "shots"}) * 1e-3
        assert number(row[3]) == pytest.approx(formula_s, abs=5.1e-4)
        assert number(row[4]) == pytest.approx(formula_s / number(row[2]), abs=5.1e-3)
        # the 1.70 s that the page infers; a resource unit is written to 0.0001 minutes
        assert number(row[2]) - number(source[4]) == pytest.approx(1.70, abs=0.006)
        assert round(number(row[2])) in {number(row[1]), number(row[1]) - 1}


@pytest.mark.parametrize(
    ("number_of_row", "fake"), [(0, "heron-fez"), (2, "heron-marrakesh")], ids=["fez", "marrakesh"]
)
def test_the_published_known_answers_last_as_long_as_the_page_says(number_of_row: int, fake: str) -> None:
    """X on five of 16 qubits, then read-out: the length does not depend on where they are."""
    circuit = QuantumCircuit(156, 16)
    circuit.x([0, 1, 3, 7, 12])
    circuit.barrier(range(16))
    circuit.measure(range(16), range(16))
    length_s = circuit.estimate_duration(device.target(fake), unit="s")
    assert number(JOBS[number_of_row][3]) == pytest.approx(length_s * 1e6, abs=5e-4)


def test_every_job_has_an_address_or_says_that_it_has_none() -> None:
    for row in JOBS:
        (label,) = re.findall(r"\]\[([\w-]+)\]", row[0])
        (address,) = re.findall(rf"^\[{label}\]: (https://\S+)$", PAGE, re.MULTILINE)
        assert re.fullmatch(r"https://github\.com/[\w-]+/[\w-]+/blob/[0-9a-f]{40}/\S+", address)
    older = rows("job | device | shots | rep_delay")
    assert len(older) == 2
    assert "copies of public repositories, without an address" in PAGE
    for row in older:  # each shot 250 µs, a read-out of an Eagle's 1.2 µs or so, and a reset
        assert number(row[5]) == pytest.approx(number(row[2]) * 253e-6, rel=0.02)
