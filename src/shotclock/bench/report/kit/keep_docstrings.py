"""Altair under `python -OO`: it copies docstrings when it is imported, and fails without them."""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Sequence
from types import CodeType, ModuleType

STRIPPED = 2
"""`sys.flags.optimize` of -OO."""


class _KeepingLoader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        """From the source, not from Python's cache, which holds it without docstrings."""
        path = self.get_filename(fullname)
        code: CodeType = compile(self.get_data(path), path, "exec", dont_inherit=True, optimize=1)
        return code


class _AltairFinder:
    """Finds altair's own modules, and leaves every other one to the finders behind it."""

    @classmethod
    def find_spec(
        cls, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != "altair":
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _KeepingLoader(spec.loader.name, spec.loader.path)
        return spec


def keep_docstrings_of_altair() -> None:
    """Does nothing where docstrings are kept anyway."""
    if sys.flags.optimize >= STRIPPED and _AltairFinder not in sys.meta_path:
        sys.meta_path.insert(0, _AltairFinder)
