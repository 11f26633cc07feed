"""The in-memory cache of templates, and what is said when one is asked for. Imports no Qiskit."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from shotclock.domain.circuit import Bound, Template


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a caller can say of a template before it is compiled; `line` may be left to the device."""

    n: int
    layers: int = 1
    line: tuple[int, ...] | Literal["best"] = "best"


TemplateRequest = Wanted | Bound
"""A subproblem's QAOA, or a circuit of the user's own."""


class Disk(StrEnum):
    """What the disk store had to say about a template."""

    OFF = "no store"
    LOADED = "loaded"
    ABSENT = "absent"
    UNREADABLE = "the file cannot be read"
    FORMAT = "not a template file of this format"
    IDENTITY = "another identity than its name says"
    QPY = "another QPY version than this Qiskit's"
    DAMAGED = "the checksum does not hold"
    UNWRITABLE = "the folder cannot be written"

    @property
    def is_refused(self) -> bool:
        """Whether there was a file that must not be used, or that could not be made."""
        return self not in {Disk.OFF, Disk.LOADED, Disk.ABSENT}


@dataclass(frozen=True, slots=True)
class Obtained:
    """A template, from disk or compiled, and the device's calibration it was made for.

    compile_s: seconds spent compiling, 0 where it was loaded.
    """

    template: Template
    calibration: str
    disk: Disk
    compile_s: float


class TemplateCache:
    """Templates by what was asked for, for one device and calibration; least recently used out first."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._templates: OrderedDict[TemplateRequest, Template] = OrderedDict()

    def __contains__(self, wanted: TemplateRequest) -> bool:
        return wanted in self._templates

    def __len__(self) -> int:
        return len(self._templates)

    def in_use(self) -> tuple[TemplateRequest, ...]:
        """What is kept, least recently used first."""
        return tuple(self._templates)

    def get(self, wanted: TemplateRequest) -> Template | None:
        """The template asked for, which becomes the most recently used."""
        template = self._templates.get(wanted)
        if template is not None:
            self._templates.move_to_end(wanted)
        return template

    def put(self, wanted: TemplateRequest, template: Template) -> bool:
        """Keeps a template; whether the least recently used one had to go for it."""
        self._templates[wanted] = template
        self._templates.move_to_end(wanted)
        if len(self._templates) <= self._size:
            return False
        self._templates.popitem(last=False)
        return True
