"""`service-down`: the service's process is killed."""

from __future__ import annotations

import signal

from shotclock.app.drills.rehearse import Drill
from shotclock.app.drills.site import Site


async def kill_service(site: Site) -> None:
    """SIGKILL."""
    site.signal_service(signal.SIGKILL)


DRILL = Drill("service-down", kill_service)
