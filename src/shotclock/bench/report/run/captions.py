"""What each chart says of itself: below it on the page, and to whoever cannot see it."""

from __future__ import annotations

OVERVIEW_LATENCY = (
    "What one call adds to a training iteration, by fabric, beside classical iterations. Percentiles appear "
    "only where there are enough samples; whiskers reach to the upper bound that gates use. Shaded are the "
    "ranges of the specification for mean, p95 and p99; the dotted line is its limit for the p95."
)
OVERVIEW_TRAINING = (
    "What each arm's training reached and how fast it went. Left: mean over seeds, the line from the least "
    "to the greatest. Right: training samples a second of the arm's own time."
)
TAIL = (
    "How slow the slowest calls are. Read upwards from a percentile: that share of an arm's calls took no "
    "longer than the curve's height. Whiskers at p50, p95 and p99 reach to the upper bound that gates "
    "look at; with too few calls for a bound there is none. Each curve ends where its sample size does "
    "(the slowest of n calls stands at 1 − 1/n), and where calls brought no samples it leaves by the top "
    "edge (arrow). Both axes are logarithmic."
)
DISTRIBUTION = (
    "How many calls had decoded samples within a time. The further left and the higher, the better; a "
    "curve that stops below 100 % missed the rest. The names tell the counts."
)
FABRICS = (
    "What each way to a QPU takes, on the same lines and one axis of time. Above, percentiles with their "
    "upper bounds and the ranges that the founding document expects; below, the mean of each stage, which "
    "add up to a mean call. Under each name stands how its p95 came out against 200 ms."
)
WATERFALL = (
    "What an average call waits for, stage after stage. Outlined is waiting that the emulation did on "
    "purpose, solid is software's own time. Thick bars block the training, thin ones pass while it goes "
    "on. A call that never reached a stage counts there as 0, so that the bars add up. Each panel has its "
    "own time scale."
)
LOSSES = (
    "What the training got for the time it spent. Left: the further left a curve falls, the sooner that "
    "arm learnt; right: the same by step, where waiting does not count. Lines are means over seeds, "
    "and over evaluations too near to be drawn apart; bands, left, go from the least to the greatest."
)
MONEY = (
    "What the training got for the money it spent: accelerator time and billed QPU time of one seed's run "
    "so far, at the settings' prices. The further left a curve falls, the cheaper that arm learnt; the "
    "names tell what the whole run cost. Lines are means over seeds, and over evaluations too near to be "
    "drawn apart; bands go from the least loss to the greatest."
)
SEEDS = (
    "Whether an arm learnt more than classical-only from the same start. Open dots are seeds, the first "
    "at the top; the filled mark is their mean, the line its 95 % interval. Left of 0 the arm's loss is "
    "lower. An interval across 0 settles nothing, and one seed has none."
)
BREAK_EVEN = (
    "What round trip and what price would make a quantum call worth its cost. In the shaded corner it "
    "costs no more than the classical answer of the control arm; thin lines are where that corner would "
    "end against slower classical solvers. The filled mark is this run at the settings' price; where "
    "overlap hides part of the round trip, an open mark shows all of it. Where a session bills the QPU by "
    "the clock, the bill grows with the round trip and the lines fall."
)
OVER_TIME = (
    "What a percentile hides: one stall is a stripe here, a slow start a slope. The stronger the ink, "
    "the more calls; calls without samples are in a strip above. Drawn is the arm with most calls of a QPU "
    "as it is; seeds lie over each other."
)
AMDAHL = (
    "How much faster the training could be at most if its calls were, everything else left as it is "
    "(Amdahl's law). A flat line says that calls hardly block this arm; a rising one what a nearer or "
    "quicker QPU would be worth."
)
