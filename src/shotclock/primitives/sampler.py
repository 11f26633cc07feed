"""Qiskit's SamplerV2 in front of a dispatcher."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.primitives import BaseSamplerV2, BitArray, DataBin, PrimitiveResult, PubResult, SamplerPubResult
from qiskit.primitives.containers.sampler_pub import SamplerPub, SamplerPubLike

from shotclock.domain.circuit import Samples
from shotclock.domain.errors import CircuitError, SettingsError
from shotclock.domain.outcome import CircuitOutcome, Executed
from shotclock.domain.ports import CircuitCaller
from shotclock.domain.subproblem import Bits
from shotclock.primitives.base import DEFAULT_OPTIONS, Submitter, outcomes_at
from shotclock.primitives.counts import PrimitiveCounts
from shotclock.primitives.fallback import Fallback, FallbackResults, simulate_sampler
from shotclock.primitives.job import Job
from shotclock.primitives.options import CallOptions
from shotclock.primitives.outcomes import describe, find_missing
from shotclock.primitives.requests import Place, Request
from shotclock.primitives.sources import Known, expand


@dataclass(frozen=True, slots=True)
class _Plan:
    """A PUB, where its points' outcomes will be, and what makes an equal PUB."""

    pub: SamplerPub
    places: list[Place]
    key: object


class Sampler(BaseSamplerV2):  # type: ignore[misc] # Qiskit has no types
    """Implements BaseSamplerV2: circuits run on the QPU behind the dispatcher, by the call's deadline.

    default_shots: of a PUB that names none.
    options: budget, priority and run of the calls.
    fallback: what a call without an answer returns, marked `degraded` in the metadata; "" raises.
    seed: of the order in which a point's shots are listed; a QPU reports how often, not in which order.
    """

    def __init__(
        self,
        caller: CircuitCaller,
        *,
        default_shots: int = 1024,
        options: CallOptions = DEFAULT_OPTIONS,
        fallback: Fallback[SamplerPub] = "",
        seed: int | None = None,
    ) -> None:
        _check_shots(default_shots)
        self._submitter = Submitter(caller, options)
        self._default_shots = default_shots
        self._fallback = FallbackResults(fallback, simulate_sampler)
        self._rng = np.random.default_rng(seed)

    def __repr__(self) -> str:
        return f"<Sampler: {self._default_shots} shots, budget {self._submitter.options.budget}>"

    def summary(self) -> str:
        """How its calls are made and how they ended so far, a fact a line."""
        options = self._submitter.options.lines()
        return "\n".join((repr(self), *options, f"  fallback    {self._fallback}", self.counts.line()))

    @property
    def counts(self) -> PrimitiveCounts:
        """How the calls ended so far whose result was asked for."""
        return self._submitter.counts

    @property
    def default_shots(self) -> int:
        """Of a PUB that names none."""
        return self._default_shots

    def run(
        self,
        pubs: Iterable[SamplerPubLike],
        *,
        shots: int | None = None,
        budget: str | float | None = None,
    ) -> Job:
        """Starts a call and returns at once; see `BaseSamplerV2.run`.

        budget: of this call, instead of the options'.
        """
        request, plans, known = Request(), [], Known()
        for each in pubs:
            pub = SamplerPub.coerce(each, self._default_shots if shots is None else shots)
            _refuse_names(pub.circuit)
            places: list[Place] = []
            key: tuple[object, ...] = (pub.shape, pub.shots)
            for circuit, points in expand(pub.circuit, pub.parameter_values, known):
                places += request.add(circuit.source, pub.shots, circuit.names, points)
                key = (*key, circuit.source)
            plans.append(_Plan(pub, places, key))

        def finish(outcomes: Sequence[CircuitOutcome]) -> PrimitiveResult[PubResult]:
            by_place = request.arrange(outcomes)
            results = [self._finish(plan, outcomes_at(plan.places, by_place)) for plan in plans]
            return PrimitiveResult(results, metadata={"version": 2})

        return self._submitter.submit(request, budget, finish, has_fallback=self._fallback.exists)

    def _finish(self, plan: _Plan, outcomes: list[CircuitOutcome]) -> PubResult:
        pub = plan.pub
        if (missing := find_missing(outcomes)) is not None:
            return self._fallback.answer(pub, plan.key, missing)
        samples = [outcome.samples for outcome in outcomes if isinstance(outcome, Executed)]
        shots = [self._list_shots(each) for each in samples]
        data = {register.name: _pack(shots, bits, pub) for register, bits in _registers(pub.circuit)}
        metadata: dict[str, Any] = {"shots": pub.shots, "circuit_metadata": pub.circuit.metadata}
        result = SamplerPubResult(DataBin(**data, shape=pub.shape), {**metadata, **describe(outcomes)})
        self._fallback.remember(plan.key, result)
        return result

    def _list_shots(self, samples: Samples) -> Bits:
        """Every shot, shape (shots, bits), in random order: slices of them must be alike."""
        rows = np.repeat(np.arange(len(samples.counts)), samples.counts)
        shots: Bits = samples.pool[self._rng.permutation(rows)]
        return shots


def _check_shots(shots: object) -> None:
    if not isinstance(shots, Integral) or isinstance(shots, bool):
        raise SettingsError(f"shots: must be a whole number of 1 or more (got {shots!r})")


def _registers(circuit: QuantumCircuit) -> list[tuple[Any, list[int]]]:
    """The classical registers with the places of their bits in the circuit."""
    return [
        (register, [circuit.find_bit(bit).index for bit in register])
        for register in circuit.cregs
        if len(register)
    ]


def _refuse_names(circuit: QuantumCircuit) -> None:
    """Raises CircuitError where a result could not hold a register, before anything is paid for."""
    for register, _ in _registers(circuit):
        try:
            DataBin(**{register.name: np.zeros(())}, shape=())
        except (TypeError, ValueError):
            raise CircuitError(
                "registers", f"{register.name!r} is a name of Qiskit's DataBin; rename the classical register"
            ) from None


def _pack(shots: list[Bits], bits: list[int], pub: SamplerPub) -> BitArray:
    """Bit 0 of a register is the last bit of its last byte."""
    whole = np.zeros((len(shots), pub.shots, len(bits)), dtype=np.uint8)
    for at_point, each in zip(whole, shots, strict=True):
        at_point[:] = each[:, bits[::-1]]
    padding = -len(bits) % 8
    packed = np.packbits(np.pad(whole, ((0, 0), (0, 0), (padding, 0))), axis=-1)
    return BitArray(packed.reshape(*pub.shape, *packed.shape[1:]), len(bits))
