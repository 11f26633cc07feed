"""The Synthesizer of QUBOs as one-layer QAOA. Imports no Qiskit: compiling runs where Offload says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from shotclock.circuits import decoding, worker
from shotclock.circuits.angles import parameters
from shotclock.circuits.cache import TemplateCache
from shotclock.domain.circuit import DeviceCircuit, Samples, Template
from shotclock.domain.outcome import Answer
from shotclock.domain.ports import Offload, Solver
from shotclock.domain.subproblem import Subproblem

if TYPE_CHECKING:
    from qiskit.transpiler import Target


class QaoaSynthesizer:
    """Implements Synthesizer for one device and its present calibration.

    target_source: a module-level function (it pickles) from a device's name to its Qiskit target;
    incumbent: the solver whose answer a warm start leans on; cache_size: templates kept.
    """

    def __init__(
        self,
        device: str,
        *,
        target_source: Callable[[str], Target],
        offload: Offload,
        incumbent: Solver,
        cache_size: int = 16,
    ) -> None:
        self.cache = TemplateCache(cache_size)
        self._device = device
        self._target_source = target_source
        self._offload = offload
        self._incumbent = incumbent
        self._compiling: dict[int, asyncio.Task[Template]] = {}

    async def warm(self, n: int) -> None:
        """Compiles the template for n variables, and loads what `bind` and `decode` run."""
        zero = Subproblem(np.zeros((n, n)), np.zeros(n))
        await self.bind(zero)
        self.decode(zero, Samples(np.zeros((1, n), np.uint8), np.ones(1, np.int64)))

    async def bind(self, subproblem: Subproblem) -> DeviceCircuit:
        """The cached template with this subproblem's angles; a miss compiles, once for all who wait."""
        template = self.cache.get(subproblem.n)
        if template is None:
            template = await self._compile(subproblem.n)
        return DeviceCircuit(template, parameters(subproblem, self._incumbent.solve(subproblem)))

    def decode(self, subproblem: Subproblem, samples: Samples) -> Answer:
        """See `decoding.decode`."""
        return decoding.decode(subproblem, samples)

    async def _compile(self, n: int) -> Template:
        task = self._compiling.get(n)
        if task is None:
            work = self._offload.run(worker.compile_template, n, self._device, self._target_source)
            task = self._compiling[n] = asyncio.ensure_future(work)
            task.add_done_callback(lambda done: self._compiled(n, done))
        # A caller whose deadline passes must not take the compile from the others.
        return await asyncio.shield(task)

    def _compiled(self, n: int, task: asyncio.Task[Template]) -> None:
        del self._compiling[n]
        # Asking for the exception marks it as seen, for the case that every caller has gone.
        if not task.cancelled() and task.exception() is None:
            self.cache.put(task.result())
