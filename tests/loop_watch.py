"""Reports what holds an event loop: imports and compiling on its thread, much work in one callback."""

from __future__ import annotations

import asyncio
import importlib.abc
import json
import sys
from typing import Any

import numpy as np

from shotclock.domain.outcome import Degraded, Done
from shotclock.domain.subproblem import Subproblem


class LoopWatch(importlib.abc.MetaPathFinder):
    """From `begin` on; `events` names each, and `answers` how each call ended."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.answers: list[str] = []
        self._watching = False

    def begin(self) -> None:
        """After everything that comes before the first call."""
        import numba.core.dispatcher as compiler

        compile_one = compiler.Dispatcher.compile

        def compile_watched(dispatcher: Any, signature: Any) -> Any:
            self._note(f"compile {dispatcher.py_func.__name__}")
            return compile_one(dispatcher, signature)

        setattr(compiler.Dispatcher, "compile", compile_watched)  # noqa: B010 - mypy knows it as a method
        sys.meta_path.insert(0, self)
        self._watching = True

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Finds nothing: it is asked for every module that is not loaded yet."""
        self._note(f"import {name}")

    def add_answer(self, outcome: object) -> None:
        """Adds the outcome and who answered it."""
        solver = outcome.answer.solver if isinstance(outcome, Done | Degraded) else ""
        self.answers.append(f"{type(outcome).__name__} {solver}".strip())

    def report(self) -> None:
        """As JSON on stdout."""
        sys.stdout.write(json.dumps({"events": self.events, "answers": self.answers}) + "\n")

    def _note(self, what: str) -> None:
        if self._watching and asyncio._get_running_loop() is not None:
            self.events.append(what)


class TurnWatch:
    """Counts what happens within one callback of the running loop. most: in any of them."""

    def __init__(self) -> None:
        self.most = 0
        self._count = 0

    def note(self) -> None:
        """It happens now."""
        self._count += 1
        self.most = max(self.most, self._count)
        asyncio.get_running_loop().call_soon(self._begin_turn)

    def _begin_turn(self) -> None:
        self._count = 0


def subproblems(budget_ns: int, *sizes: int) -> list[Subproblem]:
    """Of these sizes; every second one has read-only arrays in Fortran order, and an int for its offset."""
    subproblems_made = []
    for place, n in enumerate(sizes):
        rng = np.random.default_rng(n)
        upper = np.triu(rng.normal(size=(n, n)), 1)
        quadratic, linear = upper + upper.T, rng.normal(size=n)
        if place % 2:
            quadratic = np.asfortranarray(quadratic)
            quadratic.setflags(write=False)
            linear.setflags(write=False)
        subproblems_made.append(Subproblem(quadratic, linear, 3 if place % 2 else 0.0, budget_ns=budget_ns))
    return subproblems_made
