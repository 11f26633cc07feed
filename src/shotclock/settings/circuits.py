"""`[circuits]`: the template store, the limits of user circuits."""

from __future__ import annotations

from pathlib import Path

from pydantic import (
    Field,
)

from shotclock.settings.branch import Branch
from shotclock.settings.circuit_limits import CircuitLimitsSettings
from shotclock.settings.folders import user_folder


class CircuitsSettings(Branch):
    """Compiled circuits: where they are kept, and how they run.

    template_store: the folder in which templates outlive the process; "auto" is the user's cache, if any, ""
        keeps none.
    memory_templates: most that are kept in memory; the least recently used one goes first.
    check_calibration_s: how often a service looks for a new calibration of its device.
    side_by_side: circuits of batches that may run beside each other in one PUB, also those of several
        callers; 1 places none beside another.
    limits: of user circuits.
    """

    template_store: str = "auto"
    memory_templates: int = Field(default=64, ge=1, le=4_096)
    check_calibration_s: float = Field(default=600.0, ge=1, le=86_400)
    side_by_side: int = Field(default=1, ge=1, le=16)
    limits: CircuitLimitsSettings = CircuitLimitsSettings()

    @property
    def store_folder(self) -> Path | None:
        """The folder; None keeps templates in memory alone."""
        if self.template_store == "auto":
            cache = user_folder("XDG_CACHE_HOME", ".cache")
            return cache and cache / "shotclock" / "templates"
        return Path(self.template_store) if self.template_store else None
