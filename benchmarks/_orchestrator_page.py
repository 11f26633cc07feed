"""The figures others read, and the section of docs/benchmarks.md."""

from __future__ import annotations

from dataclasses import dataclass

from _orchestrator_inprocess import CALL_EVERY, Beside, Sustained
from _orchestrator_paid import Durable
from _orchestrator_payload import Carried
from _orchestrator_series import BLOCKS, Rate, Series
from _orchestrator_system import BUDGET_NS, SHOTS, WIDTH, N
from _orchestrator_wire import WireResult

MIB = 1024 * 1024
MOST_WITHOUT = 0.01


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of the script."""

    awaited: Series
    unawaited: Series
    beside: Beside
    sustained: Sustained
    wired: WireResult
    durable: Durable
    carried: Carried

    @property
    def latencies(self) -> tuple[Series, ...]:
        """A row of the table each; a control stands under what it controls."""
        durable, wired = self.durable, self.wired
        return (
            self.awaited,
            self.unawaited,
            self.beside.calls,
            wired.solve,
            wired.echo,
            durable.paid,
            durable.free,
            durable.fsync,
            *self.carried.ways,
        )

    @property
    def rates(self) -> tuple[Rate, ...]:
        """A row each of the table of rates."""
        wired = self.wired
        of_batches = wired.batched, wired.beside_batched
        return self.sustained.rate, wired.rate, wired.echo_rate, *of_batches, self.durable.rate

    def check(self) -> None:
        """Refuses figures of a path that was not meant to be measured.

        A stall of the machine longer than the deadline ends calls without samples, and a few at once open
        the breaker: what is then timed is the fallback.
        """
        rows = [(latency.what, latency.without_samples, latency.n) for latency in self.latencies]
        rows += [(rate.what, rate.without_samples, rate.calls) for rate in self.rates]
        for what, without, calls in rows:
            if without > MOST_WITHOUT * calls:
                raise RuntimeError(
                    f"{what}: {without} of {calls} calls ended without samples; "
                    f"run it again when nothing else uses the machine"
                )


def metrics(measured: Measured) -> dict[str, float]:
    """Without those percentiles that have too few samples."""
    wired, durable, sustained = measured.wired, measured.durable, measured.sustained
    figures = {
        **_percentiles("inprocess_overhead", measured.awaited),
        **_percentiles("inprocess_from_thread", measured.unawaited),
        **_percentiles("inprocess_overhead_while_training", measured.beside.calls),
        **_percentiles("grpc_mtls_overhead", wired.solve),
        **_percentiles("grpc_echo", wired.echo),
        **_percentiles("paid_overhead", durable.paid),
        **_percentiles("free_beside_paid", durable.free),
        **_percentiles("bare_fsync", durable.fsync),
        "sustained_calls_per_s": sustained.rate.per_s,
        "sustained_cpu_us_a_call": sustained.cpu_us,
        "rss_growth_bytes": float(sustained.growth_bytes),
        "grpc_mtls_calls_per_s": wired.rate.per_s,
        "grpc_batched_calls_per_s": wired.batched.per_s,
        "inprocess_calls_per_s_beside_batched": wired.beside_batched.per_s,
        "grpc_batched_ratio": wired.batched_ratio,
        "grpc_echo_per_s": wired.echo_rate.per_s,
        "grpc_codec_us": wired.messages.codec_us,
        "paid_calls_per_s": durable.rate.per_s,
        "training_step_alone_ms": measured.beside.step_alone_ms,
        "training_step_beside_calls_ms": measured.beside.step_beside_ms,
    }
    return {key: value for key, value in figures.items() if value is not None}


def _percentiles(key: str, series: Series) -> dict[str, float | None]:
    return {
        f"{key}_p50_ms": series.quantile_ms(0.5),
        f"{key}_p95_ms": series.quantile_ms(0.95),
        f"{key}_p99_ms": series.quantile_ms(0.99),
    }


def markdown(measured: Measured) -> list[str]:
    """The section of the page."""
    return [
        "## The orchestrator",
        "",
        *_inside(measured),
        "",
        "| way | p50 | p95 | p99 | p99, upper bound | p99, worst block | calls | without samples |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(series) for series in measured.latencies),
        "",
        *_rates(measured),
        "",
        _training(measured.beside),
        "",
        _same_host(measured),
        "",
        PUBLISHED,
    ]


def _inside(measured: Measured) -> list[str]:
    wired = measured.wired
    return [
        "What a call costs without the QPU: the provider is scripted and answers at once (no QPU, no "
        f"emulation). Included are admission, the classical answer and the race against it, the warm "
        f"template's binding at n = {N}, submit, collect, decoding of {SHOTS} random shots, deadlines "
        f"({BUDGET_NS / 1e6:.0f} ms), metrics, and the scripted provider's own task. Every call is a "
        f"separate job: nothing is packed. Over gRPC the orchestrator is another process, the request has "
        f"{wired.messages.request_bytes} bytes and the answer, which holds every distinct sample, "
        f"{wired.messages.answer_bytes}.",
        "",
        f"One call at a time (SingleStream), milliseconds; {BLOCKS} blocks, interleaved where they are "
        "compared: the two ways in process; gRPC and echo; paid, free and bare fsync; the bare "
        "round trips. Percentiles with too few calls are left out.",
    ]


def _row(series: Series) -> str:
    values = (
        *(series.quantile_ms(quantile) for quantile in (0.5, 0.95, 0.99)),
        series.upper_bound_ms(0.99),
        series.worst_ms(0.99),
    )
    cells = " | ".join("too few" if value is None else f"{value:.3f}" for value in values)
    return f"| {series.what} | {cells} | {series.n} | {series.without_samples} |"


def _rates(measured: Measured) -> list[str]:
    sustained = measured.sustained
    wired = measured.wired
    return [
        f"| {WIDTH} calls in flight (Offline) | calls a second | calls | without samples |",
        "|---|---|---|---|",
        *(
            f"| {rate.what} | {rate.per_s:.0f} | {rate.calls} | {rate.without_samples} |"
            for rate in measured.rates
        ),
        "",
        f"Over gRPC, batches reach {wired.batched_ratio:.2f} of the calls a second in process, with which"
        f" they took turns (asked: 0.9); the service's queue takes two batches.{_over_echo(wired)}"
        " Where the time goes: [decision](decisions/2026-11-30-time-of-a-call.md).",
        "",
        f"In process such a call takes {sustained.cpu_us:.0f} µs of processor time, and resident memory grew "
        f"by {sustained.growth_bytes / MIB:.2f} MiB after a warm-up of a fifth as many.",
    ]


def _over_echo(wired: WireResult) -> str:
    single, echo = wired.solve.quantile_ms(0.5), wired.echo.quantile_ms(0.5)
    if single is None or echo is None:
        return ""
    return f" A single call takes {single / echo:.2f} times the echo, medians (asked: 1.6)."


def _training(beside: Beside) -> str:
    return (
        f"During training: the main thread takes optimizer steps of digits-mlp (torch, one thread) and makes "
        f"a call every {CALL_EVERY} steps, or as soon after as the previous call has ended; a latency ends "
        f"when the outcome arrives. A step takes {beside.step_alone_ms:.2f} ms alone and "
        f"{beside.step_beside_ms:.2f} ms with calls in flight, medians."
    )


def _same_host(measured: Measured) -> str:
    carried, wired = measured.carried, measured.wired
    return (
        f"On one host: copying the request into shared memory takes {carried.copy_us:.2f} µs, all four "
        f"steps of the codec {wired.messages.codec_us:.0f} µs a call; the round trips above carry the same "
        f"bytes between two processes with nothing else done."
    )


PUBLISHED = (
    "Published elsewhere, measured by others on other machines and with other work inside: CONQURE, 12.7 ms "
    "mean orchestration overhead a call (arXiv 2505.02241); Pilot-Quantum, 93.9 tasks a second at best (the "
    "benchmark CSV of its repository). Neither publishes percentiles."
)
