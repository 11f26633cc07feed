"""Qiskit's EstimatorV2 in front of a dispatcher: expectation values from measured circuits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from qiskit.primitives import BaseEstimatorV2, DataBin, PrimitiveResult, PubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub, EstimatorPubLike

from shotclock.domain.circuit import MOST_SHOTS
from shotclock.domain.errors import CircuitError, SettingsError
from shotclock.domain.outcome import CircuitOutcome, Executed
from shotclock.domain.ports import CircuitCaller
from shotclock.primitives.base import DEFAULT_OPTIONS, Submitter, outcomes_at
from shotclock.primitives.counts import PrimitiveCounts
from shotclock.primitives.fallback import Fallback, FallbackResults, simulate_estimator
from shotclock.primitives.grouping import Basis, Terms, assign_terms, group, read_terms
from shotclock.primitives.job import Job
from shotclock.primitives.options import CallOptions
from shotclock.primitives.outcomes import describe, find_missing
from shotclock.primitives.requests import Place, Request
from shotclock.primitives.sources import Known, ParametrisedCircuit, expand

NO_MITIGATION = "none"
"""Named in every result: read-out errors are in the values as the device makes them."""


@dataclass(frozen=True, slots=True)
class _Element:
    """One element of a PUB's result.

    point: the row of its parameter values.
    constant: the coefficient of the identity.
    terms: its other terms, by the basis that measures them.
    """

    point: int
    constant: float
    terms: dict[int, Terms]


@dataclass(frozen=True, slots=True)
class _Plan:
    """A PUB on its way.

    pub: as Qiskit coerced it.
    shots: of each measured circuit.
    bases: what its circuits measure.
    elements: of its result, in C order.
    places: where the outcome of a point in a basis will be.
    key: what makes an equal PUB.
    """

    pub: EstimatorPub
    shots: int
    bases: list[Basis]
    elements: list[_Element]
    places: dict[tuple[int, int], Place]
    key: object


class Estimator(BaseEstimatorV2):  # type: ignore[misc] # Qiskit has no types
    """Implements BaseEstimatorV2 with measured circuits on the QPU behind the dispatcher.

    The Pauli terms of a PUB that commute qubit by qubit are measured together. A value's standard error is
    estimated from its shots. Read-out errors are not mitigated, and the metadata says so.

    default_precision: of a PUB that names none; a circuit runs ⌈1/precision²⌉ shots, at which a Pauli
        string's standard error is at most the precision.
    options: budget, priority and run of the calls.
    fallback: what a call without an answer returns, marked `degraded` in the metadata; "" raises.
    """

    def __init__(
        self,
        caller: CircuitCaller,
        *,
        default_precision: float = 0.015625,
        options: CallOptions = DEFAULT_OPTIONS,
        fallback: Fallback[EstimatorPub] = "",
    ) -> None:
        _check_precision(default_precision)
        self._submitter = Submitter(caller, options)
        self._default_precision = default_precision
        self._fallback = FallbackResults(fallback, simulate_estimator)

    def __repr__(self) -> str:
        return f"<Estimator: precision {self._default_precision}, budget {self._submitter.options.budget}>"

    def summary(self) -> str:
        """How its calls are made and how they ended so far, a fact a line."""
        options = self._submitter.options.lines()
        return "\n".join((repr(self), *options, f"  fallback    {self._fallback}", self.counts.line()))

    @property
    def counts(self) -> PrimitiveCounts:
        """How the calls ended so far whose result was asked for."""
        return self._submitter.counts

    @property
    def default_precision(self) -> float:
        """Of a PUB that names none."""
        return self._default_precision

    def run(
        self,
        pubs: Iterable[EstimatorPubLike],
        *,
        precision: float | None = None,
        budget: str | float | None = None,
    ) -> Job:
        """Starts a call and returns at once; see `BaseEstimatorV2.run`.

        budget: of this call, instead of the options'.
        """
        request, known = Request(), Known()
        chosen = self._default_precision if precision is None else precision
        plans = [_plan(EstimatorPub.coerce(pub, chosen), request, known) for pub in pubs]

        def finish(outcomes: Sequence[CircuitOutcome]) -> PrimitiveResult[PubResult]:
            by_place = request.arrange(outcomes)
            return PrimitiveResult([self._finish(plan, by_place) for plan in plans], metadata={"version": 2})

        return self._submitter.submit(request, budget, finish, has_fallback=self._fallback.exists)

    def _finish(self, plan: _Plan, by_place: dict[Place, CircuitOutcome]) -> PubResult:
        pub, outcomes = plan.pub, outcomes_at(list(plan.places.values()), by_place)
        if (missing := find_missing(outcomes)) is not None:
            return self._fallback.answer(pub, plan.key, missing)
        estimates = [_estimate(plan, element, by_place) for element in plan.elements]
        both = np.array(estimates, dtype=np.float64).reshape(-1, 2).T.reshape(2, *pub.shape)
        means, errors = both[0, ...], both[1, ...]  # arrays, also of the shape ()
        metadata: dict[str, Any] = {
            "target_precision": pub.precision,
            "shots": plan.shots,
            "circuit_metadata": pub.circuit.metadata,
            "readout_mitigation": NO_MITIGATION,
            "measured_bases": len(plan.bases),
            **describe(outcomes),
        }
        result = PubResult(DataBin(evs=means, stds=errors, shape=pub.shape), metadata)
        self._fallback.remember(plan.key, result)
        return result


def _plan(pub: EstimatorPub, request: Request, known: Known) -> _Plan:
    """Adds the PUB's measured circuits to the request."""
    if any(item.operation.name == "measure" for item in pub.circuit.data):
        raise CircuitError("measure", "an estimator measures by itself; remove the circuit's measurements")
    shots = _count_shots(pub.precision)
    qubits = pub.circuit.num_qubits
    observables = np.empty(pub.observables.shape, dtype=object)
    for index in np.ndindex(*pub.observables.shape):
        observables[index] = read_terms(pub.observables[index], qubits)
    numbers = np.arange(pub.parameter_values.size).reshape(pub.parameter_values.shape)
    points, terms = np.broadcast_arrays(numbers, observables)
    bases = group(term for each in observables.flat for term in each)
    elements = [
        _Element(int(point), each.get((), 0.0), assign_terms(each, bases))
        for point, each in zip(points.flat, terms.flat, strict=True)
    ]
    sources = expand(pub.circuit, pub.parameter_values, known)
    places: dict[tuple[int, int], Place] = {}
    for number, basis in enumerate(bases):
        needed = sorted({element.point for element in elements if number in element.terms})
        _add(request, sources, basis, shots, needed, number, places)
    key = (pub.shape, shots, tuple(circuit.source for circuit, _ in sources), str(pub.observables.tolist()))
    return _Plan(pub, shots, bases, elements, places, key)


def _add(
    request: Request,
    sources: Sequence[tuple[ParametrisedCircuit, np.ndarray[Any, Any]]],
    basis: Basis,
    shots: int,
    needed: list[int],
    number: int,
    places: dict[tuple[int, int], Place],
) -> None:
    """Adds the points that need the basis; one source has all points, or each source has one."""
    if len(sources) == 1:
        circuit, points = sources[0]
        source = circuit.change(basis, basis.apply)
        added = request.add(source, shots, circuit.names, points[needed])
        places.update({(number, point): place for point, place in zip(needed, added, strict=True)})
        return
    for point in needed:
        circuit, row = sources[point]
        source = circuit.change(basis, basis.apply)
        (places[number, point],) = request.add(source, shots, circuit.names, row)


def _estimate(plan: _Plan, element: _Element, by_place: dict[Place, CircuitOutcome]) -> tuple[float, float]:
    """The expectation value and its standard error; bases are measured independently of each other."""
    mean, variance = element.constant, 0.0
    for number, terms in element.terms.items():
        outcome = by_place[plan.places[number, element.point]]
        if not isinstance(outcome, Executed):
            raise TypeError("a value is estimated of samples")
        part, variance_of_part = plan.bases[number].estimate(
            terms, outcome.samples, plan.pub.circuit.num_clbits
        )
        mean, variance = mean + part, variance + variance_of_part
    return mean, math.sqrt(variance)


def _check_precision(precision: object) -> None:
    if not isinstance(precision, Real):
        raise SettingsError(f"precision: must be a number above 0 (got {precision!r})")


def _count_shots(precision: float) -> int:
    if not 0.0 < precision < math.inf:
        raise CircuitError(
            "precision", f"must be above 0, as values are estimated of shots (got {precision})"
        )
    if precision < MOST_SHOTS**-0.5:
        raise CircuitError(
            "precision",
            f"must be at least {MOST_SHOTS**-0.5:.2g}, that of {MOST_SHOTS:,} shots (got {precision})",
        )
    return max(1, math.ceil(round(1.0 / precision**2, 6)))
