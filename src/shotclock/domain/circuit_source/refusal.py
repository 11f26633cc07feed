"""The one line in which a source over a limit is refused."""

from __future__ import annotations

from dataclasses import dataclass

from shotclock.domain.circuit_limits import CircuitLimits
from shotclock.domain.errors import CircuitError

UNCOUNTED = 10**15
"""From here on the number itself says nothing more."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Holds what is counted against the limits, and says where in the text it was counted.

    text: of the program; "" of a QPY file, in which places have no line.
    """

    limits: CircuitLimits
    text: str = ""

    def check(self, key: str, present: int, what: str, at: int = 0) -> None:
        """Raises CircuitError where there is more of it than `circuits.limits` allows."""
        limit = getattr(self.limits, key)
        if present > limit:
            number = "far too many" if present >= UNCOUNTED else str(present)
            fix = f"at most {limit}; see circuits.limits.{key}"
            raise CircuitError(key, f"{self._where(at)}{number} {what}, {fix}")

    def check_qubits(self, qubits: int, at: int = 0) -> None:
        """Raises CircuitError where the device has fewer; an unknown width is left to the worker."""
        limits = self.limits
        if limits.qubits and qubits > limits.qubits:
            number = "far too many" if qubits >= UNCOUNTED else str(qubits)
            raise CircuitError(
                "qubits", f"{self._where(at)}{number} qubits, {limits.device} has {limits.qubits}"
            )

    def syntax(self, what: str, at: int = 0) -> CircuitError:
        """The error of a source that no reader could take."""
        return CircuitError("source", f"{self._where(at)}{what}")

    def _where(self, at: int) -> str:
        if not self.text:
            return ""
        line = self.text.count("\n", 0, at) + 1
        return f"line {line}, column {at - self.text.rfind(chr(10), 0, at)}: "
