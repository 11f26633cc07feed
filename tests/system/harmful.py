"""A workload whose kernel asks for the opposite: the better its subproblems are solved, the worse."""

from __future__ import annotations

from dataclasses import replace

from shotclock.domain.delta import Proposal
from shotclock.domain.ports import Kernel
from shotclock.domain.subproblem import Subproblem
from shotclock.training.kernels.rounding import Rounding
from shotclock.training.loops import digits_mlp
from shotclock.training.loops.classifier import Classifier


def negate(subproblem: Subproblem) -> Subproblem:
    """The subproblem whose optimum is the worst answer of the given one."""
    return replace(
        subproblem, quadratic=-subproblem.quadratic, linear=-subproblem.linear, offset=-subproblem.offset
    )


class HarmfulRounding(Rounding):
    """Rounding with the sign of its energy reversed."""

    def propose(self, base_version: int, budget_ns: int) -> Proposal:
        proposal = super().propose(base_version, budget_ns)
        return replace(proposal, subproblem=negate(proposal.subproblem))

    def rebuild(self, proposal: Proposal, version: int) -> Subproblem:
        return negate(super().rebuild(proposal, version))


def build(seed: int) -> Classifier:
    """digits-quantized with that kernel, whichever is named."""
    workload = digits_mlp.DEEP.build_quantized(seed, batch=64, kernel="rounding")

    def make_kernel(name: str, n: int) -> Kernel:
        return HarmfulRounding(workload.model, workload.activations, n, seed)

    workload.kernel = make_kernel  # type: ignore[method-assign]
    return workload
