"""`budget-exhausted`: honest calls spend a small cap."""

from __future__ import annotations

from shotclock.app.drills.rehearse import Drill, do_nothing
from shotclock.app.drills.site import SitePlan

CAP = 10.0
"""In the endpoint's money: some tens of jobs."""

DRILL = Drill(
    "budget-exhausted",
    do_nothing,
    SitePlan(has_endpoint=True, settings={"quantum": {"max_money_per_run": CAP}}),
)
