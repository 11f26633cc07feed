"""`qpu-unresponsive`: the endpoint of the QPU hangs until the hardware reset of the runbook."""

from __future__ import annotations

import signal

from shotclock.app.drills.rehearse import Drill
from shotclock.app.drills.site import Site, SitePlan

START = "systemctl start"


async def freeze_endpoint(site: Site) -> None:
    """SIGSTOP: connections are accepted, and nothing is answered."""
    site.signal_endpoint(signal.SIGSTOP)


async def reset_endpoint(site: Site) -> None:
    """SIGCONT: what the device's owner does after the guard has passed."""
    site.signal_endpoint(signal.SIGCONT)


DRILL = Drill(
    "qpu-unresponsive", freeze_endpoint, SitePlan(has_endpoint=True), end=reset_endpoint, ends_before=START
)
