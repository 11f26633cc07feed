"""The health of this host under `[placement]`'s actions: for a service, a benchmark and placement."""

from __future__ import annotations

import logging
from pathlib import Path

from shotclock.app.topology import read_acknowledged
from shotclock.domain.errors import MachineError, ShotclockError
from shotclock.domain.host_figures import Family
from shotclock.domain.outcome import HOST_HEALTH, Rejection
from shotclock.placement.components import Record
from shotclock.placement.error_bursts import BurstRules
from shotclock.placement.health import Cause, Finding, HealthJudge, HealthRules, list_other_problems
from shotclock.placement.topology import HostView, read_host
from shotclock.placement.tree import Tree
from shotclock.placement.values import Absent
from shotclock.settings import Settings

log = logging.getLogger(__name__)

MIB = 2**20
FILES_ALONE = Absent("placement reads files alone")
"""Asking amdsmi starts a process, and placement needs nothing that it alone tells."""


class HostHealth:
    """The present findings; `observe` renews them, the others never wait."""

    def __init__(self, settings: Settings, root: Path = Path("/")) -> None:
        self._sample_s = settings.placement.sample_s
        self._judge = HealthJudge(Tree(root), find_rules(settings))
        self._findings: tuple[Finding, ...] = ()
        self._others: tuple[str, ...] = ()

    def observe(self, view: HostView) -> None:
        """A new reading of the host, always from one thread."""
        before = self._findings
        self._findings, self._others = self._judge.judge(view), list_other_problems(view)
        for each in set(self._findings) - set(before):
            log.warning("this host: %s", each)
        for each in set(before) - set(self._findings):
            log.info("this host: no longer: %s", each.text)

    def problems(self) -> tuple[str, ...]:
        """Why placement prefers other hosts."""
        serious = (each.text for each in self._findings if each.action != "warn")
        return (*self._others, *serious)

    def refusals(self) -> tuple[str, ...]:
        """Why calls are refused."""
        return tuple(each.text for each in self._findings if each.action == "refuse")

    def refuse(self) -> Rejection | None:
        """Admission by health; None admits."""
        problems = len(self.refusals())
        if not problems:
            return None
        unit = "problem of the host" if problems == 1 else "problems of the host"
        return Rejection(HOST_HEALTH, 0, problems, unit, self._sample_s)

    def warnings(self) -> tuple[str, ...]:
        """What needs attention while calls are taken."""
        return tuple(f"this host: {each}" for each in self._findings if each.action != "refuse")

    def degradations(self) -> tuple[str, ...]:
        """Why placement prefers other hosts while this one is ready."""
        return tuple(f"this host: {each.text}" for each in self._findings if each.action == "degrade")

    def families(self) -> tuple[Family, ...]:
        """Bursts of errors as metrics."""
        return self._judge.bursts.families()

    def impediments(self) -> tuple[str, ...]:
        """Why the service is not ready."""
        return tuple(f"this host: {each}" for each in self._findings if each.action == "refuse")


def find_rules(settings: Settings) -> HealthRules:
    """Of `[placement]`; the acknowledged versions are read with each reading of the host."""
    placement = settings.placement

    def read_record() -> Record | None:
        if placement.acknowledged_file == "auto":
            return None
        try:
            return read_acknowledged(settings)
        except ShotclockError as error:
            log.warning("%s", error)
            return None

    return HealthRules(
        {
            "ecc_off": placement.on_ecc_off,
            "unpinned": placement.on_unpinned,
            "change": placement.on_change,
            "transfer_errors": placement.on_transfer_errors,
        },
        read_record,
        placement.pinned_mib * MIB,
        BurstRules(placement.burst_errors, placement.burst_window_s, placement.burst_quiet_s),
    )


def check_host(settings: Settings, root: Path = Path("/")) -> tuple[str, ...]:
    """Warnings of this instant. Raises MachineError where a finding's action is to refuse."""
    findings, _ = judge_host(settings, root)
    for each in findings:
        if each.action == "refuse":
            raise MachineError(f"{name_key(each.cause)}: {each}")
    return tuple(map(str, findings))


def judge_host(settings: Settings, root: Path) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """What is wrong at this instant, and the problems that no action decides on."""
    tree = Tree(root)
    view = read_host(tree, FILES_ALONE)
    findings = HealthJudge(tree, find_rules(settings)).judge(view)
    if settings.placement.on_change == "refuse" and read_acknowledged(settings) is None:
        never = (
            "the versions of this host's drivers and firmware were never acknowledged in "
            f"{settings.placement.acknowledged_file}"
        )
        findings = (Finding("change", never, "refuse"), *findings)
    return findings, list_other_problems(view)


def name_key(cause: Cause) -> str:
    """The setting of what follows."""
    return f"placement.on_{cause}"
