"""Disjoint lines: valid, as many as there is room for, good ones first, and kept across restarts."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from qiskit.transpiler import Target
from qiskit_ibm_runtime import fake_provider
from scipy import optimize, sparse

from shotclock.circuits import line_sets
from shotclock.circuits.disjoint import disjoint_lines, disjoint_lines_for
from shotclock.circuits.line_sets import LineSet
from shotclock.circuits.lines import Layout, Line, best_line, layout
from shotclock.domain.errors import MachineError, SettingsError

SMALL = LineSet("a-device", "today", 2, ((0, 1), (3, 2)), (0.1, 0.2))


@pytest.fixture(scope="module")
def torino() -> Target:
    return fake_provider.FakeTorino().target


@pytest.fixture(scope="module")
def manila() -> Target:
    """Five qubits in a row."""
    return fake_provider.FakeManilaV2().target


@pytest.fixture(scope="module")
def twelves(torino: Target) -> tuple[Line, ...]:
    return disjoint_lines(torino, 12)


def assert_disjoint_and_working(target: Target, lines: tuple[Line, ...]) -> None:
    qubits = [qubit for line in lines for qubit in line]
    assert len(set(qubits)) == len(qubits)
    for pair in (pair for line in lines for pair in pairwise(line)):
        assert target["cz"][pair].error < 1.0
        assert target.instruction_supported("cz", pair)
    assert all(target["measure"][qubit,].error < 1.0 for qubit in qubits)


def every_line(working: Layout, n: int) -> list[Line]:
    """All simple paths of n qubits, by brute force."""
    paths: list[Line] = [(qubit,) for qubit in working.readout]
    for _ in range(n - 1):
        paths = [
            (*path, after) for path in paths for after in working.couplers[path[-1]] if after not in path
        ]
    return [path for path in paths if path[0] <= path[-1]]


def most_lines(working: Layout, n: int) -> int:
    """How many disjoint lines there can be at most: the exact answer of an integer program."""
    lines = every_line(working, n)
    columns = np.repeat(np.arange(len(lines)), n)
    rows = np.array([qubit for line in lines for qubit in line])
    uses = sparse.csr_matrix((np.ones(rows.size), (rows, columns)), shape=(rows.max() + 1, len(lines)))
    optimum = optimize.milp(
        -np.ones(len(lines)),
        constraints=optimize.LinearConstraint(uses, -np.inf, 1.0),
        integrality=np.ones(len(lines)),
        bounds=optimize.Bounds(0.0, 1.0),
    )
    assert optimum.status == 0
    return round(-float(optimum.fun))


def test_as_many_lines_of_12_on_torino_as_there_can_be(torino: Target, twelves: tuple[Line, ...]) -> None:
    assert_disjoint_and_working(torino, twelves)
    assert {len(line) for line in twelves} == {12}
    assert len(twelves) == most_lines(layout(torino), 12) == 8


def test_the_least_expected_error_comes_first_and_the_same_every_time(
    torino: Target, twelves: tuple[Line, ...]
) -> None:
    costs = [layout(torino).cost(line) for line in twelves]
    assert costs == sorted(costs)
    assert disjoint_lines(torino, 12) == twelves


def test_few_lines_are_better_ones(torino: Target, twelves: tuple[Line, ...]) -> None:
    working = layout(torino)
    few = disjoint_lines(torino, 12, at_most=3)
    assert_disjoint_and_working(torino, few)
    assert len(few) == 3
    assert sum(map(working.cost, few)) <= sum(map(working.cost, twelves[:3]))
    assert few[0] == best_line(torino, 12)


def test_a_cost_is_minus_the_logarithm_of_success(torino: Target) -> None:
    line = best_line(torino, 3)
    success = 1.0
    for qubit in line:
        success *= 1.0 - torino["measure"][qubit,].error
    for pair in pairwise(line):
        success *= (1.0 - torino["cz"][pair].error) ** 4.5
    assert layout(torino).cost(line) == pytest.approx(-np.log(success))


def test_lines_of_several_sizes_keep_their_order(torino: Target) -> None:
    sizes = (4, 12, 8, 12, 1, 16, 4)
    lines = disjoint_lines_for(torino, sizes)
    assert tuple(map(len, lines)) == sizes
    assert_disjoint_and_working(torino, lines)
    assert layout(torino).cost(lines[1]) <= layout(torino).cost(lines[3])
    assert disjoint_lines_for(torino, ()) == ()


@pytest.mark.parametrize(("n", "at_most"), [(134, None), (0, None), (4, 0)])
def test_impossible_sets_are_settings_errors(torino: Target, n: int, at_most: int | None) -> None:
    with pytest.raises(SettingsError):
        disjoint_lines(torino, n, at_most)


def test_no_room_for_every_size_is_a_settings_error(manila: Target) -> None:
    assert sorted(sum(disjoint_lines_for(manila, (2, 3)), ())) == [0, 1, 2, 3, 4]
    with pytest.raises(SettingsError, match="no room found for lines of 3, 3 qubits"):
        disjoint_lines_for(manila, (3, 3))


def test_a_set_survives_a_restart(tmp_path: Path) -> None:
    path = line_sets.save(SMALL, tmp_path / "new")
    assert line_sets.load(tmp_path / "new", "a-device", "today", 2) == SMALL
    assert LineSet.from_json(SMALL.to_json()) == SMALL
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("device", "calibration", "n", "message"),
    [
        ("a-device", "tomorrow", 2, "calibration today, expected tomorrow"),
        ("a-device", "today", 3, "No such file"),
        ("other", "today", 2, "No such file"),
    ],
)
def test_a_foreign_set_is_refused(
    tmp_path: Path, device: str, calibration: str, n: int, message: str
) -> None:
    line_sets.save(SMALL, tmp_path)
    with pytest.raises(SettingsError, match=message):
        line_sets.load(tmp_path, device, calibration, n)


@pytest.mark.parametrize(
    "change",
    [
        {"lines": [[0, 1], [1, 2]]},
        {"lines": [[0, 1], [2]]},
        {"lines": [[0, 1]]},
        {"costs": [0.2, 0.1]},
        {"costs": [-1.0, 0.1]},
        {"n": "2"},
        {"calibration": None},
    ],
)
def test_a_damaged_set_is_refused(change: dict[str, object]) -> None:
    damaged = json.dumps(json.loads(SMALL.to_json()) | change)
    with pytest.raises(SettingsError, match="line set"):
        LineSet.from_json(damaged)


def test_stored_computes_once_a_calibration_and_heals_a_damaged_file(
    tmp_path: Path, torino: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[str] = []
    lines = SMALL.lines[::-1]  # the cheaper first
    small = replace(SMALL, lines=lines, costs=tuple(map(layout(torino).cost, lines)))

    def compute(target: Target, device: str, calibration: str, n: int) -> LineSet:
        computed.append(calibration)
        return replace(small, device=device, calibration=calibration, n=n)

    monkeypatch.setattr(line_sets, "compute", compute)

    def store_lines(calibration: str) -> LineSet:
        return line_sets.load_or_make(tmp_path, torino, "a-device", calibration, 2)

    assert store_lines("today") == store_lines("today") == small
    assert store_lines("tomorrow").calibration == "tomorrow"
    path = line_sets.path_of(tmp_path, "a-device", 2)
    path.write_bytes(b"\xff" + path.read_bytes()[:20])
    assert store_lines("tomorrow") == store_lines("tomorrow")
    assert computed == ["today", "tomorrow", "tomorrow"]


def test_a_square_lattice_is_packed() -> None:
    lines = disjoint_lines(fake_provider.FakeMiami().target, 6)
    assert len(lines) >= 18
    assert len({qubit for line in lines for qubit in line}) == 6 * len(lines)


def test_a_computed_set_is_the_targets(manila: Target) -> None:
    lines = line_sets.compute(manila, "manila", "today", 2)
    assert lines.lines == disjoint_lines(manila, 2)
    assert lines.costs == tuple(map(layout(manila).cost, lines.lines))


def test_a_folder_that_cannot_be_written_is_a_machine_error(tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    with pytest.raises(MachineError, match="cannot be written"):
        line_sets.save(SMALL, tmp_path / "a-file")


def test_lines_need_no_qiskit() -> None:
    code = "import sys, shotclock.circuits.line_sets; sys.exit('qiskit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
