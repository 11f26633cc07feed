"""A comparison as JUnit XML: a test case a metric, as CI systems read it.

A metric that failed is a failure; one that is not settled is skipped, or under --strict, where it fails the
job, an error. The elements and attributes are those of https://github.com/testmoapp/junitxml.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as Xml

from shotclock.bench.compare.decide import MetricDecision
from shotclock.bench.compare.gate import Comparison
from shotclock.bench.report.compare.table import change, level, verdict
from shotclock.bench.schema import Result

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no character for; a folder's name may hold it."""


def junit(comparison: Comparison, *, strict: bool) -> str:
    """The whole document, UTF-8."""
    kinds = [_kind(comparison, decision, strict=strict) for decision in comparison.decisions]
    counts = {
        "tests": f"{len(kinds)}",
        "failures": f"{kinds.count('failure')}",
        "errors": f"{kinds.count('error')}",
        "skipped": f"{kinds.count('skipped')}",
        "time": "0",
    }
    whole = Xml.Element("testsuites", {"name": "shotclock compare", **counts})
    suite = Xml.SubElement(whole, "testsuite", {"name": _clean(f"{comparison.a} → {comparison.b}"), **counts})
    for decision, kind in zip(comparison.decisions, kinds, strict=True):
        arm, _, name = decision.rule.metric.partition(".")
        case = Xml.SubElement(suite, "testcase", {"classname": arm, "name": name, "time": "0"})
        if kind:
            why = verdict(comparison) if comparison.missing else decision.why
            note = Xml.SubElement(case, kind, {"message": _clean(why)})
            note.text = _describe_change(decision)
            if kind != "skipped":
                note.set("type", str(decision.result))
        Xml.SubElement(case, "system-out").text = _describe_change(decision)
    Xml.SubElement(suite, "system-out").text = _clean(verdict(comparison))
    Xml.indent(whole)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{Xml.tostring(whole, encoding="unicode")}\n'


def _kind(comparison: Comparison, decision: MetricDecision, *, strict: bool) -> str:
    """The element that says how the case ended; "" for one that passed."""
    if decision.result is Result.FAIL and not comparison.caveat:
        return "failure"
    if decision.result is Result.PASS and not comparison.caveat:
        return ""
    return "error" if strict else "skipped"


def _describe_change(decision: MetricDecision) -> str:
    return f"{level(decision, decision.levels.a)} → {level(decision, decision.levels.b)} ({change(decision)})"


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
