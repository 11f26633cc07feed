"""What one session costs: its jobs, and what it was charged beyond them.

A session is charged by the wall clock from its first job to its end, jobs included. So its jobs count
each under its own key, and the session counts what it was charged beyond them and the idle time that it
may still have. Where the vendor does not report the session, its jobs are still counted; where it does not
report a job, the job's estimate is, until the session's final figure covers it.
"""

from __future__ import annotations

from shotclock.providers.edge import seconds
from shotclock.providers.money import MoneyBudget


class SessionAccount:
    """Keeps a session's share of a budget.

    jobs_s: how long its jobs had the QPU. reported_s: the most that the vendor has reported of it, for
    what was charged once is not given back; None where it has reported nothing.
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
        """Keeps money for the idle time that any session may have. Raises ProviderError."""
        self._budget.reserve(self._idle_key, self._idle_s)

    def book_job(self, key: str, usage_s: float | None, estimate_s: float) -> None:
        """A job's final usage; None where it is not known, then the estimate is kept."""
        if usage_s is None:
            self._estimated_s[key] = estimate_s
            self._budget.commit(key, estimate_s)
        else:
            self._estimated_s.pop(key, None)
            self._known_s[key] = usage_s
            self._budget.spend(key, usage_s)
        self._count()

    def read(self, reported: object) -> None:
        """The vendor's figure for the session so far, seconds."""
        found = seconds(reported)
        if found is not None:
            self.reported_s = max(found, self.reported_s or 0.0)
        self._count()

    def close(self, reported: object) -> bool:
        """The session has ended. Whether its final figure is known."""
        self._closed = True
        self.read(reported)
        return self._is_final

    @property
    def usage_s(self) -> float:
        """What is known to be charged, no less than its jobs were."""
        return max(self.reported_s or 0.0, sum(self._known_s.values()))

    @property
    def _is_final(self) -> bool:
        """A session that jobs ran in and that says it was charged nothing does not report its usage."""
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
