"""`deadlines-missed`: the service's process is frozen again and again, and its clients have no fallback."""

from __future__ import annotations

from shotclock.app.drills.freezer import Freezer
from shotclock.app.drills.rehearse import Drill

FREEZER = Freezer(frozen_s=3.0, running_s=1.0)
DRILL = Drill(
    "deadlines-missed",
    FREEZER.begin,
    end=FREEZER.end,
    ends_before="shotclock resume",
    rate=10.0,
    budget_s=1.0,
    fallback=False,
)
