"""A kernel as it may come from a user: what it raises and returns is checked before anything uses it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from shotclock.domain import plugin
from shotclock.domain.delta import Delta, Proposal
from shotclock.domain.errors import DeltaError, RunError, SettingsError, ShotclockError, SubproblemError
from shotclock.domain.ports import Kernel
from shotclock.domain.subproblem import Bits, Subproblem
from shotclock.training.kernels.stateful import Stateful


class ValidatingKernel:
    """The same kernel; RunError or SubproblemError in one line where it breaks its promises.

    Raises SettingsError on what is no kernel at all.
    """

    def __init__(self, kernel: Kernel) -> None:
        if missing := plugin.find_missing(kernel, Kernel):
            raise SettingsError(
                f"kernel: {type(kernel).__name__} is no Kernel: it lacks {', '.join(missing)}"
            )
        self._kernel = kernel
        self.name = kernel.name

    def propose(self, base_version: int, budget_ns: int) -> Proposal:
        """See `Kernel.propose`."""
        with self._raising(f"propose on version {base_version}"):
            proposal = self._kernel.propose(base_version, budget_ns)
        if not isinstance(proposal, Proposal) or not isinstance(proposal.subproblem, Subproblem):
            raise RunError(
                f"kernel '{self.name}': propose returned {type(proposal).__name__}, not a Proposal"
            )
        self._same("base_version", proposal.subproblem.base_version, base_version)
        self._same("budget_ns", proposal.subproblem.budget_ns, budget_ns)
        return proposal

    def rebuild(self, proposal: Proposal, version: int) -> Subproblem:
        """See `Kernel.rebuild`."""
        with self._raising(f"rebuild on version {version}"):
            found = self._kernel.rebuild(proposal, version)
        if not isinstance(found, Subproblem):
            raise RunError(f"kernel '{self.name}': rebuild returned {type(found).__name__}, not a Subproblem")
        if found.n != proposal.subproblem.n:
            raise SubproblemError(
                "linear",
                f"kernel '{self.name}' proposed {proposal.subproblem.n} variables, rebuilt {found.n}",
            )
        return found

    def delta(self, proposal: Proposal, bits: Bits, version: int) -> Delta:
        """See `Kernel.delta`."""
        with self._raising(f"delta on version {version}"):
            found = self._kernel.delta(proposal, bits, version)
        if not isinstance(found, Delta):
            raise RunError(f"kernel '{self.name}': delta returned {type(found).__name__}, not a Delta")
        if found.base_version != version:
            raise RunError(f"kernel '{self.name}': delta.base_version is {found.base_version}, not {version}")
        return found

    def state_dict(self) -> dict[str, Any]:
        """What the kernel wants kept; nothing where it is not Stateful."""
        if not isinstance(self._kernel, Stateful):
            return {}
        with self._raising("state_dict"):
            return self._kernel.state_dict()

    def try_state(self, state: Mapping[str, Any]) -> None:
        """SettingsError where the kernel cannot go on from this state; it stays as it is."""
        held = self.state_dict()
        try:
            self.load_state_dict(state)
        except Exception as error:
            raise SettingsError(
                f"checkpoint: kernel '{self.name}' cannot go on from its state there "
                f"({type(error).__name__}: {error}); attach the kernel that it was written with"
            ) from error
        finally:
            self.load_state_dict(held)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Stateful`; for a state that was tried."""
        if isinstance(self._kernel, Stateful):
            self._kernel.load_state_dict(state)

    def _same(self, field: str, found: int, wanted: int) -> None:
        if found != wanted:
            raise SubproblemError(field, f"kernel '{self.name}' gave {found} where it was asked for {wanted}")

    @contextmanager
    def _raising(self, what: str) -> Iterator[None]:
        try:
            yield
        except DeltaError as error:
            raise RunError(f"kernel '{self.name}': {error}") from error
        except ShotclockError:
            raise
        except Exception as error:
            raise RunError(f"kernel '{self.name}': {what} raised {type(error).__name__}: {error}") from error
