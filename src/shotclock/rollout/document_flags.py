"""Flags from one JSON document in flagd's format, read again while calls are answered."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError
from openfeature.flag_evaluation import Reason

from shotclock.domain.budget import NS_PER_S
from shotclock.domain.errors import SettingsError
from shotclock.domain.flags import (
    ANY_SHOTS,
    PROFILE,
    SHOTS,
    SWITCHES,
    FlagChange,
    FlagDecision,
    FlagReport,
    FlagRequest,
    FlagState,
)
from shotclock.domain.ports import Clock, FlagSource, Profiles
from shotclock.domain.recorders import FlagRecorder
from shotclock.rollout.flag_document import FlagDocument, find_line, find_operators, read_document
from shotclock.rollout.flag_edit import describe_flags, edit_source

EVERY_S = 0.25
"""How often the document is read: a change is effective within a second."""

MOST_KEPT = 4096
"""As many values are kept until the next change of the document; evaluating a share takes 0.1 ms."""

SILENT_S = 5.0
"""Flags that were not read for so long are STALE: the source does not answer."""

OF_THE_CALL = frozenset({"targetingKey", "kernel", "client", "$flagd.flagKey"})

BROKEN_RULES = (
    *(OpenFeatureError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
)
"""What evaluating a targeting rule of the user's may raise."""

PROBES = (FlagRequest("/probe", "", ""), FlagRequest("client/run", "qat_flip", "client"))
"""Every flag of a new file is evaluated for these before the file is used."""

audit = logging.getLogger("shotclock.audit")

EVALUATED = (*SWITCHES, SHOTS)
"""The flags that are evaluated for each call."""

DEFAULTS: dict[str, bool | int] = {**dict.fromkeys(SWITCHES, True), SHOTS: ANY_SHOTS}


@dataclass(frozen=True, slots=True)
class _Evaluated:
    value: bool | int
    reason: str


@dataclass(slots=True)
class _Loaded:
    """A checked file.

    core: flagd's evaluator with the file's flags.
    variables: of each flag in the file that is evaluated for calls, in the order of evaluation, what its rule
        reads.
    content: the file's bytes.
    settings: each flag's, as `shotclock flags` shows it.
    profile: the name of the profile, "" for that of the settings.
    profile_reason: OpenFeature's; "" if the file does not have the flag.
    values: those of flags whose rules read nothing but the call.
    broken: the last rule that could not be evaluated for a call; "" while every rule can.
    """

    core: FlagdCore
    variables: dict[str, set[str]]
    content: bytes
    settings: Mapping[str, str]
    profile: str = ""
    profile_reason: str = ""
    values: dict[tuple[str, str, str, str], _Evaluated] = field(default_factory=dict)
    broken: str = ""

    def evaluate(self, flag: str, request: FlagRequest) -> _Evaluated:
        """The flag's value for the call. Raises one of BROKEN_RULES."""
        variables = self.variables[flag]
        if not variables <= OF_THE_CALL:  # such as the time
            return self._evaluate(flag, request)
        place = (flag, request.kernel, request.client, request.key if "targetingKey" in variables else "")
        if (evaluated := self.values.get(place)) is None:
            if len(self.values) >= MOST_KEPT:
                self.values.clear()
            evaluated = self.values[place] = self._evaluate(flag, request)
        return evaluated

    def _evaluate(self, flag: str, request: FlagRequest) -> _Evaluated:
        context = EvaluationContext(request.key, {"kernel": request.kernel, "client": request.client})
        details: Any
        if flag == SHOTS:
            details = self.core.resolve_integer_value(flag, ANY_SHOTS, context)
        else:
            details = self.core.resolve_boolean_value(flag, True, context)
        return _Evaluated(details.value, str(details.reason or Reason.UNKNOWN))


class DocumentFlags:
    """Flags of a source, at most EVERY_S old; one that cannot be used leaves the last good ones in force.

    recorder: counts each evaluation.
    on_trouble: called with each new problem of the document, from another thread.
    profiles: of the provider.

    Raises SettingsError if the document cannot be used at the start.
    """

    def __init__(
        self,
        source: FlagSource,
        recorder: FlagRecorder,
        on_trouble: Callable[[str], None],
        clock: Clock,
        profiles: Profiles,
    ) -> None:
        self._source = source
        self._recorder = recorder
        self._on_trouble = on_trouble
        self._clock = clock
        self._profiles = profiles
        self._changing = threading.Lock()
        self._problem = ""
        self._read_at_ns = clock.now_ns()
        self._last: dict[str, bool | int] = dict(DEFAULTS)
        self._loaded = load(source.read(), source.name, profiles)
        self._use_profile()

    def decide(self, request: FlagRequest) -> FlagDecision:
        """See `Flags.decide`."""
        loaded = self._loaded
        for flag in loaded.variables:
            if flag in SWITCHES and not self._evaluate(loaded, flag, request):
                return FlagDecision(flag)
        if SHOTS in loaded.variables:
            return FlagDecision(most_shots=int(self._evaluate(loaded, SHOTS, request)))
        return FlagDecision()

    def report(self) -> FlagReport:
        """See `Flags.report`; STALE is reported before ERROR."""
        loaded, problem = self._loaded, self._problem
        age_s = (self._clock.now_ns() - self._read_at_ns) / NS_PER_S
        if not problem and age_s > SILENT_S:
            problem = f"{self._source.name}: not read for {age_s:.0f} s; the flags read before stay in force"
        state = FlagState.STALE if problem else FlagState.ERROR if loaded.broken else FlagState.OK
        return FlagReport(loaded.settings, state, age_s, problem or loaded.broken)

    def _evaluate(self, loaded: _Loaded, flag: str, request: FlagRequest) -> bool | int:
        try:
            evaluated = loaded.evaluate(flag, request)
        except BROKEN_RULES as error:
            loaded.broken = f"flags.{flag}.targeting: cannot be evaluated for every call: {error}"
            self._recorder.record_flag(flag, str(Reason.ERROR))
            return self._last[flag]
        self._recorder.record_flag(flag, str(Reason.STALE) if self._problem else evaluated.reason)
        self._last[flag] = evaluated.value
        return evaluated.value

    def reload(self) -> None:
        """Reads the source; takes the document over if it has changed and can be used."""
        with self._changing:
            before = self._loaded.settings
            if self._take_over():
                changes = _list_changes(before, self._loaded.settings)
                what, caller = self._source.description, {"caller": self._source.kind}
                audit.info("%s edited: %s", what, changes or "rules or form only", extra=caller)

    def _take_over(self) -> bool:
        """Whether the document had changed, and its flags are in force now."""
        changed = False
        try:
            content = self._source.read()
            if content != self._loaded.content:
                self._loaded, changed = load(content, self._source.name, self._profiles), True
                self._use_profile()
        except SettingsError as error:
            if self._loaded.profile_reason:
                self._recorder.record_flag(PROFILE, str(Reason.STALE))
            if str(error) != self._problem:
                self._problem = str(error)
                self._on_trouble(f"{error}; the flags read before stay in force")
        else:
            self._problem = ""
            self._read_at_ns = self._clock.now_ns()
        return changed

    def _use_profile(self) -> None:
        if self._loaded.profile_reason:
            self._recorder.record_flag(PROFILE, self._loaded.profile_reason)
        self._profiles.use(self._loaded.profile)

    def set_flag(self, flag: str, setting: str) -> FlagChange:
        """Sets one flag in the source and takes it over; see `flag_edit.edit_source`."""

        def check(text: str) -> None:
            load(text, self._source.name, self._profiles)

        with self._changing:
            change = edit_source(self._source, flag, setting, check)
            self._take_over()
        return change


def load(content: str | bytes, where: str, profiles: Profiles) -> _Loaded:
    """The flags of a file, checked and evaluated once each. Raises SettingsError."""
    # flagd logs a traceback, or a line a call, where a rule cannot be evaluated; reasons are counted instead
    logging.getLogger("openfeature.contrib").setLevel(logging.CRITICAL)
    document = read_document(content, where)
    profile, profile_reason = _read_profile(document, where, profiles)
    core = FlagdCore()
    core.set_flags(document.text)
    loaded = _Loaded(
        core,
        {flag: _variables(document, flag) for flag in EVALUATED if flag in document.flags},
        document.text.encode(),
        describe_flags(document),
        profile,
        profile_reason,
    )
    for flag in loaded.variables:
        for probe in PROBES:
            try:
                loaded.evaluate(flag, probe)
            except BROKEN_RULES as error:
                raise SettingsError(
                    f"{where}: flags.{flag}.targeting: cannot be evaluated: {error}; see flagd.dev"
                ) from error
    return loaded


def _read_profile(document: FlagDocument, where: str, profiles: Profiles) -> tuple[str, str]:
    """The name of the profile and OpenFeature's reason. Raises SettingsError."""
    definition = document.flags.get(PROFILE)
    if definition is None:
        return "", ""
    if definition["state"] == "DISABLED":
        return "", str(Reason.DISABLED)
    for name in definition["variants"].values():
        try:
            profiles.check(name)
        except SettingsError as error:
            line = find_line(document.text, f"flags.{PROFILE}.variants")
            raise SettingsError(f"{where}{line}: flags.{PROFILE}: {error}") from error
    return definition["variants"][definition["defaultVariant"]], str(Reason.STATIC)


def _list_changes(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    return ", ".join(
        f"{flag} {before[flag]} to {setting}" for flag, setting in after.items() if setting != before[flag]
    )


def _variables(document: FlagDocument, flag: str) -> set[str]:
    """What the flag's rule reads; "" where that cannot be said, as of a computed name."""
    rule = document.flags[flag].get("targeting", {})
    variables = set()
    for operator, values in find_operators(rule):
        if operator == "fractional":
            variables.add("targetingKey")
        elif operator == "var":
            name = values[0] if isinstance(values, list) and values else values
            variables.add(name if isinstance(name, str) else "")
        elif operator in {"missing", "missing_some"}:
            variables.add("")
    return variables
