"""Reads a device's figures from a calibration snapshot. Imports Qiskit (2 to 3 s): for the worker."""

from __future__ import annotations

import difflib
import functools
import json
import statistics
import warnings
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from qiskit.transpiler import Target
from qiskit_ibm_runtime import fake_provider
from qiskit_ibm_runtime.fake_provider.fake_backend import FakeBackendV2
from qiskit_ibm_runtime.utils.backend_converter import convert_to_target
from qiskit_ibm_runtime.utils.backend_decoder import (
    configuration_from_server_data,
    properties_from_server_data,
)

from shotclock.domain import documents as limits
from shotclock.domain import encoding
from shotclock.domain.errors import SettingsError
from shotclock.domain.plugin import describe_error
from shotclock.emulator.device_file import DeviceSource, load_defaults

# CLOPS_h counts layers of two-qubit gates, each followed by arbitrary single-qubit rotations;
# IBM quotes circuits of 100 of them (Wack et al., arXiv 2110.14108, and its "h" revision of 2023).
CLOPS_LAYERS = 100
TWO_QUBIT_GATES = ("cz", "ecr", "cx")
Json = Any  # a JSON document


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot's figures.

    where: the snapshot, for people
    target: Qiskit's target
    family: of the processor, by IBM's name; "" if not stated
    rep_delay_default_s, rep_delay_low_s, rep_delay_high_s: default and range, seconds
    max_shots: per job
    max_circuits: per sub-job
    clops_h: layers of two-qubit gates per second
    taken_at: ISO 8601
    assumed: the fields above that the snapshot lacks, so that they are the family's defaults
    """

    where: str
    target: Target
    family: str
    rep_delay_default_s: float
    rep_delay_low_s: float
    rep_delay_high_s: float
    max_shots: int
    max_circuits: int
    clops_h: float
    taken_at: str
    assumed: frozenset[str]

    @property
    def reset_s(self) -> float | None:
        """Median duration of a reset, seconds; None if the device has no such instruction."""
        durations = _durations_s(self.target, "reset") if "reset" in self.target.operation_names else []
        return statistics.median(durations) if durations else None

    def model_shot_s(self, reset_s: float) -> float:
        """Time of one shot of the CLOPS_h circuit from rep_delay + circuit + reset, seconds.

        A layer is one median two-qubit gate and one arbitrary rotation, which takes two SX (its RZ are
        virtual), with one read-out at the end.
        """
        return _model_shot_s(self.target, self.rep_delay_default_s, reset_s)

    def efficiency(self, reset_s: float) -> float:
        """Modelled time of a 100-layer shot ÷ the time CLOPS_h implies (100 ÷ CLOPS_h), at most 1.

        1, the bare formula, where the snapshot has no CLOPS_h.
        """
        if "clops_h" in self.assumed:
            return 1.0
        return min(1.0, self.model_shot_s(reset_s) / (CLOPS_LAYERS / self.clops_h))


@functools.lru_cache(maxsize=8)
def read(fake_backend: str) -> Snapshot:
    """The named snapshot of qiskit-ibm-runtime's fake provider. Raises SettingsError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # FakeNighthawk warns that its errors are placeholders
        backend = _open(fake_backend)()
        properties = backend.properties()
        target = backend.target
    configuration = backend.configuration().to_dict()
    taken_at = properties.last_update_date.isoformat()
    _check(f"fake:{fake_backend}", target)
    where = f"{fake_backend} snapshot of {taken_at[:10]} in qiskit-ibm-runtime"
    return _snapshot_of(where, target, configuration, taken_at)


@functools.lru_cache(maxsize=4)
def read_documents(source: DeviceSource) -> Snapshot:
    """The snapshot in a JSON file that `shotclock profile snapshot` wrote. Raises SettingsError."""
    return parse(source.documents, *documents(source))


def parse(name: str, configuration: str, properties: str) -> Snapshot:
    """The snapshot of a configuration and properties as IBM's service gives them, JSON texts.

    name: for errors. Raises SettingsError.
    """
    try:
        taken_at = datetime.fromisoformat(json.loads(properties)["last_update_date"]).isoformat()
        served = json.loads(configuration)
        target = convert_to_target(
            configuration_from_server_data(json.loads(configuration), use_fractional_gates=None),
            properties_from_server_data(json.loads(properties), use_fractional_gates=None),
        )
        _check(name, target)
        where = f"configuration and properties of {served['backend_name']} of {taken_at[:10]}"
        return _snapshot_of(where, target, served, taken_at)
    except SettingsError:
        raise
    except Exception as error:
        raise SettingsError(
            f"device {name}: not a back end's configuration and properties ({describe_error(error)}); "
            "write them with `shotclock profile snapshot`"
        ) from error


def read_source(source: DeviceSource) -> Snapshot:
    """The snapshot of either kind. Raises SettingsError."""
    return read_documents(source) if source.documents else read(source.fake_backend)


def documents(source: DeviceSource) -> tuple[str, str]:
    """The snapshot's configuration and properties, JSON texts. Raises SettingsError."""
    if not source.documents:
        backend = _open(source.fake_backend)
        configuration, properties = (
            Path(backend.dirname, str(name)).read_text("utf-8")
            for name in (backend.conf_filename, backend.props_filename)
        )
        return configuration, properties
    where = f"device documents {source.documents}"
    try:
        both = limits.parse_json(encoding.read_text(Path(source.documents), limits.MOST_BYTES))
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"{where}: cannot be read: {encoding.explain(error)}") from error
    except limits.DocumentError as error:
        raise SettingsError(f"{where}: {error}") from error
    if not isinstance(both, dict) or not all(
        isinstance(both.get(key), dict) for key in ("configuration", "properties")
    ):
        raise SettingsError(f"{where}: must be an object with `configuration` and `properties`")
    return json.dumps(both["configuration"]), json.dumps(both["properties"])


def list_snapshots() -> tuple[str, ...]:
    """The classes of IBM's fake provider, whether or not they can be emulated."""
    return tuple(
        sorted(
            name
            for name, value in vars(fake_provider).items()
            if isinstance(value, type) and issubclass(value, FakeBackendV2)
        )
    )


def _open(fake_backend: str) -> type[FakeBackendV2]:
    snapshots = list_snapshots()
    if fake_backend not in snapshots:
        folded = {name.lower(): name for name in snapshots}
        near = difflib.get_close_matches(fake_backend.lower(), folded, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(folded[name] for name in near)}? " if near else ""
        raise SettingsError(
            f"no device 'fake:{fake_backend}'; {hint}{len(snapshots)} are in "
            f"qiskit_ibm_runtime.fake_provider of qiskit-ibm-runtime {metadata.version('qiskit-ibm-runtime')}"
        )
    backend_class: type[FakeBackendV2] = getattr(fake_provider, fake_backend)
    return backend_class


def _snapshot_of(where: str, target: Target, configuration: Json, taken_at: str) -> Snapshot:
    processor = configuration.get("processor_type")
    family = str(processor.get("family", "")) if isinstance(processor, dict) else ""
    common, own = load_defaults(), load_defaults().of_family(family)
    assumed = set()

    def number(key: str, field: str, default: float) -> float:
        value = configuration.get(key)
        if not isinstance(value, int | float):  # some snapshots have the text "None"
            assumed.add(field)
            return default
        return float(value)

    delays_s = [own.rep_delay_low.seconds, own.rep_delay_high.seconds]
    if configuration.get("rep_delay_range") is not None:  # configurations store microseconds
        delays_s = [float(value) * 1e-6 for value in configuration["rep_delay_range"]]
    default_s = number("default_rep_delay", "rep_delay_default_s", own.rep_delay.value) * 1e-6
    bare = CLOPS_LAYERS / _model_shot_s(target, default_s, own.reset.seconds)
    return Snapshot(
        where=where,
        target=target,
        family=family,
        rep_delay_default_s=default_s,
        rep_delay_low_s=delays_s[0],
        rep_delay_high_s=delays_s[1],
        max_shots=int(number("max_shots", "max_shots", common.max_shots.value)),
        max_circuits=int(number("max_experiments", "max_circuits", common.max_circuits.value)),
        clops_h=number("clops_h", "clops_h", bare),
        taken_at=taken_at,
        assumed=frozenset(assumed),
    )


def _check(name: str, target: Target) -> None:
    """SettingsError where templates cannot be compiled for this snapshot, or their time not be computed."""
    names = target.operation_names
    if "sx" not in names or "rz" not in names:
        raise SettingsError(
            f"device {name}: needs the gates sx and rz (its snapshot has {', '.join(sorted(names))}); choose "
            "a later device"
        )
    two_qubit = next((gate for gate in TWO_QUBIT_GATES if gate in names), None)
    if two_qubit is None:
        raise SettingsError(
            f"device {name}: needs a two-qubit gate, one of {', '.join(TWO_QUBIT_GATES)} (its snapshot has "
            f"{', '.join(sorted(names))}); choose another device"
        )
    lacks = [gate for gate in ("sx", two_qubit, "measure") if not _has_calibration(target, gate)]
    if lacks:
        raise SettingsError(
            f"device {name}: its snapshot lacks the durations or errors of {', '.join(lacks)}; choose "
            "another device"
        )


def _has_calibration(target: Target, instruction: str) -> bool:
    return any(
        properties is not None and properties.duration is not None and properties.error is not None
        for properties in target[instruction].values()
    )


def _model_shot_s(target: Target, rep_delay_s: float, reset_s: float) -> float:
    two_qubit = next(name for name in TWO_QUBIT_GATES if name in target.operation_names)
    gate, sx, measure = (_median_s(target, name) for name in (two_qubit, "sx", "measure"))
    return rep_delay_s + CLOPS_LAYERS * (gate + 2.0 * sx) + measure + reset_s


def _median_s(target: Target, instruction: str) -> float:
    return statistics.median(_durations_s(target, instruction))


def _durations_s(target: Target, instruction: str) -> list[float]:
    return [
        properties.duration
        for properties in target[instruction].values()
        if properties is not None and properties.duration is not None
    ]
