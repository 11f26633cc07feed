"""The provider `ibm`: IBM Quantum Platform through qiskit-ibm-runtime."""

from __future__ import annotations

from shotclock.providers import ibm_connect, remote
from shotclock.providers.credentials import Credentials
from shotclock.providers.ibm_cloud import IbmJob, IbmLease
from shotclock.providers.remote import RemoteProvider, RemoteSetup
from shotclock.providers.threads import ClientThreads

LANES = 5
"""Jobs that most of IBM's devices accept at once; the QPU runs one at a time."""


def build(setup: RemoteSetup, *, credentials: Credentials) -> RemoteProvider[IbmJob, IbmLease]:
    """The registry's entry point; blocking: it queries the account and the device.

    setup.backend "" is the least busy device. Raises SettingsError, MachineError, ProviderError.
    """
    client = ibm_connect.connect(credentials, setup.backend)
    return remote.build_provider(client, setup, ClientThreads("ibm", LANES + 3), LANES)
