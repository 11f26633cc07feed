"""One frozen tree of settings, a branch a room; flags > environment > file > defaults."""

from __future__ import annotations

import difflib
import json
import logging
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import (
    SettingsError as EnvironmentValueError,
)

from shotclock.domain import encoding
from shotclock.domain.errors import SettingsError

log = logging.getLogger(__name__)

ENV_PREFIX = "SHOTCLOCK_"
DEFAULT_ARMS = (
    "classical-only",
    "classical-control",
    "hybrid-colocated",
    "hybrid-colocated-protected",
    "hybrid-onprem-today",
    "hybrid-public-cloud",
    "quantum-raw",
)


LONGEST_MS = 604_800_000.0
"""A week: no wait is longer, and every instant of a run stays within 64 bits of nanoseconds."""

Wait = Annotated[float, Field(ge=0, le=LONGEST_MS)]
"""Milliseconds that may be none."""

Budget = Annotated[float, Field(ge=0.001, le=LONGEST_MS)]
"""Milliseconds, a microsecond at least."""

RepDelay = Annotated[float, Field(ge=0)]
"""Microseconds; the device says how many it takes."""


class _Branch(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        """Python takes true for 1; whoever writes `steps = true` means something else."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("wants a number or text")
        return value


class BenchSettings(_Branch):
    """The main job: which arms, how long, in which order. steps are counted after the warm-up."""

    workload: str = "digits-mlp"
    arms: tuple[str, ...] = Field(default=DEFAULT_ARMS, min_length=1)
    seeds: int = Field(default=5, ge=1, le=1000)
    steps: int = Field(default=1000, ge=1, le=1_000_000_000)
    warmup_steps: int = Field(default=200, ge=0, le=1_000_000_000)
    order: Literal["interleaved", "sequential"] = "interleaved"


class KernelSettings(_Branch):
    """What training asks for: n variables, every so many steps."""

    name: str = "qat_flip"
    every: int = Field(default=5, ge=1)
    n: int = Field(default=12, ge=2, le=24)


class QuantumSettings(_Branch):
    """The quantum path of an arm; `[arm.NAME]` overrides it.

    rep_delay_choices_us: shorter delays that may be taken where the budget leaves no room for the default;
    each costs fidelity. preview_shots: samples of a local pre-evaluation that can veto a submit which
    promises nothing; 0 is off.

    Of the providers ibm and qrmi: credentials_file, holding IBM's API key, readable by its owner alone ("":
    the vendor's variables); instance, a CRN; backend, IBM's name of the device; execution_mode;
    session_max_s, the longest a session or batch may last; session_idle_s, after which an idle one is closed.
    """

    provider: str = "emulated"
    device: str = "heron-torino"
    profile: str = "colocated"
    shots: Annotated[int, Field(ge=1)] | Literal["fit"] = 256
    rep_delay_us: RepDelay | Literal["default"] = "default"
    rep_delay_choices_us: tuple[RepDelay, ...] = ()
    budget_ms: Budget = 200.0
    wait_limit_ms: Budget = 30_000.0
    mode: Literal["inline", "overlap", "offline", "auto"] = "auto"
    on_stale: Literal["revalidate", "drop"] = "revalidate"
    preview_shots: int = Field(default=0, ge=0, le=4096)
    credentials_file: str = ""
    instance: str = ""
    backend: str = ""
    execution_mode: Literal["job", "batch", "session"] = "job"
    session_max_s: int | None = Field(default=None, ge=1)
    session_idle_s: float = Field(default=5.0, gt=0, le=86_400)
    max_money_per_run: float = Field(default=0.0, ge=0, le=1e12)

    @field_validator("rep_delay_choices_us")
    @classmethod
    def _ever_shorter(cls, choices: tuple[float, ...]) -> tuple[float, ...]:
        if any(after >= before for before, after in pairwise(choices)):
            raise ValueError("wants each shorter than the one before")
        return choices

    @property
    def shorter_rep_delays_s(self) -> tuple[float, ...]:
        """What may be taken instead of the default, seconds, in descending order."""
        return tuple(delay * 1e-6 for delay in self.rep_delay_choices_us)

    @property
    def rep_delay_s(self) -> float | None:
        """Seconds; None is the device's default."""
        return None if self.rep_delay_us == "default" else float(self.rep_delay_us) * 1e-6


class ArmSettings(_Branch):
    """Overrides of `[quantum]`, and of `kernel.every`, for one arm; what is left out keeps its value."""

    provider: str | None = None
    device: str | None = None
    profile: str | None = None
    shots: Annotated[int, Field(ge=1)] | Literal["fit"] | None = None
    rep_delay_us: RepDelay | Literal["default"] | None = None
    budget_ms: Budget | None = None
    wait_limit_ms: Budget | None = None
    mode: Literal["inline", "overlap", "offline", "auto"] | None = None
    on_stale: Literal["revalidate", "drop"] | None = None
    every: int | None = Field(default=None, ge=1)


def _user_folder(variable: str, below_home: str) -> Path | None:
    """The folder that the variable names, else the one in the user's home; None: there is no home.

    `Path.home` raises for a user whom the machine does not know, as in a container under any user id.
    """
    if named := os.environ.get(variable):
        return Path(named)
    try:
        return Path.home() / below_home
    except RuntimeError:
        return None


class CircuitsSettings(_Branch):
    """Where compiled templates outlive the process: "auto" is the user's cache, if any, "" keeps none.

    check_calibration_s: how often a service looks for a new calibration of its device.
    """

    template_store: str = "auto"
    check_calibration_s: float = Field(default=600.0, ge=1, le=86_400)

    @property
    def store_folder(self) -> Path | None:
        """The folder; None keeps templates in memory alone."""
        if self.template_store == "auto":
            cache = _user_folder("XDG_CACHE_HOME", ".cache")
            return cache and cache / "shotclock" / "templates"
        return Path(self.template_store) if self.template_store else None


class OrchestratorSettings(_Branch):
    """The bounds of the orchestrator: waiting calls, attempts a job, calls that share a job.

    batch_age_ms: how long a job that is not full waits for more calls; overload_wait_ms: a mean queue wait
    above it sheds low priorities first; result_cache: answers kept for equal calls, 0 keeps none.
    """

    queue_limit: int = Field(default=64, ge=1)
    attempts: int = Field(default=3, ge=1, le=3)
    batch_limit: int = Field(default=8, ge=1, le=300)
    batch_age_ms: Wait = 0.0
    overload_wait_ms: Budget = 100.0
    result_cache: int = Field(default=0, ge=0, le=100_000)


class ServeSettings(_Branch):
    """The service: where it listens, who may call it, what it keeps.

    listen, metrics: HOST:PORT of gRPC and of HTTP; ledger: a path or sqlite:///path, "auto" is the user's
    state folder, used by paid providers alone; certificate, private_key, authorities: PEM files of mutual
    TLS; trainers, operators, probes: DNS or URI names in the certificates of who may solve, drain, ask for
    health; insecure: no TLS, on a loopback address; sizes: the subproblems whose templates are warm before
    it is ready; fallback: when the classical answer is computed; drain_s: what SIGTERM leaves for calls.
    """

    listen: str = "127.0.0.1:7443"
    metrics: str = "127.0.0.1:9464"
    ledger: str = "auto"
    certificate: str = ""
    private_key: str = ""
    authorities: str = ""
    trainers: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()
    insecure: bool = False
    sizes: tuple[Annotated[int, Field(ge=2, le=24)], ...] = Field(default=(12,), min_length=1)
    fallback: Literal["race", "standby", "none"] = "race"
    drain_s: float = Field(default=30.0, gt=0, le=86_400)

    @property
    def ledger_file(self) -> str:
        """The path or URL; "auto" is left where the user has no home folder to keep it in."""
        if self.ledger != "auto":
            return self.ledger
        state = _user_folder("XDG_STATE_HOME", ".local/state")
        return str(state / "shotclock" / "ledger.db") if state else self.ledger


class CostSettings(_Branch):
    """Prices of the site's own contract; the defaults are examples."""

    currency: str = "USD"
    qpu_second: float = Field(default=1.60, ge=0, le=1e6)
    gpu_hour: float = Field(default=2.10, ge=0, le=1e6)


class ThresholdSettings(_Branch):
    """`<arm>.<figure>.p95_ms` with max, or `<arm>.<ratio>` with min."""

    metric: str
    max: float | None = None
    min: float | None = None

    @model_validator(mode="after")
    def _one_limit(self) -> ThresholdSettings:
        if (self.max is None) == (self.min is None):
            raise ValueError("a threshold needs exactly one of max and min")
        return self


QUICK = {"steps": 150, "seeds": 3}
"""What `--quick` sets: 30 calls a seed at the default cadence, 90 in all (the fewest a p95 gate takes)."""

QUICK_LEAVES_OUT = "hybrid-onprem-today"


class Settings(BaseSettings):
    """The whole tree, schema 1."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    schema_number: Literal[1] = Field(default=1, alias="schema")
    bench: BenchSettings = BenchSettings()
    kernel: KernelSettings = KernelSettings()
    quantum: QuantumSettings = QuantumSettings()
    circuits: CircuitsSettings = CircuitsSettings()
    orchestrator: OrchestratorSettings = OrchestratorSettings()
    serve: ServeSettings = ServeSettings()
    cost: CostSettings = CostSettings()
    arm: dict[str, ArmSettings] = {}
    threshold: tuple[ThresholdSettings, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` hands over: of its own it would read variables without our prefix, as BENCH."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    def quantum_for(self, arm: str) -> QuantumSettings:
        """`[quantum]` with the arm's own table laid over it."""
        if arm not in self.arm:
            return self.quantum
        return self.quantum.model_copy(update=self.arm[arm].model_dump(exclude_none=True, exclude={"every"}))


def load(file: Path | None, flags: Mapping[str, Any]) -> Settings:
    """The tree from flags (nested, unset ones left out), environment and file.

    Raises SettingsError with file, line, key and the nearest name, in one line.
    """
    text = _read(file)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file}: malformed TOML: {error}") from error
    _refuse_unknown_environment()
    environment = _environment()
    try:
        return Settings.model_validate(_laid_over(_laid_over(values, environment), flags))
    except ValidationError as error:
        raise SettingsError(_explain(error, file, text, flags)) from error


def _environment() -> Mapping[str, Any]:
    try:
        return EnvSettingsSource(Settings, env_prefix=ENV_PREFIX, env_nested_delimiter="__")()
    except EnvironmentValueError as error:  # it names the branch, and not the variable
        branch = str(error).partition('field "')[2].partition('"')[0]
        names = (
            name for name in sorted(os.environ) if name.upper().startswith(f"{ENV_PREFIX}{branch}".upper())
        )
        blamed = ", ".join(name for name in names if not _is_json(os.environ[name]))
        raise SettingsError(
            f'environment: {blamed}: a list or a table is written as JSON: ["a", "b"]'
        ) from error


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """What stands where a table belongs is kept, so that it is refused and not hidden by a flag."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(under, Mapping) and isinstance(value, Mapping):
            merged[key] = _laid_over(under, value)
        elif key not in below or not isinstance(value, Mapping):
            merged[key] = value
    return merged


def _read(file: Path | None) -> str:
    if file is None:
        return ""
    try:
        return encoding.read_text(file)
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"{file}: cannot read the settings file: {encoding.explain(error)}") from error


def _refuse_unknown_environment() -> None:
    """Only names with `__` are settings: Kubernetes adds SHOTCLOCK_PORT and its like to each container
    of a namespace with a service named shotclock.
    """
    names = _fields(Settings)
    for variable in sorted(os.environ):
        first, separator, _ = variable.upper().removeprefix(ENV_PREFIX).partition("__")
        if not variable.upper().startswith(ENV_PREFIX) or first.lower() in names:
            continue
        if separator:
            branch = first.lower()
            raise SettingsError(
                f"environment: {variable}: unknown settings branch '{branch}'{nearest(branch, names)}"
            )
        if meant := _with_two_underscores(first.lower()):
            log.warning("environment: %s is not read; did you mean %s%s?", variable, ENV_PREFIX, meant)


def _with_two_underscores(name: str) -> str:
    """BENCH__SEEDS of bench_seeds; "" where it is no branch and key."""
    for branch in _fields(Settings):
        key = name.removeprefix(f"{branch}_")
        if key != name and key in _siblings((branch, key)):
            return f"{branch}__{key}".upper()
    return ""


def nearest(name: str, known: Mapping[str, object] | tuple[str, ...] | list[str]) -> str:
    """`; did you mean 'x'?`, or the list of what there is."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}"


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {(info.alias or name): info.annotation for name, info in model.model_fields.items()}


def _siblings(path: tuple[str | int, ...]) -> list[str]:
    """The known keys beside the last one of a path."""
    tables: dict[str, type[BaseModel]] = {
        "bench": BenchSettings,
        "kernel": KernelSettings,
        "quantum": QuantumSettings,
        "circuits": CircuitsSettings,
        "orchestrator": OrchestratorSettings,
        "serve": ServeSettings,
        "cost": CostSettings,
        "arm": ArmSettings,
        "threshold": ThresholdSettings,
    }
    return list(_fields(tables.get(str(path[0]), Settings) if len(path) > 1 else Settings))


def _explain(error: ValidationError, file: Path | None, text: str, flags: Mapping[str, Any]) -> str:
    problems = [(_path(one["loc"]), one) for one in error.errors()]
    path, first = problems[0]
    beside = [one for found, one in problems if found == path]
    more = sum(found[: len(path)] != path and path[: len(found)] != found for found, _ in problems)
    what = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        what = f"unknown key{nearest(str(path[-1]), _siblings(path))}"
    elif len(path) == 1 and first["type"] in NO_TABLE:
        name = f"[[{path[0]}]] tables" if path[0] == "threshold" else f"a table, [{path[0]}]"
        what = f"wants {name}"
    elif first["type"] != "missing" and not isinstance(first["input"], dict):
        choices = [one["msg"].removeprefix("Input should be ") for one in beside[1:]]
        what = f"{', or '.join([what[0].lower() + what[1:], *choices])} (got {first['input']!r})"
    told = f"{_origin(path, file, text, flags)}{'.'.join(str(part) for part in path)}: {what}"
    return f"{told} (and {more} more)" if more else told


NO_TABLE = frozenset(("model_type", "dict_type", "tuple_type"))


def _path(loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Without pydantic's names for the alternatives of a key that takes a number or a word."""
    return tuple(part for part in loc if not str(part).startswith(("constrained-", "literal[")))


def _origin(path: tuple[str | int, ...], file: Path | None, text: str, flags: Mapping[str, Any]) -> str:
    branch: Any = flags
    for part in path:
        branch = branch.get(part) if isinstance(branch, Mapping) else None
    if branch is not None and not isinstance(branch, Mapping):
        return "flag: "
    variable = ENV_PREFIX + "__".join(str(part) for part in path).upper()
    if any(name.upper() == variable for name in os.environ):
        return f"environment: {variable}: "
    line = line_of(text, path)
    return f"{file}:{line}: " if file is not None and line else (f"{file}: " if file is not None else "")


def line_of(text: str, path: tuple[str | int, ...]) -> int | None:
    """The line (from 1) on which a TOML document sets the key, or its nearest table; None if nowhere."""
    best, best_line = 0, None
    for number, found in _toml_keys(text):
        within = min(len(found), len(path))
        shared = within if found[:within] == path[:within] else 0
        if shared > best:
            best, best_line = shared, number
    return best_line


def _toml_keys(text: str) -> Iterator[tuple[int, tuple[str | int, ...]]]:
    table: tuple[str | int, ...] = ()
    repeats: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if match := re.match(r"\s*\[\[\s*([^\]]+?)\s*\]\]", line):
            repeats[match[1]] = repeats.get(match[1], -1) + 1
            table = (*_key_parts(match[1]), repeats[match[1]])
            yield number, table
        elif match := re.match(r"\s*\[\s*([^\]]+?)\s*\]", line):
            table = _key_parts(match[1])
            yield number, table
        elif match := re.match(
            r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"))*)\s*=""", line
        ):
            yield number, (*table, *_key_parts(match[1]))


def _key_parts(key: str) -> tuple[str, ...]:
    return tuple(part.strip("\"' ") for part in re.findall(r"""[\w-]+|"[^"]*"|'[^']*'""", key))
