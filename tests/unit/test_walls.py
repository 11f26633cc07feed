"""The contracts of import-linter: kept today, and broken by an import planted across each wall."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import grimp
import pytest
from importlinter import configuration
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract

ROOT = Path(__file__).parents[2]
CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"][
    "importlinter"
]["contracts"]
configuration.configure()
KINDS = {"layers": LayersContract, "forbidden": ForbiddenContract}
PLANTED = [
    ("shotclock.domain.budget", "shotclock.settings"),
    ("shotclock.bench.schema", "shotclock.app.host"),
    ("shotclock.app.host", "shotclock.cli.serve"),
    ("shotclock.training.hook", "shotclock.orchestrator.dispatcher"),
    ("shotclock.orchestrator.pipeline", "shotclock.runtime.offload"),
    ("shotclock.bench.judge.verdict", "shotclock.bench.report.kit.wording"),
    ("shotclock.bench.judge.gates", "shotclock.bench.load.judge"),
    ("shotclock.bench.record.drive", "shotclock.bench.judge.metrics"),
    ("shotclock.bench.verify.check", "shotclock.bench.history.store"),
    ("shotclock.bench.history.store", "shotclock.bench.compare.gate"),
    ("shotclock.bench.compare.gate", "shotclock.bench.report.run.page"),
    ("shotclock.bench.report.load.page", "shotclock.bench.report.run.page"),
    ("shotclock.bench.report.kit.sheet", "shotclock.bench.report.run.charts"),
    ("shotclock.orchestrator.ledger.sqlite", "shotclock.orchestrator.pipeline"),
    ("shotclock.orchestrator.health.breaker", "shotclock.orchestrator.lanes"),
    ("shotclock.training.kernels.rounding", "shotclock.training.hook"),
    ("shotclock.emulator.rest.recognise.ising", "shotclock.emulator.rest.endpoint"),
]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("shotclock")


def find_broken(graph: grimp.ImportGraph) -> list[str]:
    """Names of the contracts that these imports break."""
    names = []
    for options in CONTRACTS:
        contract = KINDS[options["type"]](
            name=options["name"],
            session_options={"root_packages": ["shotclock"]},
            contract_options={
                key: str(value) if isinstance(value, bool) else value
                for key, value in options.items()
                if key not in {"name", "type"}
            },
        )
        if not contract.check(copy.deepcopy(graph), verbose=False).kept:
            names.append(options["name"])
    return names


def test_every_contract_is_kept(graph: grimp.ImportGraph) -> None:
    assert find_broken(graph) == []


@pytest.mark.parametrize(("importer", "imported"), PLANTED)
def test_an_import_across_a_wall_breaks_a_contract(
    graph: grimp.ImportGraph, importer: str, imported: str
) -> None:
    planted = copy.deepcopy(graph)
    assert {importer, imported} <= planted.modules
    planted.add_import(importer=importer, imported=imported)
    assert len(find_broken(planted)) >= 1
