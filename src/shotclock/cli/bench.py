"""`shotclock bench`: the main job."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from shotclock.bench.numbers import limit
from shotclock.cli.engine import check_engine, find_settings, name_engine, run_engine, show_script
from shotclock.cli.exit_codes import INCONCLUSIVE, INTERRUPTED, RUN_FAILED, THRESHOLD_FAILED
from shotclock.cli.operator import Authorities, Certificate, PrivateKey, read_security, split_hosts
from shotclock.cli.streams import echo_json

if TYPE_CHECKING:
    from rich.console import Console

    from shotclock.app.main_job import MainJob
    from shotclock.app.placed import PlacementName
    from shotclock.bench.schema import Summary
    from shotclock.settings import Settings


def bench(
    *,
    quick: Annotated[bool, typer.Option("--quick", help="About two minutes: fewer steps.")] = False,
    arms: Annotated[str | None, typer.Option(help="Comma-separated names of the arms.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Independent runs of each arm.")] = None,
    steps: Annotated[int | None, typer.Option(help="Measured training steps a seed.")] = None,
    workload: Annotated[str | None, typer.Option(help="digits-quantized, or module:factory.")] = None,
    kernel: Annotated[
        str | None, typer.Option(help="Name, or module:factory (default: the workload's).")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="Latency profile; without --arms, its arms are compared.")
    ] = None,
    clock: Annotated[
        Literal["wall", "virtual"], typer.Option(help="virtual: account emulated waits, skip them.")
    ] = "wall",
    hosts: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT,…", help="Running orchestrators that the arms hybrid-hosts… call."),
    ] = None,
    placement: Annotated[
        Literal["rtt", "round-robin", "random"] | None,
        typer.Option(help="How the host of a call is chosen among --hosts; two are there to compare."),
    ] = None,
    engine: Annotated[
        Literal["local", "ray", "slurm"] | None,
        typer.Option(help="Where replicates (a seed of all arms) run: this process, or a cluster's hosts."),
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="The Ray cluster's head (default: RAY_ADDRESS, or this host's)."
        ),
    ] = None,
    partition: Annotated[str | None, typer.Option(help="Slurm's partition (more in [engine]).")] = None,
    validate_share: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of the replicates that a second host repeats, with --engine."),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Go on with this run of an engine; what finished is kept."),
    ] = None,
    certificate: Certificate = None,
    private_key: PrivateKey = None,
    authorities: Authorities = None,
    out: Annotated[Path | None, typer.Option(help="The run folder (default: runs/<time>).")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file (TOML).")] = None,
    metrics: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Expose Prometheus metrics on this loopback port.")
    ] = None,
    samples: Annotated[
        bool, typer.Option("--samples", help="Keep each call's bit strings and energies: samples.parquet.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Inconclusive or invalid figures exit 5.")] = False,
    hardware: Annotated[
        bool, typer.Option("--hardware", help="Only with an AMD GPU and an IBM QPU; checks first, then asks.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="With --hardware: rehearse on an EMULATED QPU. With --engine slurm: print the script.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a paid run.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print every figure, not one page.")] = False,
    json: Annotated[bool, typer.Option("--json", help="summary.json on stdout, progress on stderr.")] = False,
) -> None:
    """Train with and without quantum-assisted steps, side by side; measure, judge, report.

    Exit codes: 0 pass, 2 usage or settings, 3 environment, 4 the run failed, 5 inconclusive under
    --strict, 99 a threshold failed, 130 interrupted (partial results kept and marked).
    """
    from rich.console import Console  # noqa: PLC0415 - `--help` must not wait for it

    from shotclock.app.check_names import check_names  # noqa: PLC0415
    from shotclock.cli.hardware import admit, open_rehearsal  # noqa: PLC0415
    from shotclock.domain.errors import SettingsError  # noqa: PLC0415
    from shotclock.settings import load  # noqa: PLC0415

    flags = _flags(quick, arms, seeds, steps, workload, profile, samples, hosts, placement)
    flags |= {"kernel": {"name": kernel}} if kernel is not None else {}
    flags |= name_engine(engine, ray_address, partition, validate_share)
    config = config or find_settings(resume)
    settings = load(config, flags)
    check_names(config, settings)
    console = Console(stderr=True)
    if settings.bench.hosts:
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core writes to stderr by itself; see `serve`
    security = read_security(certificate, private_key, authorities)
    job = replace(_job(resume or out, quick, clock, metrics), security=security)
    on_engine = check_engine(settings, hardware=hardware, dry_run=dry_run, resume=resume, out=out)
    if dry_run and on_engine:
        show_script(settings, job)
        raise typer.Exit
    if dry_run and not hardware:
        raise SettingsError("--dry-run: goes with --hardware, or with --engine slurm")
    if hardware and settings.bench.hosts:
        raise SettingsError("--hosts: the hardware run has its orchestrator in this process; leave it out")
    if hardware and clock == "virtual":
        raise SettingsError("--clock virtual: hardware waits for real; leave it out")
    with contextlib.ExitStack() as stack:
        if dry_run:
            settings = stack.enter_context(open_rehearsal(settings, console))
        if hardware:
            settings, job = admit(settings, job, dry_run, lambda cost: _agree(cost, yes), console)
        else:
            _confirm_cost(settings, yes)
        summary, path = _run(settings, job, console, resume=resume is not None)
    if json:
        echo_json(summary.model_dump_json(indent=2, by_alias=True))
    else:
        _show(summary, path, verbose)
    if code := exit_code(summary, strict):
        typer.echo(f"shotclock: {_failure(summary, path, code)}; exit code {code}", err=True)
    raise typer.Exit(code)


def _show(summary: Summary, path: Path, verbose: bool) -> None:
    from rich.console import Console  # noqa: PLC0415

    if verbose:
        from shotclock.bench.report.run.terminal import show  # noqa: PLC0415

        show(summary, path, Console(), _next_commands(summary, path))
    else:
        from shotclock.bench.report.run.terminal_brief import show_brief  # noqa: PLC0415

        show_brief(summary, path, Console())


def _failure(summary: Summary, path: Path, code: int) -> str:
    """Why the command fails: the run, thresholds that failed or are inconclusive, or invalid latencies."""
    from shotclock.bench.report.kit.wording import why  # noqa: PLC0415
    from shotclock.bench.schema import Result  # noqa: PLC0415

    if summary.failure:
        return f"the run failed: {summary.failure}; what ran is kept in {path}"
    if summary.status != "complete":
        return f"{summary.status}; what ran is kept in {path}"
    result = Result.FAIL if code == THRESHOLD_FAILED else Result.INCONCLUSIVE
    gates = [gate for gate in summary.thresholds if gate.result is result]
    signs = {"max": "≤", "min": "≥"}
    reasons = [f"{gate.metric} {signs[gate.direction]} {limit(gate.limit)} ({why(gate)})" for gate in gates]
    return f"{result}: {'; '.join(reasons) or summary.verdict.headline.removesuffix('.')}"


def exit_code(summary: Summary, strict: bool) -> int:
    """See `bench`: only thresholds the user set fail a run; invalid latencies are inconclusive."""
    from shotclock.bench.schema import Result  # noqa: PLC0415
    from shotclock.bench.stats.overrun import invalid_arms  # noqa: PLC0415

    if summary.status != "complete":
        return INTERRUPTED if summary.status == "interrupted" else RUN_FAILED
    results = {gate.result for gate in summary.thresholds}
    if Result.FAIL in results:
        return THRESHOLD_FAILED
    inconclusive = Result.INCONCLUSIVE in results or bool(invalid_arms(summary.arms))
    return INCONCLUSIVE if strict and inconclusive else 0


def _flags(
    quick: bool,
    arms: str | None,
    seeds: int | None,
    steps: int | None,
    workload: str | None,
    profile: str | None,
    samples: bool,
    hosts: str | None,
    placement: PlacementName | None,
) -> dict[str, Any]:
    from shotclock.emulator.profile import load  # noqa: PLC0415
    from shotclock.settings import HOSTS_ARMS, QUICK  # noqa: PLC0415

    bench: dict[str, Any] = dict(QUICK) if quick else {}
    if arms is not None:
        bench["arms"] = tuple(arm.strip() for arm in arms.split(",") if arm.strip())
    elif hosts is not None:
        bench["arms"] = HOSTS_ARMS
    elif profile is not None:
        name = load(profile).name
        hybrids = f"hybrid-{name}", f"hybrid-{name}-protected"
        bench["arms"] = ("classical-only", "classical-control", *hybrids, "quantum-raw")
    overrides = {"seeds": seeds, "steps": steps, "workload": workload}
    bench |= {name: value for name, value in overrides.items() if value is not None}
    bench |= {"samples": True} if samples else {}
    bench |= {} if hosts is None else {"hosts": split_hosts(hosts)}
    bench |= {} if placement is None else {"placement": placement}
    flags: dict[str, Any] = {"bench": bench} if bench else {}
    return flags | ({"quantum": {"profile": profile}} if profile is not None else {})


def _confirm_cost(settings: Settings, yes: bool) -> None:
    """Asks before a run that may cost money, with its price a job and the most it may spend."""
    from shotclock.app.remote_providers import REMOTE  # noqa: PLC0415

    quantum = [settings.quantum_for(arm) for arm in settings.bench.arms]
    paid = [branch for branch in quantum if branch.provider in REMOTE and branch.max_money_per_run > 0]
    if not paid:
        return
    from shotclock.app.doctor import estimate  # noqa: PLC0415
    from shotclock.app.host import WallHost  # noqa: PLC0415

    host = WallHost()
    try:
        expected = estimate(host, settings)
    finally:
        host.close()
    most = max(branch.max_money_per_run for branch in paid)
    _agree(f"a paid run: {expected} expected, at most {limit(most)} {expected.currency} an arm", yes)


def _agree(cost: str, yes: bool) -> None:
    """Goes on if the person says so, on the command line or when asked."""
    from shotclock.domain.errors import SettingsError  # noqa: PLC0415

    if yes:
        typer.echo(cost, err=True)
    elif not sys.stdin.isatty():
        raise SettingsError(f"{cost}; pass --yes to go on without being asked")
    else:
        typer.confirm(f"{cost}. Go on?", abort=True, err=True)


def _job(out: Path | None, quick: bool, clock: Literal["wall", "virtual"], metrics: int | None) -> MainJob:
    from shotclock.app.main_job import MainJob  # noqa: PLC0415

    return MainJob(out or Path("runs") / f"{datetime.now(UTC):%Y%m%d-%H%M%S}", quick, clock, metrics)


def _run(settings: Settings, job: MainJob, console: Console, *, resume: bool) -> tuple[Summary, Path]:
    from shotclock.app.main_job import run  # noqa: PLC0415
    from shotclock.cli.progress import Bars  # noqa: PLC0415

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a job's end keeps what has run, too
    try:
        with Bars(console) as bars:
            if settings.engine.name == "local":
                summary, run_folder = run(settings, job, bars.hooks())
            else:
                summary, run_folder = run_engine(settings, job, bars.hooks(), resume=resume)
    except KeyboardInterrupt:
        moment = "before the first step; nothing was kept"
        files = {file.name for file in job.folder.glob("*")}
        if files:
            moment = f"again, before the run was written; {job.folder} has its settings alone"
        if "replicates" in files:
            moment = f"before the run was written; go on with --resume {job.folder}"
        if "summary.json" in files:
            moment = f"while the report was drawn; `shotclock report {job.folder}` draws it"
        typer.echo(f"shotclock: interrupted {moment}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    return summary, run_folder.path


def _next_commands(summary: Summary, folder: Path) -> list[str]:
    me = "shotclock" if which("shotclock") else sys.argv[0]
    commands = []
    if summary.quick:
        commands.append((f"{me} bench --clock virtual", "eight seeds, 500 steps, every fabric"))
    if summary.profiles:
        shown = next(iter(summary.profiles))
        commands.append((f"{me} profile show {shown}", "where each emulated number comes from"))
    width = max((len(command) for command, _ in commands), default=0)
    lines = [f"{command:<{width}}  # {why}" for command, why in commands]
    return [f"open {folder / 'report.html'}", *lines]
