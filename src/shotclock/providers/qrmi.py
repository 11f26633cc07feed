"""The provider `qrmi`: a QPU named by a scheduler or by environment variables, reached through QRMI.

QRMI keeps no tags and reports no usage: a submit whose answer is lost cannot be looked up, and the budget
records the estimate. See docs/decisions/2026-11-22-qrmi-tags-and-leases.md.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from qrmi import ResourceType, get_job_qpu_resources_and_types  # type: ignore[attr-defined]

from shotclock.domain.errors import SettingsError
from shotclock.providers import remote
from shotclock.providers.credentials import Secret
from shotclock.providers.qrmi_client import QrmiClient, QrmiJob, QrmiLease
from shotclock.providers.remote import RemoteProvider, RemoteSetup
from shotclock.providers.threads import ClientThreads

LANES = 5


class Kind(NamedTuple):
    """A resource type of QRMI: its name for schedulers and the prefix of its variables."""

    name: str
    prefix: str
    type: ResourceType


KINDS = (
    Kind("ibm-quantum-compute-service", "QRMI_IBM_QCS", ResourceType.IBMQuantumComputeService),
    Kind("ibm-quantum-system", "QRMI_IBM_QS", ResourceType.IBMQuantumSystem),
    Kind("qiskit-runtime-service", "QRMI_IBM_QRS", ResourceType.IBMQiskitRuntimeService),
)
EMULATED_ACCOUNT = ":a/emulated:"
# On premises, a job's input and results go through an object store. QRMI checks these only at a submit.
BUCKET_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "S3_ENDPOINT", "S3_BUCKET", "S3_REGION")


def build(setup: RemoteSetup) -> RemoteProvider[QrmiJob, QrmiLease]:
    """The registry's entry point; blocking: it queries the device.

    setup.backend is QRMI's resource; "" is the first that the scheduler allocated. Raises SettingsError,
    ProviderError.
    """
    name, kind = find_allocated(setup.backend)
    variable = f"{name}_{kind.prefix}"
    if kind.type == ResourceType.IBMQuantumSystem:
        _check_bucket(name, variable)
    key = os.environ.get(f"{variable}_IAM_APIKEY", "")
    emulated = EMULATED_ACCOUNT in os.environ.get(f"{variable}_SERVICE_CRN", "")
    # A scheduler's lease ends with the allocation; this process must not end it.
    suffixes = ("QRMI_JOB_ACQUISITION_TOKEN", f"{kind.prefix}_SESSION_ID")
    acquisition = next(filter(None, (os.environ.get(f"{name}_{suffix}") for suffix in suffixes)), "")
    client = QrmiClient(name, kind.type, Secret(key), emulated=emulated, acquisition=acquisition)
    return remote.build_provider(client, setup, ClientThreads("qrmi", LANES + 3), LANES)


def find_allocated(backend: str) -> tuple[str, Kind]:
    """The resource to use and its kind, from the scheduler or else from environment variables.

    Raises SettingsError if neither names one.
    """
    allocated = _read_scheduler()
    if not backend and not allocated:
        raise SettingsError(
            "quantum.backend: names no QPU, and no scheduler allocated one (QRMI_JOB_QPU_RESOURCES, "
            "SLURM_JOB_QPU_RESOURCES); request one with `#SBATCH --qpu=NAME` or set quantum.backend"
        )
    name = backend or next(iter(allocated))
    if allocated and name not in allocated:
        raise SettingsError(
            f"quantum.backend: {name!r} is not in this allocation, which has {', '.join(allocated)}"
        )
    type_name = allocated.get(name, "")
    for kind in KINDS:
        if kind.name == type_name or (not type_name and f"{name}_{kind.prefix}_ENDPOINT" in os.environ):
            return name, kind
    if type_name:
        raise SettingsError(f"quantum.backend: {name!r} has the type {type_name!r}, which runs no IBM jobs")
    variables = ", ".join(f"{name}_{kind.prefix}_ENDPOINT" for kind in KINDS)
    raise SettingsError(f"quantum.backend: {name!r} has no address; set one of {variables}, and its key")


def _check_bucket(name: str, variable: str) -> None:
    required = [*(f"{variable}_{suffix}" for suffix in BUCKET_VARIABLES), f"{name}_QRMI_JOB_TIMEOUT_SECONDS"]
    missing = [name for name in required if not os.environ.get(name)]
    if missing:
        raise SettingsError(
            f"quantum.backend: {name!r} is on premises, where jobs go through an object store and end at a "
            f"timeout; set {', '.join(missing)}"
        )


def _read_scheduler() -> dict[str, str]:
    """The names of the allocated QPUs, with their types."""
    try:
        names, types = get_job_qpu_resources_and_types()
    except RuntimeError:  # no scheduler
        return {}
    except ValueError as error:
        raise SettingsError(f"SLURM_JOB_QPU_RESOURCES and SLURM_JOB_QPU_TYPES: {error}") from None
    return dict(zip(names, types, strict=True))
