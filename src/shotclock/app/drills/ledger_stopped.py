"""`ledger-stopped`: the disk of the ledger is full for the service's process alone."""

from __future__ import annotations

import resource

from shotclock.app.drills.rehearse import Drill
from shotclock.app.drills.site import Site, SitePlan


async def fill_disk(site: Site) -> None:
    """No file of the service can grow beyond the largest of its ledger."""
    files = site.folder.glob(f"{site.ledger.name}*")
    size = max(file.stat().st_size for file in files)
    resource.prlimit(site.service_pid(), resource.RLIMIT_FSIZE, (size, size))


DRILL = Drill("ledger-stopped", fill_disk, SitePlan(has_endpoint=True))
