"""Families of the groups that the settings name. What is not known has no sample."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from shotclock.domain.host_figures import Family, Labels
from shotclock.placement.components import Component
from shotclock.placement.figures.fabrics import list_fabrics
from shotclock.placement.figures.gpu import list_gpu, list_xgmi
from shotclock.placement.figures.totals import Totals
from shotclock.placement.topology import Host

CHANGES = "shotclock_component_version_changes_total"


@dataclass(slots=True)
class VersionChanges:
    """Counts changes of versions, against those acknowledged and then from sample to sample."""

    versions: dict[str, str]
    counts: dict[Labels, int] = field(default_factory=dict)

    def observe(self, components: Sequence[Component]) -> None:
        """One more sample; every component is counted from 0, so that its first change is an increase."""
        for component in components:
            labels = (component.name, component.instance)
            self.counts.setdefault(labels, 0)
            before = self.versions.get(component.key)
            if before is not None and before != str(component):
                self.counts[labels] += 1
            self.versions[component.key] = str(component)


def list_families(
    host: Host | None, groups: Collection[str], totals: Totals, changes: VersionChanges
) -> tuple[Family, ...]:
    """Of these groups; without a host every family is empty."""
    families: list[Family] = []
    if "gpu" in groups:
        families += list_gpu(host.devices if host else ())
        families += list_xgmi(host)
    if "fabric" in groups:
        families += list_fabrics(host)
    if "components" in groups:
        families += _list_components(host.components if host else (), changes)
    return tuple(_accumulate(family, totals) for family in families)


def _accumulate(family: Family, totals: Totals) -> Family:
    if family.kind == "gauge" or family.name == CHANGES:
        return family
    samples = tuple((labels, totals.advance(family.name, labels, raw)) for labels, raw in family.samples)
    return Family(family.name, family.help, family.kind, family.labels, samples)


def _list_components(components: Sequence[Component], changes: VersionChanges) -> Iterator[Family]:
    yield Family(
        "shotclock_component_info",
        "1 for each driver and firmware, with its version.",
        "gauge",
        ("component", "instance", "version"),
        tuple(((each.name, each.instance, str(each)), 1.0) for each in components),
    )
    yield Family(
        CHANGES,
        "Versions that changed since they were acknowledged, or while this process ran.",
        "counter",
        ("component", "instance"),
        tuple((labels, float(number)) for labels, number in changes.counts.items()),
    )
