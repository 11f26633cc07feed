"""Converts the results of IBM's client: samples of every circuit, and the job's metrics."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
from qiskit.primitives import BitArray, PrimitiveResult

from shotclock.domain.circuit import NOT_SIMULATED, Samples, Simulation
from shotclock.domain.plural import with_article
from shotclock.providers.client import JobMetrics
from shotclock.providers.edge import mapping, seconds
from shotclock.providers.ibm_faults import ResultsUnreadableError

Json = Mapping[str, Any]

MOST_BONDS = 2**31


def samples_of(result: object) -> tuple[Samples, ...]:
    """The Samples of each register, PUB by PUB; a composed circuit has a register for each of its parts.

    Raises ResultsUnreadableError on anything but classified shots.
    """
    if not isinstance(result, PrimitiveResult):
        raise ResultsUnreadableError(
            f"the result must be a PrimitiveResult (got {with_article(type(result).__name__)})"
        )
    return tuple(_samples(name, bits) for pub in result for name, bits in pub.data.items())


def _samples(name: str, bits: object) -> Samples:
    """bits: shape (), each shot big-endian in bytes, classical bit 0 the last bit of the last byte."""
    if not isinstance(bits, BitArray) or bits.shape != ():
        raise ResultsUnreadableError(f"register {name!r} does not hold one bit string per shot")
    distinct, counts = np.unique(bits.array, axis=0, return_counts=True)
    pool = np.unpackbits(distinct, axis=1, bitorder="big")[:, ::-1][:, : bits.num_bits]
    return Samples(np.ascontiguousarray(pool), counts.astype(np.int64))


def metrics_of(document: object) -> JobMetrics:
    """The Metrics from the body of GET /jobs/{id}/metrics; missing or malformed values are unknown."""
    whole = mapping(document)
    stamps = mapping(whole.get("timestamps"))
    created, running, finished = (_parse(stamps.get(name)) for name in ("created", "running", "finished"))
    emulated = mapping(whole.get("emulated"))
    return JobMetrics(
        queued_s=_elapsed_s(created, running),
        running_s=_elapsed_s(running, finished),
        finished_at_s=finished.timestamp() if finished is not None else None,
        usage_s=_final_usage_s(mapping(whole.get("usage"))),
        speed=seconds(emulated.get("speed")) or 0.0,
        overrun=emulated.get("overrun") is True,
        simulation=_simulation_of(mapping(emulated.get("simulation"))),
    )


def _simulation_of(document: Json) -> Simulation:
    """How an emulation computed the samples; what is malformed is not known."""
    method, bond, lost = (document.get(name) for name in ("method", "bond_dimension", "truncation_error"))
    if not isinstance(method, str) or not isinstance(bond, int):
        return NOT_SIMULATED
    return Simulation(method[:40], min(max(bond, 0), MOST_BONDS), seconds(lost))


def _final_usage_s(usage: Json) -> float | None:
    charged = seconds(usage.get("qpu_charge_time_seconds", usage.get("quantum_seconds")))
    # Without a status, usage reads 0 until it is final.
    final = usage.get("status") == "final" if "status" in usage else bool(charged)
    return charged if final else None


def _parse(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _elapsed_s(start: datetime | None, end: datetime | None) -> float | None:
    """Seconds; None if only one of the two has a time zone, since they then cannot be compared."""
    if start is None or end is None or (start.tzinfo is None) != (end.tzinfo is None):
        return None
    return seconds(max(0.0, (end - start).total_seconds()))
