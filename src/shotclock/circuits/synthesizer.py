"""The Synthesizer of QUBOs as QAOA on lines of qubits. Imports no Qiskit: the offload compiles."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shotclock.circuits import decoding, source_check, worker
from shotclock.circuits.angles import parameters
from shotclock.circuits.cache import Disk, Obtained, TemplateCache, TemplateRequest, Wanted
from shotclock.domain.circuit import Bound, DeviceCircuit, QaoaCircuit, Samples, Template
from shotclock.domain.circuit_limits import CircuitLimits
from shotclock.domain.errors import ShotclockError
from shotclock.domain.outcome import Answer
from shotclock.domain.ports import Offload, Solver, TemplateEvent, TemplateRecorder
from shotclock.domain.subproblem import Subproblem

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.transpiler import Target

log = logging.getLogger(__name__)

Line = tuple[int, ...]

NOT_YET_KNOWN = ""


class Uncounted:
    """A TemplateRecorder that keeps nothing."""

    def template(self, event: TemplateEvent) -> None:
        """See `TemplateRecorder.template`."""

    def record_compile(self, seconds: float) -> None:
        """See `TemplateRecorder.record_compile`."""


UNCOUNTED = Uncounted()


@dataclass(slots=True)
class _Generation:
    """What is kept of one calibration: replaced whole, so nobody meets half of a switch."""

    cache: TemplateCache
    calibration: str = NOT_YET_KNOWN
    compiling: dict[TemplateRequest, asyncio.Task[Obtained]] = field(default_factory=dict)
    lines: dict[int, tuple[Line, ...]] = field(default_factory=dict)

    def lacks(self, other: _Generation) -> tuple[TemplateRequest, ...]:
        """What the other one keeps and this one does not, least recently used first.

        Lines are chosen anew for a calibration, so templates on the other's lines are not missed.
        """
        return tuple(
            wanted
            for wanted in other.cache.in_use()
            if wanted not in self.cache and (isinstance(wanted, Bound) or wanted.line == "best")
        )


class QaoaSynthesizer:
    """Implements Synthesizer for one device.

    target_source: a module-level function (it pickles) from a device's name to its Qiskit target;
    incumbent: the solver whose answer a warm start leans on; cache_size: templates kept in memory;
    store: the folder of templates and line sets that survive a restart, None for none; most_lines: how
    many subproblems of one size `warm` prepares to run side by side; limits: of user circuits.
    """

    def __init__(
        self,
        device: str,
        *,
        target_source: Callable[[str], Target],
        offload: Offload,
        incumbent: Solver,
        cache_size: int = 16,
        store: Path | None = None,
        most_lines: int = 1,
        limits: CircuitLimits | None = None,
        recorder: TemplateRecorder = UNCOUNTED,
    ) -> None:
        self._device = device
        self._target_source = target_source
        self._offload = offload
        self._incumbent = incumbent
        self._cache_size = cache_size
        self._store = store
        self._most_lines = most_lines
        self._limits = limits or CircuitLimits()
        self._recorder = recorder
        self._generation = _Generation(TemplateCache(cache_size))
        self._recalibrating = asyncio.Lock()

    async def warm(self, n: int) -> None:
        """Compiles the templates for n variables, and loads what `bind` and `decode` run."""
        zero = Subproblem(np.zeros((n, n)), np.zeros(n))
        await self.bind(zero)
        if self._most_lines > 1:
            generation = self._generation
            generation.lines[n] = await self._choose_lines(n)
            for line in generation.lines[n]:
                await self.template(Wanted(n, line=line))
        self.decode(zero, Samples(np.zeros((1, n), np.uint8), np.ones(1, np.int64)))

    def lines(self, n: int) -> tuple[Line, ...]:
        """See `Synthesizer.lines`."""
        return self._generation.lines.get(n, ())

    async def bind(self, subproblem: Subproblem, line: Line = ()) -> QaoaCircuit:
        """The line's cached template with this subproblem's angles; a miss compiles once for all."""
        angles = parameters(subproblem, self._incumbent.solve(subproblem))
        wanted = Wanted(angles.n, angles.layers, line or "best")
        return QaoaCircuit(await self.template(wanted), angles)

    async def bind_circuit(
        self, source: str | bytes | QuantumCircuit, values: Mapping[str, float]
    ) -> DeviceCircuit:
        """A circuit of the user's own, read and compiled off the event loop; see `raw.read`.

        Raises CircuitError, which names what cannot be run.
        """
        if isinstance(source, str | bytes):
            await source_check.check_in_turns(source, self._limits)
        bound = await self._offload.run(worker.read, source, values, self._device, self._target_source)
        return DeviceCircuit(await self.template(bound), bound)

    async def template(self, wanted: TemplateRequest) -> Template:
        """The template asked for, from memory, from disk or compiled.

        Raises SubproblemError and SettingsError where the device has no such line, CircuitError on a
        circuit it cannot run.
        """
        generation = self._generation
        found = generation.cache.get(wanted)
        if found is not None:
            self._recorder.template("hit")
            return found
        self._recorder.template("miss")
        task = generation.compiling.get(wanted)
        if task is None:
            task = generation.compiling[wanted] = asyncio.ensure_future(self._obtain(wanted))
            task.add_done_callback(lambda done: self._store_obtained(generation, wanted, done))
        # A caller whose deadline passes must not take the compile from the others.
        return (await asyncio.shield(task)).template

    def decode(self, subproblem: Subproblem, samples: Samples) -> Answer:
        """See `decoding.decode`."""
        return decoding.decode(subproblem, samples)

    async def recalibrate(self) -> bool:
        """Whether the device has a new calibration, and the templates in use are now made for it.

        They are compiled off the event loop while calls go on with the old ones, then replaced all at
        once. What a compile raises is raised here, and the old ones stay.
        """
        async with self._recalibrating:
            present = await self._offload.run(worker.calibration, self._device, self._target_source)
            old = self._generation
            if old.calibration == present:
                return False
            fresh = _Generation(TemplateCache(self._cache_size), present)
            # Calls go on meanwhile and may bring more into use: go on until nothing is missing.
            while (missing := fresh.lacks(old)) or old.compiling or fresh.lines.keys() != old.lines.keys():
                for wanted in missing:
                    self._keep(fresh, wanted, await self._obtain(wanted))
                for n in old.lines.keys() - fresh.lines.keys():
                    await self._lay(fresh, n)
                # Waited for and not compiled again here: one that fails is its own caller's affair.
                if old.compiling:
                    await asyncio.wait({*old.compiling.values()})
            self._generation = fresh
            return old.calibration != NOT_YET_KNOWN

    async def keep_calibrated(self, every_s: float) -> None:
        """Looks for a new calibration this often, until it is cancelled; trouble is logged."""
        while True:
            await asyncio.sleep(every_s)
            try:
                if await self.recalibrate():
                    log.info("%s has a new calibration; its templates were compiled for it", self._device)
            except ShotclockError as error:
                log.warning("%s: the old templates stay: %s", self._device, error)

    async def _choose_lines(self, n: int) -> tuple[Line, ...]:
        found = await self._offload.run(worker.lines, n, self._device, self._target_source, self._store)
        return found[: self._most_lines]

    async def _lay(self, fresh: _Generation, n: int) -> None:
        """The lines of a new calibration and the templates on them."""
        lines = await self._choose_lines(n)
        for line in lines:
            wanted = Wanted(n, line=line)
            self._keep(fresh, wanted, await self._obtain(wanted))
        fresh.lines[n] = lines

    async def _obtain(self, wanted: TemplateRequest) -> Obtained:
        obtained = await self._offload.run(
            worker.obtain, wanted, self._device, self._target_source, self._store
        )
        if obtained.disk is Disk.LOADED:
            self._recorder.template("loaded")
        else:
            self._recorder.record_compile(obtained.compile_s)
        if obtained.disk.is_refused:
            self._recorder.template("refused")
        return obtained

    def _store_obtained(
        self, generation: _Generation, wanted: TemplateRequest, task: asyncio.Task[Obtained]
    ) -> None:
        del generation.compiling[wanted]
        # Asking for the exception marks it as seen, for the case that every caller has gone.
        if not task.cancelled() and task.exception() is None:
            self._keep(generation, wanted, task.result())

    def _keep(self, generation: _Generation, wanted: TemplateRequest, obtained: Obtained) -> None:
        if generation.calibration == NOT_YET_KNOWN:
            generation.calibration = obtained.calibration
        if generation.cache.put(wanted, obtained.template):
            self._recorder.template("evicted")
