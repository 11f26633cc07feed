"""What a paid job is charged, to whom, and which allocation of a batch system asked for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from shotclock.domain.errors import SettingsError

LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@:/\\+-]{0,63}")
"""Of a caller's labels: nothing that a terminal, a spreadsheet or a file name takes for more than text."""

Period = Literal["day", "month", "ever"]
"""How long usage counts against a quota: a UTC day, a UTC month, or for good."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """The allocation of Slurm that a call comes from; "" is unknown.

    job: Slurm's job id.
    account: the project that is charged.
    user: who submitted the job.

    Raises SettingsError naming a label that is not 1 to 64 letters, digits or `._@:/\\+-`.
    """

    job: str = ""
    account: str = ""
    user: str = ""

    def __post_init__(self) -> None:
        for name in ("job", "account", "user"):
            value = getattr(self, name)
            if value and not LABEL.fullmatch(value):
                raise SettingsError(
                    f"allocation.{name}: must be 1 to 64 letters, digits or ._@:/\\+- and begin with a "
                    f"letter, a digit or _ (got {value[:80]!r})"
                )

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Allocation:
        """What Slurm says in a job's environment; a value that is not a label is left out."""
        words = (environment.get(f"SLURM_JOB_{name}", "") for name in ("ID", "ACCOUNT", "USER"))
        return cls(*(word if LABEL.fullmatch(word) else "" for word in words))


NO_ALLOCATION = Allocation()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a call comes from.

    allocation: of the batch system.
    repeats: how often it was sent to another orchestrator before, which was lost and may have paid for it.
    age_s: since it was sent for the first time, seconds; 0 of one that is not repeated.
    """

    allocation: Allocation = NO_ALLOCATION
    repeats: int = 0
    age_s: float = 0.0


HERE = Origin()
"""Of calls from within the process, and of callers that say nothing."""


@dataclass(frozen=True, slots=True)
class CallAccount:
    """A call's part in a job.

    request_id: the caller's name for the call.
    caller: the name in its certificate, "" without one.
    circuits: its circuits in the job.
    origin: where it comes from.
    age_s: since it was first asked for, by its caller's clock and this process's, seconds.
    """

    request_id: str
    caller: str = ""
    circuits: int = 1
    origin: Origin = HERE
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class JobAccount:
    """Whom a job is for, and what it is expected to be charged.

    calls: the calls that it answers.
    estimate_s: QPU time that it will be charged, seconds; None where nobody can say.
    """

    calls: tuple[CallAccount, ...] = ()
    estimate_s: float | None = None

    def shares(self) -> dict[str, float]:
        """Each caller's share of the job, by its circuits; they sum to 1."""
        circuits = sum(call.circuits for call in self.calls)
        shares: dict[str, float] = {}
        for call in self.calls:
            shares[call.caller] = shares.get(call.caller, 0.0) + call.circuits / circuits
        return shares or {"": 1.0}


@dataclass(frozen=True, slots=True)
class JobUsage:
    """What a provider reports of a job that has run; None is unknown.

    used_s: QPU time that it is charged, seconds.
    began_ago_s: how long ago the QPU began, seconds.
    ended_ago_s: how long ago it ended, seconds.
    acquisition: the lease or session that it ran in, "" if unknown.
    """

    used_s: float | None = None
    began_ago_s: float | None = None
    ended_ago_s: float | None = None
    acquisition: str = ""


UNKNOWN_USAGE = JobUsage()


@dataclass(frozen=True, slots=True)
class TenantQuota:
    """The most that a caller may use in a period; None allows any.

    qpu_s: QPU time, seconds.
    money: in the currency of the prices.
    period: how long usage counts.
    """

    qpu_s: float | None = None
    money: float | None = None
    period: Period = "month"


@dataclass(frozen=True, slots=True)
class MoneyRules:
    """What the orchestrators that share a ledger may spend with a provider.

    budget: the budget's name: what was spent under another name does not count.
    most: the most that may be spent, reserved amounts included; 0 allows any.
    price_per_s: the price of a second of QPU time.
    currency: of the price.
    resource: the device, "" if the vendor chooses.
    quotas: by the caller's name, None of one without limits; `default` is for those not named.
    default: None allows any.
    """

    budget: str = ""
    most: float = 0.0
    price_per_s: float = 0.0
    currency: str = "USD"
    resource: str = ""
    quotas: Mapping[str, TenantQuota | None] | None = None
    default: TenantQuota | None = None

    def quota_of(self, caller: str) -> TenantQuota | None:
        """The caller's quota, if it has one."""
        return (self.quotas or {}).get(caller, self.default)


FREE_OF_RULES = MoneyRules()


@dataclass(frozen=True, slots=True)
class Spending:
    """What was spent on a day, known and reserved.

    budget: the budget's name.
    caller: whose calls it was for.
    day: of the intents, YYYY-MM-DD in UTC.
    seconds: QPU time.
    money: its price.
    """

    budget: str
    caller: str
    day: str
    seconds: float
    money: float


@dataclass(frozen=True, slots=True)
class AccountEntry:
    """A job's account as a ledger keeps it.

    tag: the job's.
    provider: the provider's name.
    budget: the budget that it counts against.
    resource: the device, "" if unknown.
    account: whom it is for, and the estimate.
    price_per_s: the price of a second of QPU time when it was intended.
    currency: of the price.
    intended_unix_s: when it was intended, Unix time in seconds.
    used_s: QPU time that it was charged, seconds; None as long as it is unknown.
    began_unix_s: when the QPU began; None if unknown.
    ended_unix_s: when the QPU ended; None if unknown.
    acquisition: the lease or session that it ran in; "" if unknown.
    """

    tag: str
    provider: str
    budget: str
    resource: str
    account: JobAccount
    price_per_s: float
    currency: str
    intended_unix_s: float
    used_s: float | None = None
    began_unix_s: float | None = None
    ended_unix_s: float | None = None
    acquisition: str = ""

    @property
    def committed_s(self) -> float:
        """What counts against budget and quotas: the usage, the estimate until it is known."""
        known_s = self.used_s if self.used_s is not None else self.account.estimate_s
        return known_s or 0.0


@dataclass(frozen=True, slots=True)
class Charges:
    """What a provider's jobs and sessions cost, as its vendor determines after the samples, QPU seconds.

    abandoned: jobs that were accepted and never returned samples.
    abandoned_s: the known part of what those consumed, seconds.
    abandoned_untold: abandoned jobs whose consumption is unknown.
    sessions: sessions whose usage was reported.
    sessions_s: what those were charged from first job to end, seconds, jobs included.
    sessions_untold: sessions whose usage was not reported.
    settled: jobs that returned samples and whose usage is final.
    settled_s: what those were charged, seconds. Their executions were collected before, so that it is not
        an additional cost.
    """

    abandoned: int = 0
    abandoned_s: float = 0.0
    abandoned_untold: int = 0
    sessions: int = 0
    sessions_s: float = 0.0
    sessions_untold: int = 0
    settled: int = 0
    settled_s: float = 0.0


NO_CHARGES = Charges()


@dataclass(frozen=True, slots=True)
class MoneyLeft:
    """A spending cap and what is left of it after known and reserved usage, in a currency."""

    limit: float
    remaining: float
    currency: str
