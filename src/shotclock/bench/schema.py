"""`summary.json`, schema 1: what others script against. Additions keep the number; anything else moves it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = 1
TOO_FEW = "too_few_samples"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Result(StrEnum):
    """How a threshold came out."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"


class Percentile(_Frozen):
    """An empirical quantile and the early-stopping upper bound (confidence 0.99) that gates use.

    None is a quantile among the right-censored calls: above `censored_above` of its metric.
    """

    value: float | None
    upper_bound: float | None


class Latency(_Frozen):
    """A latency in milliseconds. Censored and missed calls stay in n and rank above every measured one.

    mean: over the measured values only; None where there are none.
    """

    type: Literal["latency"] = "latency"
    unit: Literal["ms"] = "ms"
    direction: Literal["lower"] = "lower"
    n: int
    missed: int = 0
    censored_above: float | None = None
    mean: float | None
    percentiles: dict[Literal["p50", "p95", "p99"], Percentile | Literal["too_few_samples"]]
    ok: bool | None = None


class Ratio(_Frozen):
    """A share of calls with its two-sided 99 % Clopper–Pearson interval; None where there are no calls."""

    type: Literal["ratio"] = "ratio"
    unit: Literal["ratio"] = "ratio"
    direction: Literal["higher"] = "higher"
    n: int
    value: float | None
    lower_bound: float | None
    upper_bound: float | None
    ok: bool | None = None


Metric = Annotated[Latency | Ratio, Field(discriminator="type")]


class Loss(_Frozen):
    """Held-out loss of one arm at the last step common to all arms, a value a seed.

    improvement: classical-only's loss minus this arm's, paired by seed, mean; interval: 95 % t-interval
    over seeds, None with one seed.
    """

    per_seed: dict[int, float]
    mean: float | None
    improvement: float | None
    interval: tuple[float, float] | None


class Cost(_Frozen):
    """What an arm consumed over the common steps, and per unit of loss it gained on classical-only.

    The per-improvement figures are None where the improvement is not positive.
    """

    currency: str
    compute_h: float
    qpu_s: float
    money: float
    compute_h_per_loss: float | None
    money_per_loss: float | None


class ArmSummary(_Frozen):
    """One arm: what it ran as, and what it counted."""

    calls_quantum: bool
    profile: str | None
    provider: str | None
    mode: str | None
    emulated: bool
    deadline_ms: float | None
    protected: bool
    seeds: tuple[int, ...]
    steps: int
    calls: int
    call_every: int | None
    samples_per_s: float | None
    outcomes: dict[str, int]
    decisions: dict[str, int]
    winners: dict[str, int]
    emulator_overruns: int
    penalised_calls: int = 0
    loss: Loss
    cost: Cost


class Gate(_Frozen):
    """A threshold and how it came out; `why` is the count behind the binomial bound."""

    metric: str
    limit: float
    direction: Literal["max", "min"]
    result: Result
    why: str


class Component(_Frozen):
    """One number of a profile, with where it comes from."""

    name: str
    value: float
    unit: str
    tag: Literal["published", "measured", "assumed"]
    source: str


class ProfileSummary(_Frozen):
    """A profile's components, their predicted sum for this run's job, and the figures it is held against.

    sanity: the founding document's figures of added latency, in words and as ranges; None where it has none.
    not_modelled: what has no published figure and is therefore left out: the latency is a lower bound.
    """

    title: str
    components: tuple[Component, ...]
    mean_by_component_ms: dict[str, float]
    predicted_mean_ms: float
    predicted_p95_ms: float
    sanity: str | None
    sanity_mean_ms: tuple[float, float] | None = None
    sanity_p95_ms: tuple[float, float] | None = None
    not_modelled: tuple[str, ...]


class Sentence(_Frozen):
    """One sentence of the verdict and the metrics of this run it rests on."""

    text: str
    figures: tuple[str, ...]


class Verdict(_Frozen):
    """The run's findings: a headline, then a sentence a claim."""

    headline: str
    sentences: tuple[Sentence, ...]


class Summary(_Frozen):
    """The whole of summary.json. Metric names are `<arm>.<figure>[.software|.emulated_wait]`."""

    schema_number: Literal[1] = Field(default=1, alias="schema")
    shotclock: str
    run_id: str
    status: Literal["complete", "interrupted", "failed"]
    failure: str = ""
    clock: Literal["wall", "virtual"]
    emulated: bool
    quick: bool
    workload: str
    kernel: str
    n: int
    shots: int | Literal["fit"]
    started_at: str
    duration_s: float
    common_steps: int
    environment: dict[str, str]
    arms: dict[str, ArmSummary]
    metrics: dict[str, Metric]
    mission_gates: tuple[Gate, ...]
    thresholds: tuple[Gate, ...]
    profiles: dict[str, ProfileSummary]
    verdict: Verdict

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
