"""A device as the API shows it: the snapshot's documents, and calibrations that change them."""

from __future__ import annotations

import functools
import json
import math
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from shotclock.emulator.device import DeviceFacts
from shotclock.emulator.rest.prepared import Chip, PreparedBackend

Json = Any  # a JSON document
# Assumed: errors and coherence times change by about a tenth between two calibrations.
CALIBRATION_SIGMA = 0.1
CALIBRATED = frozenset({"T1", "T2", "readout_error", "gate_error", "prob_meas0_prep1", "prob_meas1_prep0"})
# A document has about a megabyte; this keeps a day of hourly calibrations.
KEPT_CALIBRATIONS = 24


@dataclass(frozen=True, slots=True)
class Calibration:
    """One calibration: its id, its date, and the device's properties as JSON text."""

    id: str
    updated_at: datetime
    properties: str


class Backend:
    """A device with its documents. A calibration changes the properties and their date, but no timing."""

    def __init__(self, facts: DeviceFacts, documents: PreparedBackend) -> None:
        self.facts = facts
        self.name = documents.name
        self.configuration = documents.configuration
        self.version = str(json.loads(documents.configuration)["backend_version"])
        self.calibrations = 0
        updated = datetime.fromisoformat(json.loads(documents.properties)["last_update_date"])
        first = Calibration(f"{self.name}-0", updated, documents.properties)
        self.history: deque[Calibration] = deque([first], maxlen=KEPT_CALIBRATIONS)

    @property
    def properties(self) -> str:
        """The properties of the latest calibration."""
        return self.history[-1].properties

    def calibration(self, calibration_id: str) -> Calibration | None:
        """The calibration with this id; None if it does not exist or is no longer stored."""
        return next((each for each in self.history if each.id == calibration_id), None)

    def calibration_before(self, moment: datetime) -> Calibration | None:
        """The latest calibration at or before this moment; None if none is stored."""
        return next((each for each in reversed(self.history) if each.updated_at <= moment), None)

    @functools.cached_property
    def chip(self) -> Chip:
        """The device with its current calibration."""
        return Chip(self.facts.name, _coherence_s(json.loads(self.properties)))

    def calibrate(self, stamp: str, seed: int) -> None:
        """Draws new errors and coherence times, dated `stamp`."""
        self.calibrations += 1
        rng = np.random.default_rng((seed, self.calibrations))
        properties = json.loads(self.properties)
        properties["last_update_date"] = stamp
        for values in (*properties["qubits"], *(gate["parameters"] for gate in properties["gates"])):
            for value in values:
                if value["name"] in CALIBRATED:
                    value["value"] = _drift(value["value"], value["name"], rng)
                    value["date"] = stamp
        calibration = Calibration(
            f"{self.name}-{self.calibrations}", datetime.fromisoformat(stamp), json.dumps(properties)
        )
        self.history.append(calibration)
        self.__dict__.pop("chip", None)

    def device(self, queue_length: int, online: bool) -> Json:
        """The device's entry in GET /backends."""
        configuration = json.loads(self.configuration)
        return {
            "name": self.name,
            "status": {
                "name": "online" if online else "paused",
                "reason": "available" if online else "maintenance",
            },
            "is_simulator": False,
            "qubits": self.facts.n_qubits,
            "clops": {"type": "hardware", "value": round(self.facts.clops_h)},
            "processor_type": configuration.get("processor_type"),
            "queue_length": queue_length,
            "calibration_id": self.history[-1].id,
            "emulated": True,
        }

    def status(self, queue_length: int, online: bool) -> Json:
        """The body of GET /backends/{name}/status."""
        return {
            "state": online,
            "status": "active" if online else "maintenance",
            "message": "EMULATED",
            "length_queue": queue_length,
            "backend_version": self.version,
        }


def _coherence_s(properties: Json) -> tuple[tuple[float, float], ...]:
    """T1 and T2 of each qubit, seconds; infinite if the properties do not hold them."""
    scale = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
    times = []
    for values in properties["qubits"]:
        by_name = {value["name"]: value["value"] * scale.get(value["unit"], 1.0) for value in values}
        times.append((by_name.get("T1", math.inf), by_name.get("T2", math.inf)))
    return tuple(times)


def _drift(value: float, name: str, rng: np.random.Generator) -> float:
    if value == 1.0:  # marks a dead qubit or coupler
        return value
    new = value * float(rng.lognormal(0.0, CALIBRATION_SIGMA))
    return new if name in {"T1", "T2"} else min(new, 0.999)
