"""Checks that a user circuit can be run, before anything is started for it."""

from __future__ import annotations

import asyncio

from shotclock.bench.load.circuit import CircuitFile
from shotclock.circuits import worker
from shotclock.domain.circuit_source import source_check
from shotclock.domain.errors import CircuitError, SettingsError, WorkerError
from shotclock.emulator import device as devices
from shotclock.runtime.offload import ProcessOffload
from shotclock.settings.circuit_limits import CircuitLimitsSettings


def check(circuit: CircuitFile, device: str, limits: CircuitLimitsSettings) -> None:
    """Reads it for a device in a separate process, because a damaged QPY file can end the reading process.

    Raises SettingsError if it cannot be run on the device, MachineError if the package that reads it is not
    installed.
    """
    offload = ProcessOffload()
    spec = circuit.spec
    try:
        facts = asyncio.run(offload.run(devices.describe, device))
        source_check.check(spec.content, limits.for_device(device, facts.n_qubits))
        asyncio.run(offload.run(worker.read, spec.content, spec.values_by_name(), device, devices.target))
    except CircuitError as error:
        raise circuit.explain_refusal(error) from error
    except WorkerError as error:
        raise SettingsError(f"--circuit {circuit.file}: is damaged; reading it ended the process") from error
    finally:
        offload.close()
