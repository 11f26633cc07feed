"""Which calls may leave for which provider and region; what no rule names may leave."""

from __future__ import annotations

from dataclasses import dataclass

ANY = "*"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the jobs of a quantum path are run.

    provider: the provider's name.
    region: the vendor's region; "" where it is not known, or the vendor has only one.
    """

    provider: str
    region: str = ""

    def __str__(self) -> str:
        return f"{self.provider}/{self.region}" if self.region else self.provider


@dataclass(frozen=True, slots=True)
class DataRule:
    """Calls, and where they may go.

    kernels: the kernels' names, `user_circuit` for user circuits; ("*",) is each.
    clients: the names in the callers' certificates, "" for calls without one; ("*",) is each.
    destinations: `provider` in any region, `provider/region`, or "*"; none keeps the calls here.
    """

    kernels: tuple[str, ...] = (ANY,)
    clients: tuple[str, ...] = (ANY,)
    destinations: tuple[str, ...] = ()

    def is_about(self, kernel: str, client: str) -> bool:
        """Whether the rule decides for this call."""
        return _is_in(kernel, self.kernels) and _is_in(client, self.clients)

    def allows(self, destination: Destination) -> bool:
        """An unknown region is never one that a rule names."""
        names = {ANY, destination.provider, str(destination)}
        return bool(names.intersection(self.destinations))


@dataclass(frozen=True, slots=True)
class DataPolicy:
    """The rules, in the order in which they are asked, and the one destination of a path."""

    rules: tuple[DataRule, ...] = ()
    destination: Destination = Destination("")

    def find_refusal(self, kernel: str, client: str) -> str:
        """The place of the rule that keeps the call, by the first rule about it; "" where it may leave."""
        for number, rule in enumerate(self.rules):
            if rule.is_about(kernel, client):
                return "" if rule.allows(self.destination) else f"data_policy[{number}]"
        return ""


ANYWHERE = DataPolicy()


def _is_in(name: str, names: tuple[str, ...]) -> bool:
    return ANY in names or name in names
