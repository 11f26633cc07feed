"""Numbers with unit, provenance tag and source, and the distributions made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from shotclock.domain.subproblem import Float64s

SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
Z99 = 2.3263478740408408  # Φ⁻¹(0.99)


class Sourced(BaseModel):
    """Base of the data files' models: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TaggedNumber(Sourced):
    """One number of a data file; without a source it does not load.

    value: not negative, in `unit`
    unit: the unit's symbol
    tag: how the number is known
    source: where it comes from
    """

    value: float = Field(ge=0.0, allow_inf_nan=False)
    unit: Literal["ns", "us", "ms", "s", "round trips", "per minute", "lanes", "1", "1/gate layer"]
    tag: Literal["published", "measured", "assumed"]
    source: str = Field(min_length=8)

    @property
    def seconds(self) -> float:
        """The value of a time, seconds."""
        return self.value * SECONDS[self.unit]


def _time(figure: TaggedNumber) -> TaggedNumber:
    if figure.unit not in SECONDS:
        raise ValueError(f"a time needs one of the units {', '.join(SECONDS)} (got {figure.unit!r})")
    return figure


@dataclass(frozen=True, slots=True)
class Named:
    """A figure and its dotted name in its file."""

    name: str
    figure: TaggedNumber


class Constant(Sourced):
    """A fixed time."""

    kind: Literal["constant"]
    value: TaggedNumber

    @property
    def mean_s(self) -> float:
        """The mean, seconds."""
        return self.value.seconds

    def draw_s(self, rng: np.random.Generator, size: int) -> Float64s:
        """Independent draws, seconds, shape (size,)."""
        del rng
        return np.full(size, self.value.seconds)


class Uniform(Sourced):
    """A time with uniform probability between two."""

    kind: Literal["uniform"]
    low: TaggedNumber
    high: TaggedNumber

    @model_validator(mode="after")
    def _check_order(self) -> Uniform:
        if _time(self.high).seconds < _time(self.low).seconds:
            raise ValueError("high is below low")
        return self

    @property
    def mean_s(self) -> float:
        """The mean, seconds."""
        return 0.5 * (self.low.seconds + self.high.seconds)

    def draw_s(self, rng: np.random.Generator, size: int) -> Float64s:
        """Independent draws, seconds, shape (size,)."""
        return rng.uniform(self.low.seconds, self.high.seconds, size)


class Lognormal(Sourced):
    """A lognormal time, given by its median and its 99th percentile."""

    kind: Literal["lognormal"]
    median: TaggedNumber
    p99: TaggedNumber

    @model_validator(mode="after")
    def _check_order(self) -> Lognormal:
        if not 0.0 < _time(self.median).seconds < _time(self.p99).seconds:
            raise ValueError("must satisfy 0 < median < p99")
        return self

    @property
    def sigma(self) -> float:
        """Standard deviation of the logarithm: ln(p99/median) ÷ Φ⁻¹(0.99)."""
        return math.log(self.p99.seconds / self.median.seconds) / Z99

    @property
    def mean_s(self) -> float:
        """The mean, median·exp(σ²/2), seconds."""
        return self.median.seconds * math.exp(0.5 * self.sigma**2)

    def draw_s(self, rng: np.random.Generator, size: int) -> Float64s:
        """Independent draws, seconds, shape (size,)."""
        return rng.lognormal(math.log(self.median.seconds), self.sigma, size)


Distribution = Annotated[Constant | Uniform | Lognormal, Field(discriminator="kind")]


def figures_of(model: BaseModel, prefix: str = "") -> tuple[Named, ...]:
    """Every figure below a model with its dotted name, in the order of the fields."""
    entries: list[Named] = []
    for field in type(model).model_fields:
        value = getattr(model, field)
        name = f"{prefix}{field}"
        if isinstance(value, TaggedNumber):
            entries.append(Named(name, value))
        elif isinstance(value, BaseModel):
            entries.extend(figures_of(value, f"{name}."))
    return tuple(entries)
