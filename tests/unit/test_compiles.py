"""Whose compile goes on when callers leave: a template's always, a user circuit's while one still waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import pytest

from harness import run_virtual
from shotclock.circuits import worker
from shotclock.circuits.cache import Disk, ObtainedTemplate, TemplateRequest, TemplateSpec
from shotclock.circuits.synthesizer import QaoaSynthesizer
from shotclock.domain.circuit import Bound, Template
from shotclock.emulator import device
from shotclock.solvers.greedy import Greedy

P = ParamSpec("P")
T = TypeVar("T")
TEMPLATE = Template("key", "test", (0, 1), b"", 1e-6, 0, 0)
COMPILE_S = 10.0
CIRCUIT = Bound(b"circuit", 2, 2)


class Compiling:
    """An Offload whose every compile takes ten virtual seconds; `killed` were given up before their end."""

    def __init__(self) -> None:
        self.begun = 0
        self.killed = 0

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        assert work is worker.obtain
        self.begun += 1
        try:
            await asyncio.sleep(COMPILE_S)
        except asyncio.CancelledError:
            self.killed += 1
            raise
        template: Any = ObtainedTemplate(TEMPLATE, "today", Disk.OFF, COMPILE_S)
        return template  # type: ignore[no-any-return]


def make() -> tuple[QaoaSynthesizer, Compiling, Compiling]:
    templates, circuits = Compiling(), Compiling()
    qaoa_synthesizer = QaoaSynthesizer(
        "test",
        target_source=device.target,
        offload=templates,
        circuit_offload=circuits,
        incumbent=Greedy(),
    )
    return qaoa_synthesizer, templates, circuits


async def leave(synthesizer: QaoaSynthesizer, template_request: TemplateRequest, after_s: float) -> None:
    """A caller whose deadline passes."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(after_s):
            await synthesizer.template(template_request)


def test_a_template_is_compiled_to_its_end_and_kept_when_its_caller_left() -> None:
    async def main() -> None:
        synthesizer, templates, circuits = make()
        await leave(synthesizer, TemplateSpec(2), 1.0)
        await asyncio.sleep(COMPILE_S)
        assert await synthesizer.template(TemplateSpec(2)) is TEMPLATE
        assert (templates.begun, templates.killed, circuits.begun) == (1, 0, 0)

    run_virtual(main())


def test_a_user_circuit_is_given_up_with_its_last_caller() -> None:
    async def main() -> None:
        synthesizer, templates, circuits = make()
        await asyncio.gather(leave(synthesizer, CIRCUIT, 1.0), leave(synthesizer, CIRCUIT, 2.0))
        await asyncio.sleep(0)
        assert (circuits.begun, circuits.killed, templates.begun) == (1, 1, 0)
        assert await synthesizer.template(CIRCUIT) is TEMPLATE
        assert (circuits.begun, circuits.killed) == (2, 1)

    run_virtual(main())


def test_a_user_circuit_goes_on_for_the_caller_who_stays() -> None:
    async def main() -> None:
        synthesizer, _, circuits = make()
        staying = asyncio.create_task(synthesizer.template(CIRCUIT))
        await leave(synthesizer, CIRCUIT, 1.0)
        assert await staying is TEMPLATE
        assert (circuits.begun, circuits.killed) == (1, 0)

    run_virtual(main())


def test_a_caller_who_comes_as_the_last_one_leaves_gets_a_compile_of_its_own() -> None:
    async def main() -> None:
        synthesizer, _, circuits = make()
        leaving = asyncio.create_task(synthesizer.template(CIRCUIT))
        await asyncio.sleep(1.0)
        leaving.cancel()
        coming = asyncio.create_task(synthesizer.template(CIRCUIT))
        assert await coming is TEMPLATE
        assert leaving.cancelled()
        assert circuits.begun <= 2

    run_virtual(main())
