"""The contracts of import-linter: kept today, and broken by an import planted across each wall."""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Iterator
from itertools import pairwise
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


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("shotclock")


def is_kept(options: dict[str, Any], graph: grimp.ImportGraph) -> bool:
    contract = KINDS[options["type"]](
        name=options["name"],
        session_options={"root_packages": ["shotclock"]},
        contract_options={
            key: str(value) if isinstance(value, bool) else value
            for key, value in options.items()
            if key not in {"name", "type"}
        },
    )
    return bool(contract.check(copy.deepcopy(graph), verbose=False).kept)


def find_walls(options: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Importer and imported of one import across each wall of the contract."""
    if options["type"] == "forbidden":
        for importer in options["source_modules"]:
            yield from ((importer, imported) for imported in options["forbidden_modules"])
        return
    prefix = f"{options['containers'][0]}." if "containers" in options else ""
    layers = [[prefix + name for name in re.split(r" [|:] ", layer)] for layer in options["layers"]]
    for upper, lower in pairwise(layers):
        yield from ((importer, upper[0]) for importer in lower)
        yield from ((lower[0], imported) for imported in upper[1:])
    for names, layer in zip(layers, options["layers"], strict=True):
        if " | " in layer:  # the modules of the layer are independent
            yield from pairwise([*names, names[0]])


@pytest.mark.parametrize("options", CONTRACTS, ids=lambda options: options["name"].partition(":")[0])
def test_an_import_across_any_wall_breaks_its_contract(
    graph: grimp.ImportGraph, options: dict[str, Any]
) -> None:
    assert is_kept(options, graph)
    walls = list(find_walls(options))
    assert walls
    for importer, imported in walls:
        planted = copy.deepcopy(graph)
        assert {importer, imported} <= planted.modules
        planted.add_import(importer=importer, imported=imported)
        assert not is_kept(options, planted), f"{importer} may import {imported}"
