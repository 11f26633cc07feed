"""`[cost]`: prices."""

from __future__ import annotations

from pydantic import (
    Field,
)

from shotclock.settings.branch import Branch


class CostSettings(Branch):
    """Prices of the site's own contract; the defaults are examples."""

    currency: str = "USD"
    qpu_second: float = Field(default=1.60, ge=0, le=1e6)
    gpu_hour: float = Field(default=2.10, ge=0, le=1e6)
