"""The in-memory cache of templates and the records of a request. Imports no Qiskit."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from shotclock.domain.circuit import Bound, Template


@dataclass(frozen=True, slots=True)
class TemplateSpec:
    """What a caller specifies of a template before it is compiled.

    n: number of variables
    layers: QAOA layers
    line: physical qubits, variable i on the i-th; "best" is the device's best line
    native: gates on the couplings between these qubits alone, for sparse subproblems; else every pair's
    """

    n: int
    layers: int = 1
    line: tuple[int, ...] | Literal["best"] = "best"
    native: bool = False


TemplateRequest = TemplateSpec | Bound
"""A subproblem's QAOA, or a user circuit."""


class Disk(StrEnum):
    """The disk store's result for a template."""

    OFF = "no store"
    LOADED = "loaded"
    ABSENT = "absent"
    UNREADABLE = "the file cannot be read"
    FORMAT = "not a template file of this format"
    IDENTITY = "another identity than its name says"
    QPY = "another QPY version than this Qiskit's"
    DAMAGED = "the checksum does not hold"
    FACTS = "its facts are not those of its circuit on this device"
    UNWRITABLE = "the folder cannot be written"

    @property
    def is_refused(self) -> bool:
        """Whether a file must not be used or could not be written."""
        return self not in {Disk.OFF, Disk.LOADED, Disk.ABSENT}


@dataclass(frozen=True, slots=True)
class ObtainedTemplate:
    """A template, loaded or compiled.

    template: the compiled circuit and its figures
    calibration: the device's calibration it was compiled for
    disk: the disk store's result
    compile_s: time spent compiling, seconds; 0 if it was loaded
    """

    template: Template
    calibration: str
    disk: Disk
    compile_s: float


class TemplateCache:
    """Templates by request, for one device and calibration; evicts the least recently used."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._templates: OrderedDict[TemplateRequest, Template] = OrderedDict()

    def __contains__(self, request: TemplateRequest) -> bool:
        return request in self._templates

    def __len__(self) -> int:
        return len(self._templates)

    def in_use(self) -> tuple[TemplateRequest, ...]:
        """The cached requests, least recently used first."""
        return tuple(self._templates)

    def get(self, request: TemplateRequest) -> Template | None:
        """The request's template, which becomes the most recently used."""
        template = self._templates.get(request)
        if template is not None:
            self._templates.move_to_end(request)
        return template

    def put(self, request: TemplateRequest, template: Template) -> bool:
        """Stores a template; returns whether the least recently used one was evicted for it."""
        self._templates[request] = template
        self._templates.move_to_end(request)
        if len(self._templates) <= self._size:
            return False
        self._templates.popitem(last=False)
        return True
