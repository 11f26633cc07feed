"""A canary's state and counts as metrics, read at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from shotclock.domain.canary import CanaryPhase, CanaryReport


@dataclass(frozen=True, slots=True)
class CanaryFacts(Collector):
    """Exports what `report` says; the counts of both sides are absent without a canary."""

    report: Callable[[], CanaryReport]

    def collect(self) -> Iterable[Metric]:
        """See `prometheus_client`."""
        report = self.report()
        state = GaugeMetricFamily(
            "shotclock_canary_state",
            "1 for the state of the last canary, 0 for the others.",
            labels=["state"],
        )
        for phase in CanaryPhase:
            state.add_metric([phase], phase is report.phase)
        calls = GaugeMetricFamily(
            "shotclock_canary_calls",
            "Calls that ended on each side of the canary: all, missed, slow.",
            labels=["group", "kind"],
        )
        values = GaugeMetricFamily(
            "shotclock_canary_validation_values",
            "Values of the validation metric that runs reported, by the side of the canary.",
            labels=["group"],
        )
        if report.phase is not CanaryPhase.NONE:
            for name, group in (("canary", report.canary), ("control", report.control)):
                for kind, count in (("all", group.calls), ("missed", group.missed), ("slow", group.slow)):
                    calls.add_metric([name, kind], count)
                values.add_metric([name], group.validation_values)
        return (state, calls, values)
