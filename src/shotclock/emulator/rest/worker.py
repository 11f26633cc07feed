"""What the worker process does for the endpoint. Imports no Qiskit itself: the event loop names it."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

from shotclock.emulator.rest import targets
from shotclock.emulator.rest.prepared import BackendDocuments, Fragments, ItemFacts, Prepared, Refused

if TYPE_CHECKING:
    from shotclock.emulator.rest.programs import Program


def documents(name: str) -> BackendDocuments:
    """The named device's configuration and properties, from the snapshot that ships with IBM's client."""
    configuration, properties = targets.offer(name)
    return BackendDocuments(json.loads(configuration)["backend_name"], configuration, properties)


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
        program = _decoded(program_id, params)
        items = tuple(prepare_item(number, item) for number, item in enumerate(program.items))
    except BadProgramError as error:
        return Refused(str(error))
    return Prepared(items, program.rep_delay_s, program.init_qubits)


def warm(name: str) -> None:
    """Imports and runs everything once, the kernel and Aer, so that no job waits for it."""
    head, tail = 'OPENQASM 3.0; include "stdgates.inc"; bit[1] c; x $0;', "c[0] = measure $0;"
    pubs = [[f"{head} {middle} {tail}", None, 1] for middle in ("", "reset $0;")]
    params = json.dumps({"pubs": pubs, "version": 2})
    prepare(name, "sampler", params)
    execute("sampler", params, (0.0, 0.0), (0, 0))


def execute(
    program_id: str, params: str, flip_probabilities: tuple[float, ...], seeds: tuple[int, ...]
) -> Fragments:
    """The results of a prepared program; the same for the same seeds."""
    from shotclock.emulator.rest import encoding, shooting  # noqa: PLC0415

    program = _decoded(program_id, params)
    taken = [
        shooting.shoot(item, flip, seed)
        for item, flip, seed in zip(program.items, flip_probabilities, seeds, strict=True)
    ]
    encode = encoding.executor_items if program_id == "executor" else encoding.sampler_pubs
    return Fragments(encode(program.items, taken), json.dumps(program.echo))


@functools.lru_cache(maxsize=32)
def _decoded(program_id: str, params: str) -> Program:
    from shotclock.emulator.rest.programs import decode  # noqa: PLC0415

    return decode(program_id, params)
