"""The provider `ibm`: an account, a device, a price, put together."""

from __future__ import annotations

from shotclock.domain.ports import Clock
from shotclock.providers.credentials import Credentials
from shotclock.providers.ibm_cloud import IbmJob, IbmLease
from shotclock.providers.ibm_connect import connect
from shotclock.providers.money import Price
from shotclock.providers.polling import STEADY, Cadence
from shotclock.providers.remote import CircuitBuilder, Forecast, RemoteProvider, assemble
from shotclock.providers.threads import ClientThreads
from shotclock.providers.workload import ALONE, WorkloadPolicy

LANES = 5
"""Jobs that most of IBM's devices take in at once; the QPU runs one."""


def build(
    *,
    credentials: Credentials,
    backend: str,
    forecast: Forecast,
    price: Price,
    max_money: float,
    circuit_builder: CircuitBuilder,
    clock: Clock,
    policy: WorkloadPolicy = ALONE,
    submissions_per_minute: float | None = None,
    cadence: Cadence = STEADY,
) -> RemoteProvider[IbmJob, IbmLease]:
    """The registry's entry point; blocking, for it asks the account and the device.

    backend: IBM's name, "" is the least busy. Raises SettingsError, MachineError, ProviderError.
    """
    return assemble(
        connect(credentials, backend),
        forecast=forecast,
        price=price,
        max_money=max_money,
        circuit_builder=circuit_builder,
        threads=ClientThreads("ibm", LANES + 3),
        clock=clock,
        policy=policy,
        lanes=LANES,
        submissions_per_minute=submissions_per_minute,
        cadence=cadence,
    )
