"""Exports a host's figures as they were last sampled; nothing is read while a scrape waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from shotclock.domain.host_figures import Family


@dataclass(frozen=True, slots=True)
class HostFigures(Collector):
    """A collector. families: the last sample's, at once."""

    families: Callable[[], Sequence[Family]]

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client`."""
        for family in self.families():
            kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            metric = kind(family.name, family.help, labels=family.labels)
            for labels, value in family.samples:
                metric.add_metric(labels, value)
            yield metric
