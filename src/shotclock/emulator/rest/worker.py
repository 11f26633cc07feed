"""The endpoint's functions in the worker process. Importing this module does not import Qiskit."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

from shotclock.domain.circuit import Simulation, find_worst
from shotclock.emulator.rest import targets
from shotclock.emulator.rest.prepared import (
    Chip,
    Fragments,
    ItemFacts,
    Prepared,
    PreparedBackend,
    Refused,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from qiskit.transpiler import Target

    from shotclock.emulator.rest.encoding import ItemShots
    from shotclock.emulator.rest.programs import Program

Json = Any  # a JSON document


def documents(name: str) -> PreparedBackend:
    """The named device's configuration and properties, from the snapshot shipped with IBM's client."""
    configuration, properties = targets.offer(name)
    return PreparedBackend(json.loads(configuration)["backend_name"], configuration, properties)


def prepare(name: str, program_id: str, params: str) -> Prepared | Refused:
    """Decodes and checks a program for the named device."""
    from shotclock.emulator.rest.checks import check_item  # noqa: PLC0415
    from shotclock.emulator.rest.programs import BadProgramError, Item  # noqa: PLC0415
    from shotclock.emulator.rest.timings import facts_of  # noqa: PLC0415

    target = targets.target_of(name)

    def prepare_item(number: int, item: Item) -> ItemFacts:
        try:
            check_item(item, target)
            return facts_of(item, target)
        except BadProgramError as error:
            raise BadProgramError(f"pub {number}: {error}") from error

    try:
        program = _decode_program(name, program_id, params)
        items = tuple(prepare_item(number, item) for number, item in enumerate(program.items))
    except BadProgramError as error:
        return Refused(str(error))
    return Prepared(items, program.rep_delay_s, program.init_qubits)


def warm(name: str) -> None:
    """Imports and runs the kernel and Aer once, so that no job waits for that."""
    head, tail = 'OPENQASM 3.0; include "stdgates.inc"; bit[1] c; x $0;', "c[0] = measure $0;"
    pubs = [[f"{head} {middle} {tail}", None, 1] for middle in ("", "reset $0;")]
    params = json.dumps({"pubs": pubs, "version": 2})
    prepare(name, "sampler", params)
    execute(Chip(name), "sampler", params, (0.0, 0.0), (0, 0))


def execute(
    chip: Chip,
    program_id: str,
    params: str,
    flip_probabilities: tuple[float, ...],
    seeds: tuple[int, ...],
) -> Fragments:
    """The results of a prepared program, deterministic for the seeds."""
    from shotclock.emulator.rest import shooting  # noqa: PLC0415
    from shotclock.emulator.rest.layer_noise import Learning  # noqa: PLC0415
    from shotclock.emulator.rest.relaxation import snapshot_coherence  # noqa: PLC0415

    program = _decode_program(chip.name, program_id, params)
    target = targets.target_of(chip.name)
    device = shooting.Device(target, chip.coherence_s or snapshot_coherence(target))
    used: list[Simulation] = []
    item_shots = [
        ({}, {}) if isinstance(item, Learning) else shooting.shoot(item, flip, seed, device, used)
        for item, flip, seed in zip(program.items, flip_probabilities, seeds, strict=True)
    ]
    results = _encode_results(program_id, program, item_shots)
    return Fragments(results, json.dumps(program.echo), find_worst(used))


def _encode_results(program_id: str, program: Program, item_shots: ItemShots) -> str:
    from shotclock.emulator.rest import client_program, encoding  # noqa: PLC0415

    if isinstance(program, client_program.ClientProgram):
        return program.encode(item_shots)
    encode = encoding.executor_items if program_id == "executor" else encoding.sampler_pubs
    return encode(program.items, item_shots)


@functools.lru_cache(maxsize=32)
def _decode_program(name: str, program_id: str, params: str) -> Program:
    from shotclock.emulator.rest import (  # noqa: PLC0415
        estimator,
        noise_learner,
        programs,
        sampler_program,
    )

    reads: dict[str, Callable[[Json, Target], Program]] = {
        "estimator": functools.partial(estimator.read, name=name),
        "sampler": sampler_program.read,
        "noise-learner": functools.partial(noise_learner.read, name=name),
    }
    if program_id not in reads:
        return programs.decode(program_id, params)
    with programs.bad_programs():
        return reads[program_id](json.loads(params), targets.target_of(name))
