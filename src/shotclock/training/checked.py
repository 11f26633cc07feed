"""Wraps a kernel, possibly a user's: checks what it raises and returns before anything uses it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from shotclock.domain import plugin
from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.errors import DeltaError, KernelError, SettingsError, ShotclockError
from shotclock.domain.plural import with_article
from shotclock.domain.ports import Kernel, Workload
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.training.kernels.stateful import Stateful


def rehearse(workload: Workload, kernel: Kernel, name: str, n: int, budget_ns: int) -> None:
    """Makes a first proposal, and tries the delta of an answer that changes nothing, before a run needs them.

    name, n: the settings `kernel.name` and `kernel.n`. Raises SettingsError with the kernel's mistake.
    """
    validating = ValidatingKernel(kernel)
    try:
        proposal = validating.propose(0, budget_ns)
        variables = proposal.subproblem.n
        if variables > n:
            raise SettingsError(
                f"kernel.n: must be at least the {variables} variables that {name!r} proposes (got {n})"
            )
        validating.rebuild(proposal, 0)
        workload.probe(validating.delta(proposal, np.zeros(variables, np.uint8), 0))
    except (KernelError, DeltaError) as error:
        mistake = str(error).removeprefix(f"kernel '{kernel.name}': ")
        raise SettingsError(f"kernel.name: {name!r}: {mistake}") from error


class ValidatingKernel:
    """The same kernel; raises KernelError, in one line, if it violates its contract.

    Raises SettingsError on an object that is not a Kernel.
    """

    def __init__(self, kernel: Kernel) -> None:
        if missing := plugin.find_missing(kernel, Kernel):
            raise SettingsError(
                f"kernel: {type(kernel).__name__} is not a Kernel: it lacks {', '.join(missing)}"
            )
        self._kernel = kernel
        self.name = kernel.name

    def propose(self, base_version: int, budget_ns: int) -> Proposal:
        """See `Kernel.propose`."""
        with self._translate_errors(f"propose on version {base_version}"):
            proposal = self._kernel.propose(base_version, budget_ns)
        if not isinstance(proposal, Proposal):
            raise KernelError(
                f"kernel '{self.name}': propose returned {type(proposal).__name__}, not a Proposal"
            )
        if not isinstance(proposal.subproblem, Subproblem):
            what = with_article(type(proposal.subproblem).__name__)
            raise KernelError(f"kernel '{self.name}': Proposal.subproblem must be a Subproblem (got {what})")
        self._check_equal("base_version", proposal.subproblem.base_version, base_version)
        self._check_equal("budget_ns", proposal.subproblem.budget_ns, budget_ns)
        return proposal

    def rebuild(self, proposal: Proposal, version: int) -> Subproblem:
        """See `Kernel.rebuild`."""
        with self._translate_errors(f"rebuild on version {version}"):
            subproblem = self._kernel.rebuild(proposal, version)
        if not isinstance(subproblem, Subproblem):
            raise KernelError(
                f"kernel '{self.name}': rebuild returned {type(subproblem).__name__}, not a Subproblem"
            )
        if subproblem.n != proposal.subproblem.n:
            raise KernelError(
                f"kernel '{self.name}': proposed {proposal.subproblem.n} variables, rebuilt {subproblem.n}"
            )
        return subproblem

    def delta(self, proposal: Proposal, bits: Bits, version: int) -> Delta:
        """See `Kernel.delta`."""
        with self._translate_errors(f"delta on version {version}"):
            delta = self._kernel.delta(proposal, bits, version)
        if not isinstance(delta, Delta):
            raise KernelError(f"kernel '{self.name}': delta returned {type(delta).__name__}, not a Delta")
        if delta.base_version != version:
            raise KernelError(
                f"kernel '{self.name}': delta.base_version is {delta.base_version}, not {version}"
            )
        return delta

    def state_dict(self) -> dict[str, Any]:
        """The kernel's state for a checkpoint; empty if it is not Stateful."""
        if not isinstance(self._kernel, Stateful):
            return {}
        with self._translate_errors("state_dict"):
            return self._kernel.state_dict()

    def try_state(self, state: Mapping[str, Any]) -> None:
        """Raises SettingsError if the kernel cannot load this state; the kernel does not change."""
        before = self.state_dict()
        try:
            self.load_state_dict(state)
        except Exception as error:
            raise SettingsError(
                f"checkpoint: kernel '{self.name}' cannot load its state "
                f"({type(error).__name__}: {error}); attach the kernel that the checkpoint was written with"
            ) from error
        finally:
            self.load_state_dict(before)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Stateful`; for a state that `try_state` accepted."""
        if isinstance(self._kernel, Stateful):
            self._kernel.load_state_dict(state)

    def _check_equal(self, field: str, actual: int, expected: int) -> None:
        if actual != expected:
            raise KernelError(f"kernel '{self.name}': subproblem.{field} must be {expected} (got {actual})")

    @contextmanager
    def _translate_errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except ShotclockError as error:
            raise KernelError(f"kernel '{self.name}': {error}") from error
        except Exception as error:
            raise KernelError(
                f"kernel '{self.name}': {what} raised {plugin.describe_error(error)}"
            ) from error
