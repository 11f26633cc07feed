"""`shotclock load`: a load test of an orchestrator, by MLPerf's scenarios."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from shotclock.cli.exit_codes import INCONCLUSIVE, INTERRUPTED, RUN_FAILED, THRESHOLD_FAILED
from shotclock.cli.operator import read_security, split_hosts
from shotclock.cli.streams import echo_json

if TYPE_CHECKING:
    from rich.console import Console

    from shotclock.app.load import LoadJob, RemoteTarget
    from shotclock.app.placed import PlacementName
    from shotclock.bench.load.circuit import CircuitFile
    from shotclock.bench.load.records import CallRecord
    from shotclock.bench.load.schema import LoadSummary
    from shotclock.bench.record.folder import RunFolder
    from shotclock.settings import Settings


def load(
    *,
    scenario: Annotated[
        Literal["single-stream", "multi-stream", "server", "offline"],
        typer.Option(help="MLPerf's; server is open load: calls do not wait for earlier ones."),
    ] = "server",
    rate: Annotated[
        float, typer.Option(help="Calls per second of server; of offline, with --duration, how many.")
    ] = 20,
    duration: Annotated[float, typer.Option(help="Seconds a run.")] = 60,
    target: Annotated[
        str | None, typer.Option(help="A running orchestrator, HOST:PORT; without it, one is started.")
    ] = None,
    hosts: Annotated[
        str | None, typer.Option(metavar="HOST:PORT,…", help="Several orchestrators; calls are placed.")
    ] = None,
    placement: Annotated[
        Literal["rtt", "round-robin", "random"],
        typer.Option(help="How the host of a call is chosen among --hosts; two are there to compare."),
    ] = "rtt",
    deadline_ms: Annotated[
        float | None, typer.Option(help="Each call's budget (default: quantum.budget_ms).")
    ] = None,
    count: Annotated[
        Literal["quantum", "any"],
        typer.Option(help="Which answers meet the deadline: samples of the QPU, or any."),
    ] = "quantum",
    runs: Annotated[int, typer.Option(min=1, max=100, help="Independent runs; 5 for a claim.")] = 1,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Search the highest rate that meets the deadline.")
    ] = False,
    n: Annotated[
        int | None,
        typer.Option(
            min=2, max=256, help="Variables per subproblem, up to the device's width (default: kernel.n)."
        ),
    ] = None,
    batch: Annotated[
        int, typer.Option(help="Subproblems in one request, all due at its instant; each is a call.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Random seed for arrivals and subproblems.")] = 0,
    circuit: Annotated[
        Path | None, typer.Option(help="Run a user circuit, OpenQASM 3 or QPY, instead of subproblems.")
    ] = None,
    value: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NUMBER", help="A parameter of --circuit; repeated.")
    ] = None,
    observable: Annotated[
        list[str] | None,
        typer.Option(metavar="SUM", help='Measure its expectation, such as "0.5*ZZ - XI"; repeated.'),
    ] = None,
    observables: Annotated[
        Path | None, typer.Option(help="A file of them, one a line; --circuit then has no measurements.")
    ] = None,
    shots: Annotated[int | None, typer.Option(help="Shots of --circuit (default: quantum.shots).")] = None,
    profile: Annotated[
        str | None, typer.Option(help="Latency profile of an orchestrator started here.")
    ] = None,
    clock: Annotated[
        Literal["wall", "virtual"], typer.Option(help="virtual: account emulated waits, skip them.")
    ] = "wall",
    certificate: Annotated[Path | None, typer.Option(help="Own certificate for --target, PEM.")] = None,
    private_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    authorities: Annotated[
        Path | None, typer.Option(help="Who signed the target's certificate, PEM.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file (TOML).")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Keep load.json, calls and the report in this new folder.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="An inconclusive result exits 5.")] = False,
    json: Annotated[bool, typer.Option("--json", help="load.json on stdout, progress on stderr.")] = False,
) -> None:
    """Issue calls at scheduled instants and report their tail latency, measured from those instants.

    Exit codes: 0 the deadline was met (or the result is inconclusive), 2 usage or settings, 3 environment, 4
    the measurement is invalid, 5 inconclusive under --strict, 99 the deadline was missed, 130 interrupted.
    """
    from rich.console import Console  # noqa: PLC0415 - `--help` must not wait for it

    from shotclock.app.check_names import check_names  # noqa: PLC0415
    from shotclock.app.load import LoadJob  # noqa: PLC0415
    from shotclock.bench.load.arrivals import ArrivalPlan, Scenario  # noqa: PLC0415
    from shotclock.bench.load.folder import write_load  # noqa: PLC0415
    from shotclock.bench.record.folder import RunFolder  # noqa: PLC0415
    from shotclock.bench.report.load.page import write_load_report  # noqa: PLC0415
    from shotclock.bench.report.load.wording import show_load  # noqa: PLC0415
    from shotclock.domain.errors import SettingsError  # noqa: PLC0415
    from shotclock.settings import LONGEST_MS, SHORTEST_MS  # noqa: PLC0415
    from shotclock.settings import load as load_settings  # noqa: PLC0415

    settings = load_settings(config, {"quantum": {"profile": profile}} if profile is not None else {})
    check_names(config, settings)
    budget_ms = settings.quantum.budget_ms if deadline_ms is None else deadline_ms
    if not SHORTEST_MS <= budget_ms <= LONGEST_MS:
        raise SettingsError(
            f"--deadline-ms: must be from {SHORTEST_MS:g} to {LONGEST_MS:.0f} ms (got {budget_ms:g})"
        )
    plan = ArrivalPlan(
        Scenario(scenario),
        rate,
        duration,
        round(budget_ms * 1e6),
        n or settings.kernel.n,
        seed,
        batch=batch,
    )
    targets = _targets(target, hosts)
    elsewhere = _elsewhere(targets, placement, certificate, private_key, authorities)
    own = _circuit(circuit, value or [], shots, settings, observable or [], observables)
    for flag, is_given in (("--n", n is not None), ("--batch", batch != 1)):
        if own is not None and is_given:
            raise SettingsError(
                f"{flag}: is of subproblems, and --circuit asks none; leave one of the two out"
            )
    job = LoadJob(plan, count, runs, sweep, clock, elsewhere, own)
    _refuse(job)
    folder = RunFolder.create(out) if out is not None else None
    summary, calls = _run(settings, job, folder, Console(stderr=True))
    try:
        if json:
            echo_json(summary.model_dump_json(indent=2, by_alias=True))
        else:
            show_load(summary, Console())
    finally:  # the figures are seen though the disk be full, and kept though their reader has left
        if folder is not None:
            write_load(summary, calls, folder.path)
            page = write_load_report(summary, calls, folder.path)
    if folder is not None:
        typer.echo(f"\nReport: {page}", err=json)
    if code := exit_code(summary, strict):
        typer.echo(f"shotclock: {_failure(summary)}; exit code {code}", err=True)
    raise typer.Exit(exit_code(summary, strict))


def _failure(summary: LoadSummary) -> str:
    """Why the command fails, with the run that is quoted."""
    from shotclock.bench.report.load.wording import headline  # noqa: PLC0415

    reason = headline(summary).rstrip(".")
    return f"interrupted: {reason}" if summary.status == "interrupted" else reason


def _run(
    settings: Settings, job: LoadJob, folder: RunFolder | None, console: Console
) -> tuple[LoadSummary, list[CallRecord]]:
    """The load test; where it never began, its folder goes again."""
    from shotclock.app.load import LoadProgress, run  # noqa: PLC0415
    from shotclock.bench.report.load.wording import run_line  # noqa: PLC0415

    progress = LoadProgress(
        phase=lambda text: console.print(text, style="dim", markup=False, highlight=False),
        ran=lambda plan, rate_run: console.print(
            run_line(plan.rate_per_s if plan.open_loop else rate_run.achieved_per_s, rate_run),
            markup=False,
            highlight=False,
        ),
    )
    began = False
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a job's end keeps what has run, too
    try:
        summary = run(settings, job, progress)
        began = True
    except KeyboardInterrupt:
        typer.echo("shotclock: interrupted before the first call; nothing was kept", err=True)
        raise typer.Exit(INTERRUPTED) from None
    finally:
        if folder is not None and not began:
            folder.discard_if_empty()
    return summary


def exit_code(summary: LoadSummary, strict: bool) -> int:
    """See `load`: by the worst run, or by the knee of a sweep."""
    from shotclock.bench.schema import Result  # noqa: PLC0415

    if summary.status == "interrupted":
        return INTERRUPTED
    if summary.knee is not None and summary.knee.met_per_s is not None:
        return 0
    if summary.knee is not None and any(not run.faults for run in summary.runs):
        return THRESHOLD_FAILED
    if any(run.faults for run in summary.runs):
        return RUN_FAILED
    results = {run.result for run in summary.runs}
    if Result.FAIL in results:
        return THRESHOLD_FAILED
    return INCONCLUSIVE if strict and Result.INCONCLUSIVE in results else 0


def _targets(target: str | None, hosts: str | None) -> tuple[str, ...]:
    from shotclock.domain.errors import SettingsError  # noqa: PLC0415

    if target is not None and hosts is not None:
        raise SettingsError("--target, --hosts: name one orchestrator or several; leave one of the two out")
    if hosts is None:
        return () if target is None else (target,)
    return split_hosts(hosts)


def _elsewhere(
    targets: tuple[str, ...],
    placement: PlacementName,
    certificate: Path | None,
    private_key: Path | None,
    authorities: Path | None,
) -> RemoteTarget | None:
    from shotclock.app.load import RemoteTarget  # noqa: PLC0415
    from shotclock.domain.errors import SettingsError  # noqa: PLC0415
    from shotclock.wire.tls import Insecure  # noqa: PLC0415

    security = read_security(certificate, private_key, authorities)
    if not targets and not isinstance(security, Insecure):
        raise SettingsError(
            "--certificate: is for --target; an orchestrator started here is asked on loopback"
        )
    return RemoteTarget(targets, security, placement) if targets else None


def _circuit(
    file: Path | None,
    values: list[str],
    shots: int | None,
    settings: Settings,
    sums: list[str],
    observables: Path | None,
) -> CircuitFile | None:
    from shotclock.bench.load.circuit import CircuitFile  # noqa: PLC0415
    from shotclock.bench.load.observables import read_observables  # noqa: PLC0415
    from shotclock.domain.errors import SettingsError  # noqa: PLC0415

    if file is None:
        flags = {
            "--value": bool(values),
            "--shots": shots is not None,
            "--observable": bool(sums),
            "--observables": observables is not None,
        }
        if flag := next((flag for flag, is_given in flags.items() if is_given), ""):
            raise SettingsError(f"{flag}: applies to a user circuit; name its file with --circuit")
        return None
    count = settings.quantum.shots if shots is None else shots
    if count == "fit":
        raise SettingsError('--circuit: quantum.shots is "fit", which is of subproblems; pass --shots')
    return CircuitFile.read(file, values, count, read_observables(sums, observables))


def _refuse(job: LoadJob) -> None:
    from shotclock.bench.load.arrivals import Scenario  # noqa: PLC0415
    from shotclock.domain.errors import SettingsError  # noqa: PLC0415

    if job.sweep and job.plan.scenario is not Scenario.SERVER:
        raise SettingsError("--sweep: searches a rate, which server alone has; leave --scenario out")
    if job.clock == "virtual" and job.target is not None:
        raise SettingsError("--clock virtual: cannot skip the waits of another process; leave --target out")
