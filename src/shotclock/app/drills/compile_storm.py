"""`compile-storm`: a client sends more sizes than the cache holds, until the runbook keeps it away."""

from __future__ import annotations

from shotclock.app.drills.rehearse import Drill
from shotclock.app.drills.second_client import SecondClient
from shotclock.app.drills.site import SitePlan

SMALLEST, SIZES = 7, 36
CLIENT = SecondClient(rate=4.0, size=lambda number: SMALLEST + number % SIZES)
DRILL = Drill(
    "compile-storm",
    CLIENT.begin,
    # The smallest cache, 16 templates, and no store on disk, where evicted ones would be found again.
    SitePlan(settings={"circuits": {"template_store": ""}, "orchestrator": {"batch_limit": 1}}),
    end=CLIENT.end,
)
