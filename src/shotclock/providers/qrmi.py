"""The provider `qrmi`: a QPU that a scheduler or its own variables name, reached through QRMI.

QRMI keeps no tags and tells no usage: a submit whose answer is lost cannot be looked up, and the estimate
is what the budget counts. See docs/decisions/2026-11-22-qrmi-tags-and-leases.md.
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
# On premises a job's input and results go through an object store. QRMI asks for these only at a submit.
BUCKET_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "S3_ENDPOINT", "S3_BUCKET", "S3_REGION")


def build(setup: RemoteSetup) -> RemoteProvider[QrmiJob, QrmiLease]:
    """The registry's entry point; blocking: it asks the device.

    setup.backend is QRMI's resource; "" is the first that the scheduler gave this job. Raises
    SettingsError, ProviderError.
    """
    name, kind = find_allocated(setup.backend)
    variable = f"{name}_{kind.prefix}"
    if kind.type == ResourceType.IBMQuantumSystem:
        _check_bucket(name, variable)
    key = os.environ.get(f"{variable}_IAM_APIKEY", "")
    emulated = EMULATED_ACCOUNT in os.environ.get(f"{variable}_SERVICE_CRN", "")
    # The scheduler's lease ends with the allocation; nobody else may end it.
    held = any(
        os.environ.get(f"{name}_{suffix}")
        for suffix in ("QRMI_JOB_ACQUISITION_TOKEN", f"{kind.prefix}_SESSION_ID")
    )
    client = QrmiClient(name, kind.type, Secret(key), emulated=emulated, held=held)
    return remote.build_provider(client, setup, ClientThreads("qrmi", LANES + 3), LANES)


def find_allocated(backend: str) -> tuple[str, Kind]:
    """The resource to use and its kind: the scheduler's word, else the variables that are set for it.

    Raises SettingsError where neither names one.
    """
    given = _read_scheduler()
    if not backend and not given:
        raise SettingsError(
            "quantum.backend: names no QPU, and no scheduler gave one (QRMI_JOB_QPU_RESOURCES, "
            "SLURM_JOB_QPU_RESOURCES); ask for one with `#SBATCH --qpu=NAME` or set quantum.backend"
        )
    name = backend or next(iter(given))
    if given and name not in given:
        raise SettingsError(
            f"quantum.backend: {name!r} is not in this allocation, which has {', '.join(given)}"
        )
    wanted = given.get(name, "")
    for kind in KINDS:
        if kind.name == wanted or (not wanted and f"{name}_{kind.prefix}_ENDPOINT" in os.environ):
            return name, kind
    if wanted:
        raise SettingsError(f"quantum.backend: {name!r} is of the type {wanted!r}, which runs no IBM jobs")
    variables = ", ".join(f"{name}_{kind.prefix}_ENDPOINT" for kind in KINDS)
    raise SettingsError(f"quantum.backend: {name!r} has no address; set one of {variables}, and its key")


def _check_bucket(name: str, variable: str) -> None:
    wanted = [*(f"{variable}_{one}" for one in BUCKET_VARIABLES), f"{name}_QRMI_JOB_TIMEOUT_SECONDS"]
    missing = [one for one in wanted if not os.environ.get(one)]
    if missing:
        raise SettingsError(
            f"quantum.backend: {name!r} is on premises, where jobs go through an object store and end at a "
            f"timeout; set {', '.join(missing)}"
        )


def _read_scheduler() -> dict[str, str]:
    """Names of the allocated QPUs with their types."""
    try:
        names, types = get_job_qpu_resources_and_types()
    except RuntimeError:  # no scheduler
        return {}
    except ValueError as error:
        raise SettingsError(f"SLURM_JOB_QPU_RESOURCES and SLURM_JOB_QPU_TYPES: {error}") from None
    return dict(zip(names, types, strict=True))
