"""A paid `shotclock serve` over the emulated IBM endpoint, as tests of the primitives start and kill it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import shotclock
from ibm_endpoint import IbmEndpoint, start_endpoint
from served import ServiceProcess, free_port
from shotclock.app.connect import Connection
from shotclock.domain.ledger import JobRecord
from shotclock.orchestrator.ledger.places import find_place
from shotclock.runtime.loop_thread import LoopThread

DEVICES = Path(shotclock.__file__).parent / "emulator" / "devices"
SPEED = 50.0


def write_exact_device(folder: Path) -> Path:
    """Heron's file without noise: figures are those of the state vector, and times those of a QPU."""
    lines = (DEVICES / "heron-torino.toml").read_text(encoding="utf-8").splitlines()
    section = ""
    for index, line in enumerate(lines):
        section = line if line.startswith("[") else section
        if section.startswith("[noise.") and line.startswith("value"):
            lines[index] = "value = 0.0"
        if line.startswith("name"):
            lines[index] = 'name = "heron-exact"'
    file = folder / "heron-exact.toml"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


@dataclass
class PaidService:
    """The service and the endpoint that it pays."""

    folder: Path
    device: Path
    endpoint: IbmEndpoint
    target: str
    loop: LoopThread = field(default_factory=LoopThread)
    process: ServiceProcess | None = None

    def start(self) -> None:
        """Starts the service, also again after a kill, and waits until it is ready."""
        config = self.folder / "settings.toml"
        config.write_text(f"""
[quantum]
provider = "ibm"
device = "{self.device}"
profile = "colocated"
max_money_per_run = 10000.0
[serve]
listen = "{self.target}"
metrics = "127.0.0.1:0"
ledger = "{self.folder / "ledger.db"}"
insecure = true
sizes = [2]
""")
        self.process = self.loop.run(ServiceProcess.start(config))
        self.loop.run(self.process.wait_for_event("ready"))

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.loop.run(self.process.kill())

    def connect(self) -> Connection:
        """Primitives of this process over the service."""
        return shotclock.connect(self.target)

    def records(self) -> list[JobRecord]:
        """The ledger of a service that does not run."""
        return list(find_place(str(self.folder / "ledger.db")).read_jobs())


@contextmanager
def start_paid_service(folder: Path) -> Iterator[PaidService]:
    """The endpoint without noise at a price, and the service in front of it."""
    device = write_exact_device(folder)
    with start_endpoint("--device", str(device), "--price", "1", speed=SPEED) as endpoint:
        service = PaidService(folder, device, endpoint, f"127.0.0.1:{free_port()}")
        try:
            service.start()
            yield service
        finally:
            service.kill()
            service.loop.close()
