"""The in-memory cache of templates: least recently used out first."""

from __future__ import annotations

from collections import OrderedDict

from shotclock.domain.circuit import Template


class TemplateCache:
    """Templates by number of variables, for one device and calibration; counts how it is used."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._templates: OrderedDict[int, Template] = OrderedDict()
        self.hits = 0
        self.misses = 0
        self.evictions = 0

    def get(self, n: int) -> Template | None:
        """The template for n variables, which becomes the most recently used."""
        template = self._templates.get(n)
        if template is None:
            self.misses += 1
            return None
        self.hits += 1
        self._templates.move_to_end(n)
        return template

    def put(self, template: Template) -> None:
        """Keeps a template, and drops the least recently used one where there are too many."""
        self._templates[template.n] = template
        self._templates.move_to_end(template.n)
        if len(self._templates) > self._size:
            self._templates.popitem(last=False)
            self.evictions += 1
