"""Refusals that do not depend on load: by the data policy, by a flag, by the device's width."""

from __future__ import annotations

from shotclock.domain.data_policy import DataPolicy
from shotclock.domain.flags import SHOTS, USER_CIRCUIT, FlagDecision, FlagRequest, limit_of
from shotclock.domain.outcome import DATA_POLICY, MAX_QUBITS, Rejection
from shotclock.domain.ports import Flags
from shotclock.orchestrator.call_log import log_kept


def keep_data(data: DataPolicy, request_id: str, kernel: str, caller: str) -> Rejection | None:
    """By the data policy, before anything of the call is compiled, cached or sent."""
    if not (rule := data.find_refusal(kernel, caller)):
        return None
    destination = str(data.destination)
    log_kept(request_id, caller, kernel, destination, rule)
    return Rejection(DATA_POLICY, 0, 1, f"calls allowed to leave for {destination} by {rule}", 0.0)


def refuse_by_flags(flags: Flags, request_id: str, caller: str, shots: int) -> Rejection | None:
    """Before a user circuit is compiled; it runs with its shots or not at all."""
    decision = flags.decide(FlagRequest.of(request_id, USER_CIRCUIT, caller))
    if decision.kept_by:
        return refuse_by_flag(decision)
    if shots <= decision.most_shots:
        return None
    return Rejection(limit_of(SHOTS), decision.most_shots, shots, "shots", 0.0)


def refuse_by_flag(decision: FlagDecision) -> Rejection:
    """By a flag that keeps calls from the QPU."""
    return Rejection(limit_of(decision.kept_by), 0, 1, "calls allowed on the QPU by this flag", 0.0)


def refuse_width(most_qubits: int, n: int) -> Rejection | None:
    """Before anything is compiled for what the provider would refuse."""
    return None if n <= most_qubits else Rejection(MAX_QUBITS, most_qubits, n, "variables", 0.0)
