"""`shotclock emulate`: an endpoint for IBM's own clients that keeps a QPU's time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from shotclock.app.endpoint import Listening
    from shotclock.emulator.figures import Distribution
    from shotclock.emulator.windows import CalibrationWindows


def emulate(
    *,
    device: Annotated[str, typer.Option(help="Comma-separated devices.")] = "heron-torino",
    profile: Annotated[
        str, typer.Option(help="Latency profile, or a path to a .toml file.")
    ] = "public-cloud",
    listen: Annotated[str, typer.Option(help="HOST:PORT; port 0 takes a free one.")] = "127.0.0.1:8290",
    speed: Annotated[float, typer.Option(help="How many times faster than real the QPU's time runs.")] = 1.0,
    seed: Annotated[
        int,
        typer.Option(min=0, help="Random seed; the same seed and requests give the same times and samples."),
    ] = 0,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="KIND@N, KIND@N-M, KIND/N (every N-th) or KIND:RATE; may be repeated."),
    ] = None,
    queue: Annotated[
        str | None,
        typer.Option(help="MEDIAN,P99 of the wait behind other users, seconds (assumed; heavy-tailed)."),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(help="EVERY,LASTS: calibration windows, seconds (IBM's hourly ones: 3600,150)."),
    ] = None,
    price: Annotated[float, typer.Option(min=0.0, help="Money a second of usage.")] = 0.0,
    usage_limit: Annotated[
        float | None, typer.Option(min=0.0, help="Seconds of usage the instance may consume.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Where it listens, as one JSON line.")] = False,
) -> None:
    """Serve IBM's REST API over an EMULATED QPU, for unmodified qiskit-ibm-runtime and QRMI clients.

    Any API key is accepted. Ends at Ctrl-C or SIGTERM.
    """
    from shotclock.app import endpoint  # noqa: PLC0415 - `--help` must not wait for it
    from shotclock.domain.errors import SettingsError  # noqa: PLC0415
    from shotclock.emulator.profile import load  # noqa: PLC0415
    from shotclock.emulator.rest.endpoint import EndpointSettings  # noqa: PLC0415
    from shotclock.emulator.rest.faults import parse  # noqa: PLC0415

    names = tuple(name.strip() for name in device.split(",") if name.strip())
    if not names:
        raise SettingsError("--device: names none")
    if not 0.0 < speed < 1e6:
        raise SettingsError(f"--speed {speed:g}: must be more than 0 and less than a million")
    settings = EndpointSettings(
        profile=load(profile),
        speed=speed,
        seed=seed,
        rules=tuple(parse(text) for text in fault or ()),
        queue=_queue(queue) if queue is not None else None,
        calibration=_windows(calibration) if calibration is not None else None,
        price_per_s=price,
        usage_limit_s=usage_limit,
    )
    host, port = _address(listen)

    def ready(listening: Listening) -> None:
        _say(listening, settings.profile.name, speed, seed, json)

    try:
        endpoint.emulate(names, settings, host, port, ready)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _say(listening: Listening, profile: str, speed: float, seed: int, json: bool) -> None:
    from rich.console import Console  # noqa: PLC0415

    environment = listening.environment()
    document = {
        "emulated": True,
        "url": listening.address,
        "backends": listening.backends,
        "profile": profile,
        "speed": speed,
        "seed": seed,
        "environment": environment,
    }
    if json:
        from json import dumps  # noqa: PLC0415

        print(dumps(document), flush=True)  # noqa: T201 - a pipe must have the line at once
        return
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        f"[bold]EMULATED[/] {', '.join(listening.backends)} at {listening.address}, "
        f"profile {profile}, {speed:g} times real time, seed {seed}"
    )
    console.print(
        "For QiskitRuntimeService() (qiskit-ibm-runtime 0.49 or newer) and QRMI (IBMQuantumComputeService), "
        "paste:\n"
    )
    for name, value in environment.items():
        console.print(f"export {name}={value}", markup=False)
    console.print("\nCtrl-C ends it. Charges: /emulator/account, faults: /emulator/faults")


def _address(text: str) -> tuple[str, int]:
    from shotclock.domain.errors import SettingsError  # noqa: PLC0415

    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise SettingsError(f"--listen {text!r}: must be HOST:PORT, as in 127.0.0.1:8290")
    return host.strip("[]"), int(port)


def _queue(text: str) -> Distribution:
    from pydantic import ValidationError  # noqa: PLC0415

    from shotclock.domain.errors import SettingsError  # noqa: PLC0415
    from shotclock.emulator.figures import Lognormal  # noqa: PLC0415
    from shotclock.emulator.model_file import first_fault  # noqa: PLC0415

    median, _, p99 = text.partition(",")
    source = {"unit": "s", "tag": "assumed", "source": "given with --queue"}
    try:
        return Lognormal.model_validate(
            {"kind": "lognormal", "median": {"value": median} | source, "p99": {"value": p99} | source}
        )
    except ValidationError as error:
        raise SettingsError(
            f"--queue {text!r}: must be MEDIAN,P99 in seconds ({first_fault(error, 'both')})"
        ) from error


def _windows(text: str) -> CalibrationWindows:
    from pydantic import ValidationError  # noqa: PLC0415

    from shotclock.domain.errors import SettingsError  # noqa: PLC0415
    from shotclock.emulator.model_file import first_fault  # noqa: PLC0415
    from shotclock.emulator.windows import CalibrationWindows  # noqa: PLC0415

    every, _, lasts = text.partition(",")
    source = {"unit": "s", "tag": "assumed", "source": "given with --calibration"}
    try:
        return CalibrationWindows.model_validate(
            {"every": {"value": every} | source, "lasts": {"value": lasts} | source}
        )
    except ValidationError as error:
        raise SettingsError(
            f"--calibration {text!r}: must be EVERY,LASTS in seconds ({first_fault(error, 'both')})"
        ) from error
