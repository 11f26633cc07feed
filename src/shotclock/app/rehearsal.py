"""The endpoint of a dry run: `shotclock emulate` in a child process, for the duration of the run."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

from shotclock.app import endpoint
from shotclock.app.endpoint import Listening
from shotclock.domain.errors import MachineError, ShotclockError
from shotclock.emulator import profile as profiles
from shotclock.emulator.rest.endpoint import EndpointSettings
from shotclock.settings import QuantumSettings, Settings

SPEED = 20.0
"""How many times faster than real the QPU's time runs: a rehearsal checks the procedure, not the latency."""

CLIENT = "ibm"
"""The provider used if the settings name no vendor's."""

NAMED_BY = ("QISKIT_IBM_URL", "IAM_URL", "QRMI_JOB_QPU_RESOURCES", "SLURM_JOB_QPU_RESOURCES")


def is_endpoint_named() -> bool:
    """Whether the environment already names an endpoint for IBM's clients."""
    return any(os.environ.get(name) for name in NAMED_BY)


@contextmanager
def open_emulated_endpoint(settings: Settings) -> Iterator[tuple[Settings, Listening]]:
    """Starts an endpoint of the settings' device and profile; yields settings that use it.

    Inside the block, the variables of IBM's clients in `os.environ` name it. The credentials and instance of
    the settings are not used, since they belong to a real account. Raises what `endpoint.emulate` raises.
    """
    quantum = settings.quantum
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_serve, args=(theirs, quantum.device, quantum.profile), name="shotclock-endpoint"
    )
    process.start()
    theirs.close()
    before = dict(os.environ)
    try:
        listening = _receive_listening(ours)
        os.environ.update(listening.environment())
        yield _point_settings(settings, listening), listening
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
        process.terminate()
        process.join()
        ours.close()


def _receive_listening(connection: Connection) -> Listening:
    message: object = None
    with suppress(EOFError):
        message = connection.recv()
    if isinstance(message, ShotclockError):
        raise message
    if not isinstance(message, Listening):
        raise MachineError(
            "--dry-run: the emulated endpoint did not start; run `shotclock emulate` to see why"
        )
    return message


def _point_settings(settings: Settings, listening: Listening) -> Settings:
    quantum: QuantumSettings = settings.quantum
    chosen = {
        "provider": CLIENT if quantum.provider == "emulated" else quantum.provider,
        "backend": listening.backends[0],
        "credentials_file": "",
        "instance": "",
    }
    return settings.model_copy(update={"quantum": quantum.model_copy(update=chosen)})


def _serve(connection: Connection, device: str, profile: str) -> None:
    """Runs in the child: serves until SIGTERM, or until the parent has ended."""
    os.setsid()  # Ctrl-C signals the whole foreground group; only the parent must handle it
    threading.Thread(target=_end_with_parent, name="shotclock-parent", daemon=True).start()
    try:
        settings = EndpointSettings(profile=profiles.load(profile), speed=SPEED, seed=0)
        endpoint.emulate((device,), settings, "127.0.0.1", 0, connection.send)
    except ShotclockError as error:
        connection.send(error)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
