"""Where the calls of an arm went, as `summary.json` holds it."""

from __future__ import annotations

from typing import Literal

from shotclock.bench.frozen import Frozen


class HostCalls(Frozen):
    """Calls of an arm that one host got. unanswered: those that did not reach it, or got no answer."""

    calls: int
    unanswered: int = 0


class Placement(Frozen):
    """Where the calls of an arm went that asks several hosts.

    policy: how the host of a call was chosen
    hosts: by HOST:PORT
    moves: changes of the chosen host, on failure or because an RTT changed; 0 unless the policy is rtt
    choices: the latest choices with their reasons, in order
    """

    policy: Literal["rtt", "round-robin", "random"]
    hosts: dict[str, HostCalls]
    moves: int
    choices: tuple[str, ...] = ()
