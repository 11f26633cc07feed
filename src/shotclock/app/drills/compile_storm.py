"""`compile-storm`: a client sends more sizes than the cache holds, until the runbook keeps it away."""

from __future__ import annotations

from shotclock.app.drills.rehearse import Drill
from shotclock.app.drills.second_client import SecondClient
from shotclock.app.drills.site import SitePlan

# More sizes than are kept in memory, and none whose emulation takes long.
SMALLEST, SIZES, KEPT = 3, 16, 8
# A call that a busy host cannot compile for in time is refused before it compiles anything.
BUDGET_S = 30.0
CLIENT = SecondClient(rate=2.0, size=lambda number: SMALLEST + number % SIZES, budget_s=BUDGET_S)
DRILL = Drill(
    "compile-storm",
    CLIENT.begin,
    # No store on disk, where evicted ones would be found again.
    SitePlan(
        settings={
            "circuits": {"template_store": "", "memory_templates": KEPT},
            "orchestrator": {"batch_limit": 1},
        }
    ),
    end=CLIENT.end,
)
