"""Counts what one session costs: its jobs, and what it is charged in addition to them.

A session is charged by the wall clock from its first job to its end, including its jobs. Each job counts
under its own key; the session counts what it is charged in addition, and the idle time that it may still
have. If the vendor does not report the session, its jobs still count; if it does not report a job, the job's
estimate counts until the session's final figure covers it.
"""

from __future__ import annotations

from shotclock.providers.edge import seconds
from shotclock.providers.money import MoneyBudget


class SessionAccount:
    """Keeps a session's share of a budget.

    session_id: the vendor's id.
    jobs_s: how long its jobs had the QPU, seconds.
    entered: how many jobs ran in it.
    reported_s: the largest usage the vendor has reported, since charges are not taken back, seconds; None if
        it has reported none.
    """

    def __init__(self, budget: MoneyBudget, session_id: str, idle_s: float) -> None:
        self.session_id = session_id
        self.jobs_s = 0.0
        self.entered = 0
        self.reported_s: float | None = None
        self._budget = budget
        self._idle_s = idle_s
        self._idle_key = f"{session_id} idle"
        self._known_s: dict[str, float] = {}
        self._estimated_s: dict[str, float] = {}
        self._closed = False

    def open(self) -> None:
        """Reserves money for the idle time that any session may have. Raises ProviderError."""
        self._budget.reserve(self._idle_key, self._idle_s)

    def record_job(self, key: str, usage_s: float | None, estimate_s: float) -> None:
        """Records a job's final usage; None if unknown, in which case the estimate stays recorded."""
        if usage_s is None:
            self._estimated_s[key] = estimate_s
            self._budget.commit(key, estimate_s)
        else:
            self._estimated_s.pop(key, None)
            self._known_s[key] = usage_s
            self._budget.spend(key, usage_s)
        self._count()

    def record_usage(self, reported: object) -> None:
        """Records the vendor's figure for the session so far, seconds."""
        usage_s = seconds(reported)
        if usage_s is not None:
            self.reported_s = max(usage_s, self.reported_s or 0.0)
        self._count()

    def close(self, reported: object) -> bool:
        """Ends the session; returns whether its final figure is known."""
        self._closed = True
        self.record_usage(reported)
        return self._is_final

    @property
    def usage_s(self) -> float:
        """What is known to be charged, seconds; at least the sum of its jobs."""
        return max(self.reported_s or 0.0, sum(self._known_s.values()))

    @property
    def _is_final(self) -> bool:
        """Whether the reported figure is final; 0 for a session in which jobs ran means not reported."""
        return self._closed and self.reported_s is not None and (self.reported_s > 0.0 or self.entered == 0)

    def _count(self) -> None:
        jobs_s = sum(self._known_s.values())
        if self._is_final:
            for key in self._estimated_s:
                self._budget.forget(key)
            self._budget.release(self._idle_key)
        else:
            jobs_s += sum(self._estimated_s.values())
        self._budget.spend(self.session_id, max(0.0, (self.reported_s or 0.0) - jobs_s))
