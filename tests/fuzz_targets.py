"""What a fuzzer throws bytes at: user circuits before and while they are read, and files of the store.

Each function takes bytes and returns; any exception but the one-line error that the product promises is a
finding. `make soak-fuzz` drives the same functions for long.
"""

from __future__ import annotations

import functools
from dataclasses import replace

from shotclock.circuits import line_sets, store, template_check, templates, user_circuits
from shotclock.circuits.cache import Disk, TemplateSpec
from shotclock.circuits.line_sets import LineSet
from shotclock.circuits.templates import TemplateIdentity
from shotclock.domain.circuit import Template
from shotclock.domain.circuit_limits import CircuitLimits
from shotclock.domain.circuit_source import source_check
from shotclock.domain.errors import CircuitError, SettingsError
from shotclock.emulator import device

DEVICE = "heron-torino"
LIMITS = CircuitLimits(DEVICE, 133)
# Enough for every kind of statement, few enough that reading what passes stays quick.
SMALL = replace(LIMITS, statements=200, tokens=4_000, gates=500, terms=5_000)


def check_qasm(content: bytes) -> str:
    """Text held against the limits; the refusal, "" where it passes."""
    return _refusal(content.decode(errors="replace"), LIMITS)


def check_qpy(content: bytes) -> str:
    """A QPY file held against the limits; the refusal, "" where it passes."""
    return _refusal(content, LIMITS)


def read_qasm(content: bytes) -> str:
    """Text that passes small limits, read by Qiskit; the refusal, "" where it is a circuit."""
    text = content.decode(errors="replace")
    try:
        source_check.check(text, SMALL)
        user_circuits.read(text, {}, DEVICE, device.target(DEVICE))
    except CircuitError as error:
        return _one_line(error)
    return ""


def load_template(content: bytes) -> str:
    """A template's file, its checksum made to hold; why it is refused, "" where it is taken."""
    header, _, body = content.partition(b"\n")
    payload = body.partition(b"\n")[2]
    parsed = store.parse(store.seal(header, payload), identity())
    if isinstance(parsed, Disk):
        return str(parsed)
    return template_check.find_fault(parsed, identity(), device.target(DEVICE), store.MOST_BYTES)


def load_line_set(content: bytes) -> str:
    """A file of lines; why it is refused, "" where it is taken."""
    try:
        lines = LineSet.from_json(content.decode(errors="replace"))
        line_sets.check_on(device.target(DEVICE), lines)
    except SettingsError as error:
        return _one_line(error)
    return ""


@functools.cache
def identity() -> TemplateIdentity:
    """Of the template that the corpus is made of."""
    return templates.identify(TemplateSpec(3), DEVICE, device.target(DEVICE))


@functools.cache
def template() -> Template:
    """The template that the corpus is made of."""
    return templates.compile_identity(identity(), device.target(DEVICE))


def _refusal(source: str | bytes, limits: CircuitLimits) -> str:
    try:
        source_check.check(source, limits)
    except CircuitError as error:
        return _one_line(error)
    return ""


def _one_line(error: Exception) -> str:
    text = str(error)
    if "\n" in text or len(text) > 2_000:
        raise AssertionError(f"not one line: {text[:200]!r}")
    return text
