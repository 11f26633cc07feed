"""`queue-length`: a client floods the queue until the runbook keeps it from the QPU."""

from __future__ import annotations

from shotclock.app.drills.rehearse import Drill
from shotclock.app.drills.second_client import SecondClient
from shotclock.app.drills.site import SitePlan

CLIENT = SecondClient(rate=200.0)
DRILL = Drill(
    "queue-length",
    CLIENT.begin,
    SitePlan(settings={"orchestrator": {"batch_limit": 1}}),
    end=CLIENT.end,
)
