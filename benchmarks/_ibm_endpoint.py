"""`shotclock emulate` in a separate process, and what the benchmark submits to it."""

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
from typing import Any

import numpy as np

from shotclock.app.remote_providers import ProfileForecast
from shotclock.circuits.packing import compose_pub
from shotclock.circuits.templates import compile_template
from shotclock.domain.circuit import QaoaCircuit, QaoaParameters, Template
from shotclock.emulator import device
from shotclock.emulator.profile import load
from shotclock.providers import ibm
from shotclock.providers.credentials import NONE
from shotclock.providers.money import Price
from shotclock.providers.remote import RemoteProvider, RemoteSetup
from shotclock.providers.workload import ALONE, WorkloadPolicy
from shotclock.runtime.loop_thread import SystemClock

DEVICE, BACKEND = "heron-torino", "ibm_torino"
COMMAND = (sys.executable, "-c", "from shotclock import cli; cli.main()", "emulate", "--json", "--listen")
PRICE_PER_S = 1.60


@dataclass(frozen=True, slots=True)
class EmulatedEndpoint:
    """A running endpoint; speed: how many times faster than real its QPU is."""

    url: str
    profile: str
    speed: float

    def account(self) -> Any:
        """Every charge so far."""
        with urllib.request.urlopen(f"{self.url}/emulator/account") as answer:
            return json.load(answer)

    def provider(self, policy: WorkloadPolicy = ALONE) -> RemoteProvider[Any, Any]:
        """Shotclock's provider, reached by IBM's own variables."""
        setup = RemoteSetup(
            backend=BACKEND,
            forecast=ProfileForecast(device.describe(DEVICE), load(self.profile)),
            price=Price(PRICE_PER_S),
            max_money=0.0,
            circuit_builder=compose_pub,
            clock=SystemClock(),
            policy=policy,
        )
        return ibm.build(setup, credentials=NONE)


@contextmanager
def start_endpoint(profile: str, speed: float, *more: str, on: str = DEVICE) -> Iterator[EmulatedEndpoint]:
    """The endpoint on a free port; its variables are in this process's environment meanwhile."""
    arguments = ("127.0.0.1:0", "--device", on, "--profile", profile, "--speed", f"{speed:g}", *more)
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, text=True)
    before = dict(os.environ)
    try:
        assert process.stdout is not None
        document = json.loads(process.stdout.readline())
        os.environ.update(document["environment"], USAGE_DATA_OPT_OUT="True")
        yield EmulatedEndpoint(document["url"], profile, speed)
    finally:
        os.environ.clear()
        os.environ.update(before)
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def circuit_of(n: int, seed: int = 0) -> QaoaCircuit:
    """A QAOA circuit of n variables on the device's best line."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.normal(scale=0.4, size=(1, n, n)), k=1)
    parameters = QaoaParameters(
        rng.uniform(0.0, np.pi, n),
        rng.normal(size=(1, n)),
        upper + upper.transpose(0, 2, 1),
        np.array([-0.5]),
    )
    return QaoaCircuit(_template(n), parameters)


@functools.lru_cache
def _template(n: int) -> Template:
    return compile_template(n, DEVICE, device.target)
