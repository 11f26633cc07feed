"""Changes of a service's flags that an operator requests; each is audited, those that are refused too."""

from __future__ import annotations

from shotclock.domain.errors import SettingsError, ShotclockError
from shotclock.domain.flags import FlagChange
from shotclock.domain.ports import Rollout
from shotclock.wire.authorization import audit
from shotclock.wire.v1 import shotclock_pb2 as pb

WITHOUT_FILE = "flags: this service has no flag file; name one as serve.flags in its settings and restart it"


class NoRollout:
    """The Rollout of a service without a flag file: it refuses every change."""

    async def set_flag(self, flag: str, setting: str) -> FlagChange:
        """See `Rollout.set_flag`."""
        del flag, setting
        raise SettingsError(WITHOUT_FILE)


NO_ROLLOUT = NoRollout()


async def set_flag(rollout: Rollout, request: pb.SetFlagRequest, caller: str) -> None:
    """Sets the flag and audits who changed it from what to what."""
    fields = {"caller": caller, "flag": request.flag, "to": request.setting}
    try:
        change = await rollout.set_flag(request.flag, request.setting)
    except ShotclockError as error:
        audit.warning("set_flag refused", extra={**fields, "reason": str(error)})
        raise
    audit.info("set_flag", extra={**fields, "from": change.before, "to": change.after})
