"""What a job is expected to be charged, and what its provider reports afterwards."""

from __future__ import annotations

from shotclock.domain.accounting import UNKNOWN_USAGE, CallAccount, JobAccount, JobUsage
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.ports import Budgeted, Execution, Job, Provider


def estimate_account(provider: Provider, job: Job, calls: tuple[CallAccount, ...]) -> JobAccount:
    """The account of a job that is about to be submitted to a paid provider.

    A provider that predicts no usage reserves the time from submit to samples, which is at least as long.
    """
    seconds = provider.estimate_s(job) if isinstance(provider, Budgeted) else provider.predict_s(job)
    return JobAccount(calls, seconds)


def read_usage(provider: Provider, execution: Execution, now_ns: int | None = None) -> JobUsage:
    """What is known of a job that has run.

    now_ns: the present on the clock of its instants; None where they are of another process.
    The usage of a provider with a budget becomes final later, and is reported by `Budgeted.on_usage`.
    """
    if not provider.limits.paid:
        return UNKNOWN_USAGE
    used_s = None if isinstance(provider, Budgeted) else execution.qpu_s or None
    acquisition = execution.acquisition
    if now_ns is None or execution.finished_at_ns <= execution.running_at_ns:
        return JobUsage(used_s, acquisition=acquisition)
    began_ns, ended_ns = now_ns - execution.running_at_ns, now_ns - execution.finished_at_ns
    return JobUsage(used_s, began_ns / NS_PER_S, ended_ns / NS_PER_S, acquisition)
