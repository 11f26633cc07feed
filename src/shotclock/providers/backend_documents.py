"""A back end's configuration and properties, read through IBM's client; submits nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shotclock.domain.errors import SettingsError
from shotclock.providers.credentials import Credentials
from shotclock.providers.ibm_connect import connect
from shotclock.providers.ibm_faults import Doing

# What is kept is listed, so that nothing of an account is written. `url`, `description`, `credits_required`
# and whatever a later client adds are left out.
CONFIGURATION = frozenset(
    (
        *("backend_name", "backend_version", "n_qubits", "basis_gates", "gates", "local", "simulator"),
        *("conditional", "open_pulse", "memory", "max_shots", "max_experiments", "coupling_map", "coords"),
        *("dynamic_reprate_enabled", "rep_delay_range", "default_rep_delay", "dt", "dtm", "clops_h"),
        *("processor_type", "online_date", "meas_map", "meas_levels", "multi_meas_enabled"),
        *("supported_instructions", "supported_features", "instruction_signatures", "timing_constraints"),
    )
)
PROPERTIES = frozenset(("backend_name", "backend_version", "last_update_date", "qubits", "gates", "general"))


@dataclass(frozen=True, slots=True)
class BackendDocuments:
    """A back end's name, configuration and properties; the last two are JSON texts."""

    name: str
    configuration: str
    properties: str


def fetch(credentials: Credentials, backend: str) -> BackendDocuments:
    """The documents of the account's named back end; blocking. "" is the least busy one.

    Raises SettingsError if there is no key, no such back end, or no calibration; MachineError and
    ProviderError as `ibm_connect.connect`.
    """
    client = connect(credentials, backend)
    with client._edge(Doing.READ):
        device = client._backend
        configuration, properties = device.configuration().to_dict(), device.properties(refresh=True)
        if properties is None:
            raise SettingsError(f"--backend {device.name}: has no calibration data; choose another back end")
        return BackendDocuments(
            device.name,
            _encode(configuration, CONFIGURATION),
            _encode(properties.to_dict(), PROPERTIES),
        )


def _encode(document: dict[str, Any], keys: frozenset[str]) -> str:
    values = {key: value for key, value in document.items() if key in keys and value is not None}
    return json.dumps(values, default=_encode_date)


def _encode_date(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"a back end's document has a value of type {type(value).__name__}")
