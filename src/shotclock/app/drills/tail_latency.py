"""`tail-latency`: the service's process is frozen now and then, for less than the calls' budget."""

from __future__ import annotations

from shotclock.app.drills.freezer import Freezer
from shotclock.app.drills.rehearse import Drill

FREEZER = Freezer(frozen_s=2.5, running_s=5.0)
DRILL = Drill(
    "tail-latency",
    FREEZER.begin,
    end=FREEZER.end,
    ends_before="shotclock resume",
    rate=15.0,
    warm_s=60.0,
)
