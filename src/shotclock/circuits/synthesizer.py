"""The Synthesizer that maps QUBOs to QAOA on lines of qubits. Imports no Qiskit: the offload compiles."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shotclock.circuits import decoding, worker
from shotclock.circuits.angles import parameters
from shotclock.circuits.cache import Disk, ObtainedTemplate, TemplateCache, TemplateRequest, TemplateSpec
from shotclock.circuits.native import find_pairs
from shotclock.circuits.placements import Placements
from shotclock.domain.circuit import Bound, DeviceCircuit, QaoaCircuit, Samples, Template
from shotclock.domain.circuit_batch import CircuitPoints
from shotclock.domain.circuit_limits import CircuitLimits
from shotclock.domain.circuit_source import source_check
from shotclock.domain.errors import CircuitError, ShotclockError, TooManyErrorsError
from shotclock.domain.outcome import Answer
from shotclock.domain.ports import Offload, Solver
from shotclock.domain.recorders import TemplateEvent, TemplateRecorder
from shotclock.domain.subproblem import Subproblem

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.transpiler import Target

log = logging.getLogger(__name__)

Line = tuple[int, ...]

NOT_YET_KNOWN = ""

MOSTLY_DENSE = 24
"""Up to this many variables `warm` prepares for dense subproblems, side by side on disjoint lines; beyond,
where few lines have room and the search for them takes minutes, for sparse ones, alone on their couplings.
"""


class NullTemplateRecorder:
    """A TemplateRecorder that records nothing."""

    def template(self, event: TemplateEvent) -> None:
        """See `TemplateRecorder.template`."""

    def record_compile(self, seconds: float) -> None:
        """See `TemplateRecorder.record_compile`."""


NULL_RECORDER = NullTemplateRecorder()


@dataclass(slots=True)
class _Compiling:
    """A template that is being made, and how many callers wait for it."""

    task: asyncio.Task[ObtainedTemplate]
    waiting: int = 0


@dataclass(slots=True)
class _Generation:
    """Everything kept for one calibration; replaced as a whole, so that no call sees a partial switch.

    cache: the templates in memory
    placements: where sparse subproblems run
    calibration: its hash, NOT_YET_KNOWN before the first template
    compiling: compilations in progress
    lines: disjoint lines by size
    side_lines: those on which user circuits run side by side, by their qubits
    """

    cache: TemplateCache
    placements: Placements
    calibration: str = NOT_YET_KNOWN
    compiling: dict[TemplateRequest, _Compiling] = field(default_factory=dict)
    lines: dict[int, tuple[Line, ...]] = field(default_factory=dict)
    side_lines: dict[int, tuple[Line, ...]] = field(default_factory=dict)

    def missing_from(self, old: _Generation) -> tuple[TemplateRequest, ...]:
        """The requests cached by the old generation but not by this one, least recently used first.

        Each calibration has its own lines, so templates on the old lines do not count.
        """
        return tuple(
            request
            for request in old.cache.in_use()
            if request not in self.cache and (isinstance(request, Bound) or request.line == "best")
        )


class QaoaSynthesizer:
    """Implements Synthesizer for one device.

    target_source: a module-level function (so that it pickles) from a device's name to its Qiskit target
    incumbent: the solver whose answer seeds the warm start
    cache_size: templates kept in memory
    store: the folder for templates and line sets; None keeps nothing across restarts
    most_lines: how many subproblems of one size `warm` prepares to run side by side
    limits: of user circuits
    side_by_side: copies of a user circuit of a batch that may run in one PUB, with those of other callers; 1
        places none beside another
    """

    def __init__(
        self,
        device: str,
        *,
        target_source: Callable[[str], Target],
        offload: Offload,
        circuit_offload: Offload,
        incumbent: Solver,
        cache_size: int = 16,
        store: Path | None = None,
        most_lines: int = 1,
        limits: CircuitLimits | None = None,
        side_by_side: int = 1,
        recorder: TemplateRecorder = NULL_RECORDER,
    ) -> None:
        self._device = device
        self._target_source = target_source
        self._offload = offload
        self._circuit_offload = circuit_offload
        self._incumbent = incumbent
        self._cache_size = cache_size
        self._store = store
        self._most_lines = most_lines
        self._limits = limits or CircuitLimits()
        self._recorder = recorder
        self._side_by_side = side_by_side
        self._points = itertools.count()
        self._generation = self._new_generation(NOT_YET_KNOWN)
        self._recalibrating = asyncio.Lock()
        self._readings: OrderedDict[tuple[str | bytes, tuple[str, ...]], Bound] = OrderedDict()
        """User circuits as read and checked, with their parameters; of no calibration."""

    async def warm(self, n: int) -> None:
        """Compiles the templates for n variables and loads the code of `bind` and `decode`."""
        zero = Subproblem(np.zeros((n, n)), np.zeros(n))
        await self.bind(zero)
        generation = self._generation
        if n > MOSTLY_DENSE:
            await self.template(await generation.placements.patch(n))
        elif self._most_lines > 1 and n not in generation.placements.refused:
            generation.lines[n] = await self._choose_lines(n)
            for line in generation.lines[n]:
                await self.template(TemplateSpec(n, line=line))
        self.decode(zero, Samples(np.zeros((1, n), np.uint8), np.ones(1, np.int64)))

    def lines(self, n: int) -> tuple[Line, ...]:
        """See `Synthesizer.lines`."""
        return self._generation.lines.get(n, ())

    async def bind(self, subproblem: Subproblem, line: Line = ()) -> QaoaCircuit:
        """The line's template with this subproblem's angles; concurrent misses share one compilation.

        Without a line, a subproblem whose terms fit the device's couplings gets a native template. Raises
        TooManyErrorsError on another one whose line has too many errors.
        """
        angles = parameters(subproblem, self._incumbent.solve(subproblem))
        if line:
            template = await self.template(TemplateSpec(angles.n, angles.layers, line))
        else:
            template = await self._choose_template(subproblem, angles.layers)
        return QaoaCircuit(template, angles)

    async def _choose_template(self, subproblem: Subproblem, layers: int) -> Template:
        n, pairs, placements = subproblem.n, find_pairs(subproblem), self._generation.placements
        if pairs and (qubits := await placements.place(n, pairs)):
            return await self.template(TemplateSpec(n, layers, qubits, native=True))
        try:
            if n in placements.refused:
                raise placements.refused[n]
            return await self.template(TemplateSpec(n, layers))
        except TooManyErrorsError as error:
            placements.refused[n] = error
            if subproblem.quadratic.any():
                raise
            return await self.template(await placements.patch(n, layers))

    async def bind_circuit(
        self, source: str | bytes | QuantumCircuit, values: Mapping[str, float]
    ) -> DeviceCircuit:
        """Reads and compiles a user circuit off the event loop; see `user_circuits.read`.

        Raises CircuitError, which names what cannot be run.
        """
        if isinstance(source, str | bytes):
            await source_check.check_in_turns(source, self._limits)
        bound = await self._circuit_offload.run(
            worker.read, source, values, self._device, self._target_source
        )
        return DeviceCircuit(await self.template(bound), bound)

    async def bind_points(self, circuit: CircuitPoints) -> tuple[DeviceCircuit, ...]:
        """See `Synthesizer.bind_points`; an equal circuit is neither read nor compiled again."""
        unbound = await self._read_parametrised(circuit)
        copies = await self._copy_side_by_side(unbound, await self.template(unbound))
        columns = [circuit.names.index(name) for name in unbound.names]
        bound = []
        for row in circuit.points[:, columns].tolist():
            # points of all callers take the lines in turns, so that they fit beside each other
            copy, template = copies[next(self._points) % len(copies)]
            bound.append(DeviceCircuit(template, replace(copy, values=tuple(row))))
        return tuple(bound)

    async def _copy_side_by_side(self, unbound: Bound, alone: Template) -> list[tuple[Bound, Template]]:
        """The circuit on disjoint lines; where a line costs it more two-qubit gates, it stays alone."""
        copies = []
        for line in await self._find_side_lines(unbound.qubits):
            copy = replace(unbound, within=line)
            try:
                template = await self.template(copy)
            except CircuitError:
                break
            if template.two_qubit_gates > alone.two_qubit_gates:
                break
            copies.append((copy, template))
        return copies if len(copies) > 1 else [(unbound, alone)]

    async def _find_side_lines(self, qubits: int) -> tuple[Line, ...]:
        lines = self._generation.side_lines
        if self._side_by_side < 2 or qubits < 2:
            return ()
        if qubits not in lines:
            run = self._offload.run
            disjoint = await run(worker.lines, qubits, self._device, self._target_source, self._store)
            lines[qubits] = disjoint[: self._side_by_side]
        return lines[qubits]

    async def _read_parametrised(self, circuit: CircuitPoints) -> Bound:
        request = (circuit.source, circuit.names)
        if (unbound := self._readings.get(request)) is not None:
            self._readings.move_to_end(request)
            return unbound
        await source_check.check_in_turns(circuit.source, self._limits)
        unbound = await self._circuit_offload.run(
            worker.read_parametrised, circuit.source, circuit.names, self._device, self._target_source
        )
        self._readings[request] = unbound
        while len(self._readings) > self._cache_size:
            self._readings.popitem(last=False)
        return unbound

    async def template(self, request: TemplateRequest) -> Template:
        """The requested template, from memory, from disk or compiled.

        Raises SubproblemError and SettingsError if the device has no such line, CircuitError on a circuit
        that it cannot run.
        """
        generation = self._generation
        cached = generation.cache.get(request)
        if cached is not None:
            self._recorder.template("hit")
            return cached
        self._recorder.template("miss")
        compiling = generation.compiling.get(request)
        if compiling is None:
            task = asyncio.ensure_future(self._obtain(request))
            compiling = generation.compiling[request] = _Compiling(task)
            task.add_done_callback(lambda finished: self._store_obtained(generation, request, finished))
        # Cancelling a caller at its deadline must not cancel the compilation that others wait for.
        compiling.waiting += 1
        try:
            return (await asyncio.shield(compiling.task)).template
        finally:
            compiling.waiting -= 1
            if isinstance(request, Bound) and not compiling.waiting and not compiling.task.done():
                # A user circuit is of no use to others. A later caller begins again.
                generation.compiling.pop(request, None)
                compiling.task.cancel()

    def decode(self, subproblem: Subproblem, samples: Samples) -> Answer:
        """See `decoding.decode`."""
        return decoding.decode(subproblem, samples)

    async def recalibrate(self) -> bool:
        """Recompiles the cached templates if the device has a new calibration; returns whether it had.

        Compiles off the event loop while calls use the old templates, then replaces them all at once. If a
        compilation raises, so does this method, and the old templates stay.
        """
        async with self._recalibrating:
            present = await self._offload.run(worker.calibration, self._device, self._target_source)
            old = self._generation
            if old.calibration == present:
                return False
            fresh = self._new_generation(present)
            # Calls continue and may add templates to the old generation: repeat until none is missing.
            while (
                (missing := fresh.missing_from(old))
                or old.compiling
                or fresh.lines.keys() != old.lines.keys()
                or fresh.placements.maps.keys() != old.placements.maps.keys()
            ):
                for request in missing:
                    self._add(fresh, request, await self._obtain(request))
                for n in old.lines.keys() - fresh.lines.keys():
                    await self._prepare_lines(fresh, n)
                for n in old.placements.maps.keys() - fresh.placements.maps.keys():
                    await self._prepare_patch(fresh, n)
                # Wait without retrieving results: a failed compilation is reported to its own caller.
                if old.compiling:
                    await asyncio.wait({compiling.task for compiling in old.compiling.values()})
            self._generation = fresh
            return old.calibration != NOT_YET_KNOWN

    async def keep_calibrated(self, every_s: float) -> None:
        """Checks for a new calibration every `every_s` seconds until cancelled; errors are logged."""
        while True:
            await asyncio.sleep(every_s)
            try:
                if await self.recalibrate():
                    log.info("%s has a new calibration; its templates were compiled for it", self._device)
            except ShotclockError as error:
                log.warning("%s: the old templates stay: %s", self._device, error)

    async def _choose_lines(self, n: int) -> tuple[Line, ...]:
        lines = await self._offload.run(worker.lines, n, self._device, self._target_source, self._store)
        return lines[: self._most_lines]

    async def _prepare_lines(self, fresh: _Generation, n: int) -> None:
        """Chooses lines for a new calibration and compiles the templates on them."""
        lines = await self._choose_lines(n)
        for line in lines:
            request = TemplateSpec(n, line=line)
            self._add(fresh, request, await self._obtain(request))
        fresh.lines[n] = lines

    async def _prepare_patch(self, fresh: _Generation, n: int) -> None:
        """Places sparse subproblems at a new calibration and compiles the template of most of them."""
        if await fresh.placements.map(n) is not None:
            request = await fresh.placements.patch(n)
            self._add(fresh, request, await self._obtain(request))

    def _new_generation(self, present: str) -> _Generation:
        placements = Placements(self._device, self._target_source, self._offload)
        return _Generation(TemplateCache(self._cache_size), placements, present)

    async def _obtain(self, request: TemplateRequest) -> ObtainedTemplate:
        offload = self._circuit_offload if isinstance(request, Bound) else self._offload
        obtained = await offload.run(worker.obtain, request, self._device, self._target_source, self._store)
        if obtained.disk is Disk.LOADED:
            self._recorder.template("loaded")
        else:
            self._recorder.record_compile(obtained.compile_s)
        if obtained.disk.is_refused:
            self._recorder.template("refused")
        return obtained

    def _store_obtained(
        self, generation: _Generation, request: TemplateRequest, task: asyncio.Task[ObtainedTemplate]
    ) -> None:
        compiling = generation.compiling.get(request)
        if compiling is not None and compiling.task is task:
            del generation.compiling[request]
        # Retrieving the exception prevents asyncio's warning if every caller has been cancelled.
        if not task.cancelled() and task.exception() is None:
            self._add(generation, request, task.result())

    def _add(self, generation: _Generation, request: TemplateRequest, obtained: ObtainedTemplate) -> None:
        if generation.calibration == NOT_YET_KNOWN:
            generation.calibration = obtained.calibration
        if generation.cache.put(request, obtained.template):
            self._recorder.template("evicted")
