"""The charts' captions and alternative texts."""

from __future__ import annotations

OVERVIEW_LATENCY = (
    "The latency that one call adds to a training iteration, by fabric, and classical iterations for "
    "comparison. Percentiles appear only with enough samples; whiskers reach to the upper bound that gates "
    "use. Shaded ranges are the specification's for mean, p95 and p99; the dotted line is its limit for p95."
)
OVERVIEW_TRAINING = (
    "The held-out loss that each arm reached, and its speed. Left: mean over seeds, with a line from the "
    "lowest to the highest. Right: training samples per second of the arm's time, on a line from "
    "classical-only's; the text adds iterations per second, the device, and whether training waits for calls "
    "(inline) or continues meanwhile (overlapped)."
)
TAIL = (
    "How slow the slowest calls are. Read upwards from a percentile: that share of an arm's calls took no "
    "longer than the curve's height. Whiskers at p50, p95 and p99 reach to the upper bound that gates "
    "use; too few calls have no bound. Each curve ends at its sample size (the slowest of n calls is at "
    "1 − 1/n), and calls without samples take it beyond the top edge (arrow). Both axes are logarithmic."
)
DISTRIBUTION = (
    "How many calls had decoded samples within a time. The further left and the higher, the better; a "
    "curve that stops below 100 % missed the rest. The names include the counts."
)
FABRICS = (
    "The latency of each fabric on one time axis. Above: percentiles with their upper bounds and the "
    "reference ranges; below: the mean of each stage, which add up to a mean call. Under each name is the "
    "result of its p95 against 200 ms."
)
WATERFALL = (
    "The stages of an average call. Outlined bars are emulated waits, solid bars are software time. Thick "
    "bars block the training, thin ones overlap it. A call that never reached a stage counts there as 0, so "
    "that the bars add up. The panels have different time scales."
)
LOSSES = (
    "The held-out loss against time. Left: the further left a curve falls, the sooner that arm learnt; "
    "right: the same by step, without waiting. Lines are means over seeds, and over evaluations too close to "
    "draw separately; bands (left) go from the lowest to the highest."
)
MONEY = (
    "The held-out loss against money: accelerator time and billed QPU time of one seed's run "
    "so far, at the settings' prices. The further left a curve falls, the cheaper that arm learnt; the "
    "names include the cost of the whole run. Lines are means over seeds, and over evaluations too close to "
    "draw separately; bands go from the lowest loss to the highest."
)
SEEDS = (
    "Whether an arm learnt more than classical-only from the same start. Open dots are seeds, the first "
    "at the top; the filled mark is their mean, the line its 95 % interval. Left of 0 the arm's loss is "
    "lower. An interval across 0 is inconclusive; one seed has no interval."
)
BREAK_EVEN = (
    "The round trips and prices at which a quantum call is worth its cost. In the shaded corner it costs no "
    "more than the classical answer of the control arm; thin lines bound that corner for slower classical "
    "solvers. The filled mark is this run at the settings' price; if overlap hides part of the round trip, "
    "an open mark shows all of it. If a session bills the QPU by the clock, the bill grows with the round "
    "trip and the lines fall."
)
OVER_TIME = (
    "What a percentile hides: a stall is a stripe here, a slow start a slope. Darker cells have more calls; "
    "calls without samples are in the strip above. The chart shows the unprotected arm with the most QPU "
    "calls, all seeds together."
)
AMDAHL = (
    "The largest possible speed-up of the training if only its calls became faster (Amdahl's law). A flat "
    "line means that calls hardly block this arm; a rising one shows what a closer or faster QPU would gain."
)
