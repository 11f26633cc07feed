"""Calibration windows: at regular intervals the QPU is calibrated and jobs wait. Pure."""

from __future__ import annotations

import math

from pydantic import model_validator

from shotclock.emulator.figures import SECONDS, Sourced, TaggedNumber


class CalibrationWindows(Sourced):
    """A window of length `lasts` after each interval `every`; the first begins one interval after the start.

    Windows begin between jobs: a running job finishes, and the next one waits for the window's end.
    """

    every: TaggedNumber
    lasts: TaggedNumber

    @model_validator(mode="after")
    def _check_order(self) -> CalibrationWindows:
        for name in ("every", "lasts"):
            figure: TaggedNumber = getattr(self, name)
            if figure.unit not in SECONDS:
                raise ValueError(f"{name}: a time needs one of the units {', '.join(SECONDS)}")
        if not 0.0 < self.lasts.seconds < self.every.seconds:
            raise ValueError("must satisfy 0 < lasts < every: windows must leave time for jobs")
        return self

    def begins_s(self, number: int) -> float:
        """The numbered window's beginning, seconds since the start; windows are counted from 1."""
        return number * self.every.seconds

    def free_s(self, at_s: float) -> float:
        """The earliest instant from `at_s` on at which a job may use the QPU, seconds since the start."""
        number = math.floor(at_s / self.every.seconds)
        ends_s = self.begins_s(number) + self.lasts.seconds
        return ends_s if number >= 1 and at_s < ends_s else at_s
