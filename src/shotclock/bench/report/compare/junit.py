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


def junit(found: Comparison, *, strict: bool) -> str:
    """The whole document, UTF-8."""
    kinds = [_kind(found, one, strict=strict) for one in found.decisions]
    counts = {
        "tests": f"{len(kinds)}",
        "failures": f"{kinds.count('failure')}",
        "errors": f"{kinds.count('error')}",
        "skipped": f"{kinds.count('skipped')}",
        "time": "0",
    }
    whole = Xml.Element("testsuites", {"name": "shotclock compare", **counts})
    suite = Xml.SubElement(whole, "testsuite", {"name": _clean(f"{found.a} → {found.b}"), **counts})
    for one, kind in zip(found.decisions, kinds, strict=True):
        arm, _, name = one.rule.metric.partition(".")
        case = Xml.SubElement(suite, "testcase", {"classname": arm, "name": name, "time": "0"})
        if kind:
            why = verdict(found) if found.missing else one.why
            note = Xml.SubElement(case, kind, {"message": _clean(why)})
            note.text = _describe_change(one)
            if kind != "skipped":
                note.set("type", str(one.result))
        Xml.SubElement(case, "system-out").text = _describe_change(one)
    Xml.SubElement(suite, "system-out").text = _clean(verdict(found))
    Xml.indent(whole)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{Xml.tostring(whole, encoding="unicode")}\n'


def _kind(found: Comparison, one: MetricDecision, *, strict: bool) -> str:
    """The element that says how the case ended; "" for one that passed."""
    if one.result is Result.FAIL and not found.caveat:
        return "failure"
    if one.result is Result.PASS and not found.caveat:
        return ""
    return "error" if strict else "skipped"


def _describe_change(one: MetricDecision) -> str:
    return f"{level(one, one.levels.a)} → {level(one, one.levels.b)} ({change(one)})"


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
