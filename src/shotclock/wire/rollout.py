"""Changes of a service's flags that an operator requests; each is audited, those that are refused too."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, get_args

from shotclock.domain.canary import CanaryRequest, OnPass
from shotclock.domain.errors import SettingsError, ShotclockError
from shotclock.domain.flags import FlagChange
from shotclock.domain.ports import Rollout
from shotclock.wire.authorization import audit
from shotclock.wire.v1 import shotclock_pb2 as pb

WITHOUT_FILE = "flags: this service has none; name a file, or 'ledger', as serve.flags of its settings"


class NoRollout:
    """The Rollout of a service without a flag file: it refuses every change."""

    async def set_flag(self, flag: str, setting: str) -> FlagChange:
        """See `Rollout.set_flag`."""
        del flag, setting
        raise SettingsError(WITHOUT_FILE)

    async def start_canary(self, request: CanaryRequest, caller: str) -> None:
        """See `Rollout.start_canary`."""
        del request, caller
        raise SettingsError(WITHOUT_FILE)

    async def abort_canary(self, caller: str) -> None:
        """See `Rollout.abort_canary`."""
        del caller
        raise SettingsError(WITHOUT_FILE)

    async def record_validation(self, run: str, kernel: str, value: float, caller: str) -> None:
        """See `Rollout.record_validation`; nothing is compared."""


NO_ROLLOUT = NoRollout()


async def set_flag(rollout: Rollout, request: pb.SetFlagRequest, caller: str) -> None:
    """Sets the flag and audits who changed it from what to what."""
    fields = {"caller": caller, "flag": request.flag, "to": request.setting}
    change = await _audit_refusal("set_flag", rollout.set_flag(request.flag, request.setting), fields)
    audit.info("set_flag", extra={**fields, "from": change.before, "to": change.after})


async def start_canary(rollout: Rollout, request: pb.StartCanaryRequest, caller: str) -> None:
    """Starts a canary, which audits its own transitions."""
    fields = {"caller": caller, "share": request.share}
    await _audit_refusal("canary start", rollout.start_canary(decode_canary_request(request), caller), fields)


async def abort_canary(rollout: Rollout, caller: str) -> None:
    """Aborts the canary, which audits its own transitions."""
    await _audit_refusal("canary abort", rollout.abort_canary(caller), {"caller": caller})


async def _audit_refusal(what: str, change: Awaitable[Any], fields: Mapping[str, object]) -> Any:
    try:
        return await change
    except ShotclockError as error:
        audit.warning(f"{what} refused", extra={**fields, "reason": str(error)})
        raise


def encode_canary_request(request: CanaryRequest) -> pb.StartCanaryRequest:
    """Every field under its own name."""
    return pb.StartCanaryRequest(
        share=request.share,
        on_pass=request.on_pass,
        slow_ms=request.slow_ms,
        minimum=request.minimum,
        alpha=request.alpha,
        miss_margin=request.miss_margin,
        slow_margin=request.slow_margin,
        validation_margin=request.validation_margin,
    )


def decode_canary_request(message: pb.StartCanaryRequest) -> CanaryRequest:
    """Raises SettingsError on a word that does not exist; who starts the canary checks the numbers."""
    on_pass: dict[str, OnPass] = {word: word for word in get_args(OnPass)}
    if message.on_pass not in on_pass:
        raise SettingsError(f"canary start: on_pass must be promote or keep (got '{message.on_pass}')")
    return CanaryRequest(
        message.share,
        on_pass[message.on_pass],
        message.slow_ms if message.HasField("slow_ms") else None,
        message.minimum,
        message.alpha,
        message.miss_margin,
        message.slow_margin,
        message.validation_margin,
    )
