"""Writes a registry as Prometheus reads it, in the bytes of `prometheus_client` and in less of their time.

Of the 2,000 lines of a scrape only the numbers change: what stands before each is kept from the last scrape.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Exemplar, Sample
from prometheus_client.utils import floatToGoString

OPENMETRICS = "application/openmetrics-text"


class Exposition:
    """The text of one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._starts: dict[tuple[str, ...], str] = {}

    def write(self, accept: str) -> tuple[bytes, str]:
        """The text in the format that an Accept header asks for, and its media type."""
        _, media_type = choose_encoder(accept)
        is_open = media_type.startswith(OPENMETRICS)
        return "".join(self._lines(is_open)).encode(), media_type

    def _lines(self, is_open: bool) -> Iterator[str]:
        for family in self._registry.collect():
            yield from _head(family, is_open)
            for sample in family.samples:
                line = self._start(sample) + floatToGoString(sample.value)  # type: ignore[no-untyped-call]
                exemplar = _write_exemplar(sample.exemplar) if is_open and sample.exemplar else ""
                yield f"{line}{exemplar}\n"
        if is_open:
            yield "# EOF\n"

    def _start(self, sample: Sample) -> str:
        """What stands before the number; the labels of a family are always in the same order."""
        key = (sample.name, *sample.labels.values())
        start = self._starts.get(key)
        if start is None:
            start = self._starts[key] = f"{sample.name}{_write_labels(sample.labels)} "
        return start


def _head(family: Metric, is_open: bool) -> tuple[str, str]:
    name = f"{family.name}_total" if family.type == "counter" and not is_open else family.name
    text = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
    kind = "untyped" if family.type == "unknown" and not is_open else family.type
    return (f"# HELP {name} {text}\n", f"# TYPE {name} {kind}\n")


def _write_labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in sorted(labels.items())) + "}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _write_exemplar(exemplar: Exemplar) -> str:
    number: str = floatToGoString(exemplar.value)  # type: ignore[no-untyped-call]
    return f" # {_write_labels(exemplar.labels)} {number} {exemplar.timestamp}"
