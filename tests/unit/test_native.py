"""Sparse subproblems on a device's own couplings: placement, depth, the circuit, and what is refused."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from qiskit.transpiler import Target
from test_templates import CountingOffload, subproblem_of, synthesizer_on

from exact import exact
from harness import random_parameters
from shotclock.circuits import native, store
from shotclock.circuits.cache import Disk, TemplateSpec
from shotclock.circuits.lines import layout
from shotclock.circuits.native import Pair
from shotclock.circuits.qaoa import bind_isa, bind_logical
from shotclock.domain.circuit import DeviceCircuit, QaoaParameters
from shotclock.domain.errors import SettingsError, TooManyErrorsError
from shotclock.domain.subproblem import Subproblem
from shotclock.emulator import device

DEVICES = {"heron-torino": 3, "nighthawk-berlin": 4}


@pytest.fixture(scope="module")
def torino() -> Target:
    return device.target("heron-torino")


def sparse_of(n: int, pairs: tuple[Pair, ...]) -> Subproblem:
    rng = np.random.default_rng(n)
    quadratic = np.zeros((n, n))
    for i, j in pairs:
        quadratic[i, j] = quadratic[j, i] = rng.normal()
    return Subproblem(quadratic, rng.normal(size=n))


def keep_pairs(parameters: QaoaParameters, pairs: tuple[Pair, ...]) -> QaoaParameters:
    coupling = np.zeros_like(parameters.coupling)
    for i, j in pairs:
        coupling[:, i, j] = coupling[:, j, i] = parameters.coupling[:, i, j]
    return replace(parameters, coupling=coupling)


@pytest.mark.parametrize("name", DEVICES)
def test_the_depth_does_not_depend_on_n(name: str) -> None:
    target, steps = device.target(name), DEVICES[name]
    for n in (32, 100):
        patch = native.map_device(target, n)
        assert len(native.colour(n, patch.pairs)) == steps
        for layers in (1, 2):
            template_spec = TemplateSpec(n, layers, patch.qubits, native=True)
            template = store.obtain(template_spec, name, device.target, None).template
            # An RZZ takes two CZ.
            assert template.two_qubit_gates == 2 * layers * len(patch.pairs)
            assert template.two_qubit_depth == 2 * layers * steps


def test_a_native_template_is_its_definition(torino: Target) -> None:
    working = layout(torino)
    # A corner of the lattice: a qubit with three couplings, and its neighbours' neighbours.
    centre = next(qubit for qubit in sorted(working.couplers) if len(working.couplers[qubit]) == 3)
    qubits = (centre, *sorted(working.couplers[centre]))
    pairs = native.couplings_of(working, qubits)
    assert pairs == ((0, 1), (0, 2), (0, 3))
    for layers in (1, 2):
        spec = TemplateSpec(4, layers, qubits, native=True)
        template = store.obtain(spec, "heron-torino", device.target, None).template
        circuit = DeviceCircuit(template, keep_pairs(random_parameters(4, seed=layers, layers=layers), pairs))
        np.testing.assert_allclose(exact(bind_isa(circuit)), exact(bind_logical(circuit)), atol=1e-9)


def test_a_pattern_in_any_order_is_placed_on_couplings(torino: Target) -> None:
    order = np.random.default_rng(3).permutation(60)
    chain = tuple(
        (min(i, j), max(i, j)) for i, j in zip(order[:-1].tolist(), order[1:].tolist(), strict=True)
    )
    qubits = native.place(torino, 60, chain)
    assert len(set(qubits)) == 60
    couplers = layout(torino).couplers
    assert all(qubits[j] in couplers[qubits[i]] for i, j in chain)


def test_a_triangle_has_no_place_on_a_lattice(torino: Target) -> None:
    assert native.place(torino, 3, ((0, 1), (0, 2), (1, 2))) == ()
    with pytest.raises(SettingsError, match=r"133 working qubits \(got 134 variables\)"):
        native.map_device(torino, 134)


def test_sparse_subproblems_run_natively_and_dense_ones_until_the_line_has_too_many_errors(
    torino: Target,
) -> None:
    async def main() -> None:
        offload = CountingOffload()
        synthesizer = synthesizer_on(offload)
        patch = native.map_device(torino, 40)
        own = await synthesizer.bind(sparse_of(40, patch.pairs))
        assert own.template.native
        assert own.template.line == patch.qubits
        runs = offload.runs
        fewer = await synthesizer.bind(sparse_of(40, patch.pairs[::2]))
        assert fewer.template is own.template  # absent couplings have angle 0
        assert offload.runs == runs
        for _ in range(2):
            with pytest.raises(TooManyErrorsError, match=r"5\.8e-05 of the shots"):
                await synthesizer.bind(subproblem_of(40))
        assert offload.runs == runs + 1  # a size is refused without compiling again
        with pytest.raises(
            TooManyErrorsError, match="torino has in a line of working qubits; keep its terms"
        ):
            await synthesizer.bind(subproblem_of(130))  # no line, so no estimate either
        # On the line, with swaps, as long as its errors allow.
        dense = await synthesizer.bind(subproblem_of(6))
        assert not dense.template.native

    asyncio.run(main())


def test_warming_a_size_that_the_line_refuses_prepares_the_couplings(torino: Target) -> None:
    async def main() -> None:
        offload = CountingOffload()
        synthesizer = synthesizer_on(offload)
        await synthesizer.warm(40)
        runs = offload.runs
        await synthesizer.bind(sparse_of(40, native.map_device(torino, 40).pairs))
        assert offload.runs == runs
        assert synthesizer.lines(40) == ()

    asyncio.run(main())


def test_a_stored_native_template_is_checked_against_its_couplings(
    torino: Target, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("store")
    spec = TemplateSpec(5, line=native.map_device(torino, 5).qubits, native=True)
    obtained = store.obtain(spec, "heron-torino", device.target, folder)
    loaded = store.obtain(spec, "heron-torino", device.target, folder)
    assert (obtained.disk, loaded.disk) == (Disk.ABSENT, Disk.LOADED)
    assert loaded.template == obtained.template
