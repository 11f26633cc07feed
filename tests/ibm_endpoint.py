"""`shotclock emulate` in a separate process, and providers that use it as they would IBM."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest import mock

from harness import FACTS, WallClock, random_parameters
from shotclock.circuits.packing import compose_pub
from shotclock.circuits.templates import compile_template
from shotclock.domain.circuit import QaoaCircuit, Template
from shotclock.domain.ports import Job
from shotclock.emulator import device, timing
from shotclock.emulator.profile import Profile, load
from shotclock.providers import ibm, qrmi
from shotclock.providers.credentials import Credentials, Secret
from shotclock.providers.money import Price
from shotclock.providers.polling import Cadence
from shotclock.providers.remote import RemoteProvider, RemoteSetup

COMMAND = [sys.executable, "-W", "ignore", "-c", "from shotclock import cli; cli.main()", "emulate", "--json"]
TOKEN = "canary-7f3d1c5e9b"
# Looks a tenth as far apart as for a person; on a busy machine a run of failed looks takes its time.
IMPATIENT = Cadence(far_s=0.05, usage_s=0.2, grace_s=0.3)


@dataclass(frozen=True)
class ProfileForecast:
    """What the emulator's own functions predict of a job, `speed` times faster than real."""

    profile: Profile
    speed: float

    def latency_s(self, job: Job) -> float:
        return timing.quantile_s(job, FACTS, self.profile, 0.95) / self.speed

    def qpu_s(self, job: Job) -> float:
        parts = {
            part.name: part.mean_ms * 1e-3 for part in timing.mean_by_component(job, FACTS, self.profile)
        }
        return parts["subjob_overhead"] + parts["shots"]


@dataclass(frozen=True)
class IbmEndpoint:
    """A running endpoint: where it is, and what its clients need in their environment."""

    url: str
    environment: dict[str, str]
    profile: str
    speed: float

    @property
    def account(self) -> Any:
        return self.call("GET", "account")

    def fault(self, text: str) -> None:
        """From now on this fault strikes."""
        self.call("POST", "faults", {"fault": text})

    def heal(self) -> None:
        self.call("DELETE", "faults")

    def call(self, method: str, path: str, body: Any = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/emulator/{path}", content, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def ibm(self, **options: Any) -> RemoteProvider[Any, Any]:
        """A provider `ibm` that goes here; options: of `RemoteSetup`."""
        credentials = Credentials(Secret(TOKEN))
        return self._build(partial(ibm.build, credentials=credentials), **options)

    def qrmi(self, **options: Any) -> RemoteProvider[Any, Any]:
        """A provider `qrmi` that goes here; options: of `RemoteSetup`."""
        return self._build(qrmi.build, **options)

    def _build(
        self, build: Any, max_money: float = 0.0, price: float = 1.0, **options: Any
    ) -> RemoteProvider[Any, Any]:
        setup = RemoteSetup(
            backend="ibm_torino",
            forecast=ProfileForecast(load(self.profile), self.speed),
            price=Price(price),
            max_money=max_money,
            circuit_builder=compose_pub,
            clock=WallClock(),
            **({"cadence": IMPATIENT} | options),
        )
        provider: RemoteProvider[Any, Any] = build(setup)
        return provider


@contextmanager
def start_endpoint(*arguments: str, profile: str = "colocated", speed: float = 20.0) -> Iterator[IbmEndpoint]:
    """An endpoint on a free port, its variables in this process's environment."""
    started = [*COMMAND, "--profile", profile, "--speed", f"{speed:g}", "--listen", "127.0.0.1:0", *arguments]
    process = subprocess.Popen(started, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        document = json.loads(process.stdout.readline())
        environment = {**document["environment"], "USAGE_DATA_OPT_OUT": "True"}
        with mock.patch.dict(os.environ, environment):
            yield IbmEndpoint(document["url"], environment, profile, speed)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=600)


@functools.lru_cache(maxsize=64)
def template(line: tuple[int, ...]) -> Template:
    return compile_template(len(line), "heron-torino", device.target, line=line)


def on_device(n: int, seed: int = 0, first: int = 0) -> QaoaCircuit:
    """A circuit of n variables on qubits `first` and following, which are a line of Torino's up to 15."""
    return QaoaCircuit(template(tuple(range(first, first + n))), random_parameters(n, seed))
