"""What a primitive returns instead of an answer that did not come in time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Literal, TypeVar

import numpy as np
from qiskit.primitives import PubResult, StatevectorEstimator, StatevectorSampler
from qiskit.primitives.containers import ObservablesArray
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub

from shotclock.domain.errors import CallError, SettingsError
from shotclock.primitives.grouping import write_terms

PUB = TypeVar("PUB", SamplerPub, EstimatorPub)
Fallback = Literal["", "local", "last"] | Callable[[PUB], PubResult]
"""Of a PUB: "local" simulates it here, "last" is the latest result of an equal PUB; "" raises."""

LOCAL_AMPLITUDES = 2**26
"""Points × 2^qubits of a PUB that is simulated here: some seconds. A larger one raises."""
REMEMBERED = 64


class FallbackResults(Generic[PUB]):
    """Answers PUBs that have none, and remembers the results of the others."""

    def __init__(self, fallback: Fallback[PUB], simulate: Callable[[PUB], PubResult]) -> None:
        if fallback not in ("", "local", "last") and not callable(fallback):
            raise SettingsError(f'fallback: must be "local", "last" or a function (got {fallback!r})')
        self._fallback = fallback
        self._simulate = simulate
        self._last: OrderedDict[object, PubResult] = OrderedDict()

    def __str__(self) -> str:
        if not isinstance(self._fallback, str):
            return "a function"
        return self._fallback or "none: a call without an answer raises"

    @property
    def exists(self) -> bool:
        """Whether anything is registered."""
        return self._fallback != ""

    def remember(self, key: object, result: PubResult) -> None:
        """The result of a PUB, by what makes PUBs equal but for their values."""
        if self._fallback != "last":
            return
        self._last[key] = result
        self._last.move_to_end(key)
        if len(self._last) > REMEMBERED:
            self._last.popitem(last=False)

    def answer(self, pub: PUB, key: object, missing: CallError) -> PubResult:
        """The fallback's result, marked as degraded; raises `missing` where it has none."""
        if callable(self._fallback):
            result = self._fallback(pub)
            if not isinstance(result, PubResult):
                raise SettingsError(
                    f"fallback: the function must return a PubResult (got {type(result).__name__})"
                )
        elif self._fallback == "last" and key in self._last:
            result = self._last[key]
        elif self._fallback == "local" and _size(pub) <= LOCAL_AMPLITUDES:
            result = self._simulate(pub)
        else:
            raise missing
        how = self._fallback if isinstance(self._fallback, str) else "function"
        degraded = {**result.metadata, "degraded": True, "fallback": how, "reason": str(missing)}
        return type(result)(result.data, metadata=degraded)


def simulate_sampler(pub: SamplerPub) -> PubResult:
    """By the state vector."""
    return StatevectorSampler().run([pub]).result()[0]


def simulate_estimator(pub: EstimatorPub) -> PubResult:
    """By the state vector, with the noise of the PUB's precision."""
    return StatevectorEstimator().run([_expand_projectors(pub)]).result()[0]


def _expand_projectors(pub: EstimatorPub) -> EstimatorPub:
    """With Pauli strings alone, as Qiskit's estimator takes them."""
    observables = np.empty(pub.observables.shape, dtype=object)
    for index in np.ndindex(*observables.shape):
        each = pub.observables[index]
        is_expanded = any(set(label) - set("IXYZ") for label in each)
        observables[index] = write_terms(each, pub.circuit.num_qubits) if is_expanded else each
    return EstimatorPub(
        pub.circuit, ObservablesArray(observables), pub.parameter_values, pub.precision, validate=False
    )


def _size(pub: SamplerPub | EstimatorPub) -> int:
    return int(max(1, pub.size)) << min(int(pub.circuit.num_qubits), 64)
