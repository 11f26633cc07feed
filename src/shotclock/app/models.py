"""What a notebook hands to `shotclock.solve`, as a subproblem, and the answer's bits in its own terms.

A dimod model of either vartype; a constrained one, whose constraints become penalties; a graph of networkx or
rustworkx, whose largest cut is looked for. A package is imported only by who has an object of it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from shotclock.domain.errors import SubproblemError
from shotclock.domain.subproblem import MAX_VARIABLES, Bits, Subproblem

Label = Hashable
Sample = dict[Label, int]
ROUNDING = 1e-9
"""A constraint that is missed by no more holds."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model as a subproblem.

    kind: what it was, in words.
    subproblem: to be minimised; its energy is the model's, plus the penalties of a constrained one.
    read: the value of each of the model's own variables, of an answer's bits.
    objective: the model's own value of those.
    violations: of each violated constraint, by its label and amount.
    penalties: the weight of each constraint's penalty, by its label; none without constraints.
    """

    kind: str
    subproblem: Subproblem
    read: Callable[[Bits], Sample]
    objective: Callable[[Sample], float]
    violations: Callable[[Sample], dict[Label, float]] = lambda sample: {}  # noqa: ARG005
    penalties: Mapping[Label, float] = field(default_factory=dict)


def read_model(model: object, penalty: float | None = None) -> Model:
    """Raises SubproblemError on what is not such a model, has too many variables, or cannot be penalised.

    penalty: the weight of each constraint's penalty; None is a weight above all that the objective can gain.
    """
    if penalty is not None and not (isinstance(penalty, Real) and 0.0 < penalty < math.inf):
        raise SubproblemError("penalty", f"must be a finite number above 0 (got {penalty!r})")
    if isinstance(model, Subproblem):
        return _from_subproblem(model)
    if (dimod := sys.modules.get("dimod")) is not None:
        if isinstance(model, dimod.BinaryQuadraticModel):
            return _from_bqm(model)
        if isinstance(model, dimod.ConstrainedQuadraticModel):
            return _from_cqm(model, penalty)
    if (networkx := sys.modules.get("networkx")) is not None and isinstance(model, networkx.Graph):
        if model.is_directed():
            raise SubproblemError("graph", "must be undirected for MaxCut; pass graph.to_undirected()")
        return _cut("networkx graph", list(model.nodes), model.edges(data="weight", default=1.0))
    if (rustworkx := sys.modules.get("rustworkx")) is not None:
        if isinstance(model, rustworkx.PyGraph):
            return _cut("rustworkx graph", list(model.node_indices()), model.weighted_edge_list())
        if isinstance(model, rustworkx.PyDiGraph):
            raise SubproblemError("graph", "must be undirected for MaxCut; pass graph.to_undirected()")
    raise SubproblemError(
        "model",
        "must be a dimod BinaryQuadraticModel or ConstrainedQuadraticModel, a networkx or rustworkx graph, "
        f"or a shotclock Subproblem (got {type(model).__name__})",
    )


def _from_subproblem(subproblem: Subproblem) -> Model:
    def objective(sample: Sample) -> float:
        import numpy as np  # noqa: PLC0415 - Subproblem has imported it

        return subproblem.energy(np.array([sample[index] for index in range(subproblem.n)], np.uint8))

    return Model("subproblem", subproblem, lambda bits: dict(enumerate(bits.tolist())), objective)


def _from_bqm(bqm: Any) -> Model:
    _check_size(bqm.num_variables, "")
    return Model(
        f"{bqm.vartype.name} model",
        Subproblem.from_bqm(bqm),
        lambda bits: Subproblem.sample(bqm, bits),
        lambda sample: float(bqm.energy(sample)),
    )


def _from_cqm(cqm: Any, penalty: float | None) -> Model:
    from dimod import cqm_to_bqm  # noqa: PLC0415 - who has a model has imported it

    for label, constraint in cqm.constraints.items():
        if constraint.lhs.is_soft():
            raise SubproblemError(
                "cqm",
                f"constraint {label!r} is soft; make it hard, or add its penalty to the objective",
            )
    try:
        if penalty is None:
            penalty = _outweigh(cqm_to_bqm(cqm, lagrange_multiplier=0.0)[0])
        bqm, invert = cqm_to_bqm(cqm, lagrange_multiplier=float(penalty))
    except (ValueError, RuntimeError) as error:
        raise SubproblemError(
            "cqm", f"its constraints cannot become penalties: {' '.join(str(error).split())}"
        ) from error
    added = bqm.num_variables - len(cqm.variables)
    _check_size(bqm.num_variables, f", {added} of them for integers and slack" if added else "")
    return Model(
        "constrained model",
        Subproblem.from_bqm(bqm),
        lambda bits: dict(invert(Subproblem.sample(bqm, bits))),
        lambda sample: float(cqm.objective.energy(sample)),
        lambda sample: _find_violations(cqm, sample),
        dict.fromkeys(cqm.constraints, float(penalty)),
    )


def _find_violations(cqm: Any, sample: Sample) -> dict[Label, float]:
    amounts = cqm.violations(sample).items()
    return {label: float(amount) for label, amount in amounts if amount > ROUNDING}


def _outweigh(objective: Any) -> float:
    """More than any two values of the objective differ by, so that no violation by 1 or more pays."""
    binary = objective.binary
    biases = [*binary.linear.values(), *binary.quadratic.values()]
    return 1.0 + math.fsum(abs(bias) for bias in biases)


def _cut(kind: str, nodes: list[Label], edges: Iterable[tuple[Label, Label, object]]) -> Model:
    """The partition that maximises the weight of the edges between its sides is the minimum of −cut."""
    from dimod import BinaryQuadraticModel  # noqa: PLC0415 - only who has a graph pays for it

    _check_size(len(nodes), "")
    weighted = [(u, v, _read_weight(u, v, weight)) for u, v, weight in edges]
    bqm = BinaryQuadraticModel("BINARY")
    for node in nodes:
        bqm.add_linear(node, 0.0)
    for u, v, weight in weighted:
        if u != v:  # both ends of a loop are on one side
            bqm.add_linear(u, -weight)
            bqm.add_linear(v, -weight)
            bqm.add_quadratic(u, v, 2.0 * weight)
    return Model(
        kind,
        Subproblem.from_bqm(bqm),
        lambda bits: Subproblem.sample(bqm, bits),
        lambda sample: math.fsum(weight for u, v, weight in weighted if sample[u] != sample[v]),
    )


def _read_weight(u: Label, v: Label, weight: object) -> float:
    """Of an edge; one without a weight counts 1."""
    if weight is None:
        return 1.0
    if isinstance(weight, bool) or not isinstance(weight, Real) or not math.isfinite(weight):
        raise SubproblemError(
            "graph", f"the weight of edge {u!r}, {v!r} must be a finite number (got {weight!r})"
        )
    return float(weight)


def _check_size(variables: int, which: str) -> None:
    if not 1 <= variables <= MAX_VARIABLES:
        raise SubproblemError("model", f"must have 1 to {MAX_VARIABLES} variables (got {variables}{which})")
