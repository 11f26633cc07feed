"""What every branch of the settings shares."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

LONGEST_MS = 604_800_000.0
"""A week: no wait is longer, and every instant of a run stays within 64 bits of nanoseconds."""


SHORTEST_MS = 0.001


class Branch(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        """Python takes true for 1; whoever writes `steps = true` means something else."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("must be a number or text")
        return value


Budget = Annotated[float, Field(ge=SHORTEST_MS, le=LONGEST_MS)]
"""Milliseconds, a microsecond at least."""


RepDelay = Annotated[float, Field(ge=0)]
"""Microseconds; the device says how many it takes."""
