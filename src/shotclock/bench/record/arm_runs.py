"""The compared ways of a run, by name, and the figures each of them makes."""

from __future__ import annotations

from dataclasses import dataclass

from shotclock.domain.stages import Stage

BASELINE = "classical-only"
CONTROL = "classical-control"
LONGER = "classical-longer"
RAW = "quantum-raw"
PROTECTED = "-protected"
HYBRID = "hybrid-"
HOSTS = "hosts"
"""In the place of a profile: `hybrid-hosts` calls the orchestrators of `bench.hosts`."""
SOLVERS = {
    "classical-magnitude": "magnitude",
    "classical-random": "random",
    "classical-perturbed-greedy": "perturbed-greedy",
    "classical-greedy": "greedy",
}
"""The arms whose calls a weaker solver answers, by the solver's name (`solvers.control_ladder`)."""

LATENCIES = ("added_latency", "quantum_latency", *(str(stage) for stage in Stage))
RATIOS = ("quantum_share", "deadline_hit_ratio")
CLASSES = ("qpu", "cache_hit", "fallback", "rejected")
PARTS = ("software", "emulated_wait")


@dataclass(frozen=True, slots=True)
class Arm:
    """What a name stands for.

    name: the arm.
    calls: asks at all.
    quantum: asks a QPU.
    race: sets a classical candidate beside the samples.
    protected: the real budget with every protection on.
    profile: name of its latency profile; None is the settings' own.
    as_long_as: the arm whose time each of its iterations spends on plain steps; None is one step.
    solver: name of the solver that answers its calls; "" is the strongest, exact or tabu.
    """

    name: str
    calls: bool
    quantum: bool
    race: bool
    protected: bool
    profile: str | None
    as_long_as: str | None = None
    solver: str = ""


def parse(name: str, profiles: tuple[str, ...]) -> Arm | None:
    """The arm of a name, None if no arm has it; `hybrid-<profile>` exists for each known profile."""
    if name == BASELINE:
        return Arm(name, calls=False, quantum=False, race=False, protected=False, profile=None)
    if name == CONTROL or name in SOLVERS:
        solver = SOLVERS.get(name, "")
        return Arm(name, calls=True, quantum=False, race=True, protected=False, profile=None, solver=solver)
    if name == LONGER:
        return Arm(
            name, calls=False, quantum=False, race=False, protected=False, profile=None, as_long_as=CONTROL
        )
    if name == RAW:
        return Arm(name, calls=True, quantum=True, race=False, protected=False, profile=None)
    protected = name.endswith(PROTECTED)
    profile = name.removeprefix(HYBRID).removesuffix(PROTECTED)
    if name.startswith(HYBRID) and profile in profiles:
        return Arm(name, calls=True, quantum=True, race=True, protected=protected, profile=profile)
    return None


def list_arms(profiles: tuple[str, ...]) -> tuple[str, ...]:
    """Every arm name there is."""
    hybrids = (f"{HYBRID}{profile}{suffix}" for profile in profiles for suffix in ("", PROTECTED))
    return (BASELINE, CONTROL, LONGER, RAW, *SOLVERS, *hybrids)


def figures(arm: Arm) -> tuple[str, ...]:
    """The latency and ratio figures that calls of this arm fill; others stay without a sample."""
    if not arm.calls:
        return (str(Stage.TOTAL_ITERATION_TIME),)
    if not arm.quantum:
        classical = (Stage.PROPOSE, Stage.POSTPROC_TIME, Stage.APPLY, Stage.TOTAL_ITERATION_TIME)
        return ("added_latency", *(str(stage) for stage in classical), "deadline_hit_ratio")
    return (*LATENCIES, *RATIOS)
