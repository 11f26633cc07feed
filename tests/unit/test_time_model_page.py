"""The tables of docs/time-model.md are what the code computes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from qiskit import QuantumCircuit
from typer.testing import CliRunner

from shotclock.app import device_comparison
from shotclock.cli.profile import profile as command
from shotclock.domain.circuit import Bound, DeviceCircuit, Template
from shotclock.domain.ports import Job
from shotclock.emulator import device, snapshot
from shotclock.emulator.device import DeviceFacts
from shotclock.emulator.profile import list_profiles, load
from shotclock.emulator.timing import mean_by_component, shots_s

PAGE = (Path(__file__).parents[2] / "docs" / "time-model.md").read_text(encoding="utf-8")
ASSUMED_RESET_S = 1.7e-6


def rows(headings: str) -> list[list[str]]:
    """The cells of the table whose heading begins so."""
    (body,) = re.findall(rf"^\| {re.escape(headings)}.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines()]


def number(cell: str) -> float:
    """The first figure of a cell, as the page writes it."""
    match = re.search(r"[−+]?[\d,]*\.?\d+", cell)
    assert match, cell
    return float(match[0].replace(",", "").replace("−", "-"))


def job_id(cell: str) -> str:
    (name,) = re.findall(r"`(\w+)`", cell)
    return str(name)


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
        facts = snapshot.read(f"Fake{name.capitalize()}")
        assert facts.taken_at[:10] == row[0][-10:]
        published_s, modelled_s = 100.0 / facts.clops_h, facts.model_shot_s(ASSUMED_RESET_S)
        assert number(row[1]) == facts.clops_h
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


@pytest.fixture(scope="module")
def predictions() -> list[device_comparison.Prediction]:
    """What `shotclock profile compare` predicts."""
    return device_comparison.compare(device.list_devices(), [load(name) for name in list_profiles()], 12)


def test_the_table_of_devices_and_fabrics(predictions: list[device_comparison.Prediction]) -> None:
    assert f"compare --markdown -->\n{device_comparison.write_markdown(predictions)}\n" in PAGE
    for sentence in device_comparison.conclude(predictions):
        assert f"- {sentence}.\n" in PAGE


def test_the_most_shots_are_the_last_within_the_range(
    predictions: list[device_comparison.Prediction],
) -> None:
    for row in predictions:
        facts = device.describe(row.device)
        if row.profile != "colocated":
            assert (row.most_shots, row.most_shots_constant) == (0, 0)
            continue
        slope_ms = (row.mean_ms[4096] - row.mean_ms[64]) / (4096 - 64)
        at_most_ms = row.mean_ms[64] + slope_ms * (row.most_shots - 64)
        assert at_most_ms <= 50.0 + 1e-9 < at_most_ms + slope_ms
        # a Heron's unexplained time as a constant: rep_delay, circuit, reset and the rest of a 100-layer shot
        constant_ms = slope_ms * facts.efficiency + 1e3 * (1.0 - facts.efficiency) * 100 / facts.clops_h
        assert row.most_shots_constant <= row.most_shots
        assert (50.0 - row.mean_ms[64] + 64 * slope_ms) // constant_ms == row.most_shots_constant


def test_rep_delays_are_within_each_devices_range() -> None:
    assert device_comparison.list_rep_delays_s(device.describe("heron-boston")) == [
        250e-6,
        100e-6,
        20e-6,
        0.0,
    ]
    assert device_comparison.list_rep_delays_s(device.describe("nighthawk-berlin")) == [4000e-6, 1000e-6]


@pytest.mark.parametrize(
    ("option", "start"), [("--markdown", "| fabric | device |"), ("--n=12", "fabric     device")]
)
def test_compare_says_that_it_is_emulated(option: str, start: str) -> None:
    arguments = ["compare", "heron-boston", "--profile", "colocated", option]
    text = CliRunner().invoke(command, arguments, catch_exceptions=False).output
    assert text.startswith(start)
    assert "\nEMULATED: the time model's mean of a call, n = 12" in text
    assert "met by heron-boston (161 to 162 shots at 250 us" in text


CHART = Path(__file__).parents[2] / "docs" / "time-model" / "devices_and_fabrics.svg"


def test_the_pages_chart_is_of_these_predictions(predictions: list[device_comparison.Prediction]) -> None:
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", CHART.read_text(encoding="utf-8"))
    for prediction in predictions:
        for mean_ms in prediction.mean_ms.values():
            assert (f"{mean_ms:,.0f}" if mean_ms >= 10.0 else f"{mean_ms:.1f}") in texts


def test_compare_gives_one_document(predictions: list[device_comparison.Prediction], tmp_path: Path) -> None:
    file = tmp_path / "chart.svg"
    arguments = ["compare", "heron-boston", "--profile", "colocated", "--json", "--chart", str(file)]
    document = json.loads(CliRunner().invoke(command, arguments, catch_exceptions=False).output)
    assert document["emulated"] is True
    expected = [row for row in predictions if (row.device, row.profile) == ("heron-boston", "colocated")]
    assert [row["most_shots"] for row in document["predictions"]] == [row.most_shots for row in expected]
    chart = file.read_text(encoding="utf-8")
    # Four settings of 16 are within the reference range: white figures on the darkest cells.
    assert re.findall(r'<text[^>]*fill="#ffffff"[^>]*>([^<]*)</text>', chart) == ["22", "34", "36", "41"]
    assert "EMULATED" in chart
