"""`canary-rolled-back`: the flag file gives the canary's calls a QPU behind a slower profile."""

from __future__ import annotations

import asyncio

from shotclock.app.drills.rehearse import Drill
from shotclock.app.drills.site import Site, SitePlan
from shotclock.domain.errors import RunError

SLOW_MS = 1_000
"""Between the usual call, and one of `onprem-today`, whose jobs take 2 s."""
CAUSE = f"""
shotclock flags set quantum_share 0 $me
shotclock flags set profile onprem-today $me
shotclock canary start --share 50 --minimum 20 --slow-ms {SLOW_MS} $me
"""


async def start_slow_canary(site: Site) -> None:
    """As an operator who changes the profile and compares; raises RunError where the service refuses it."""
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-ec", CAUSE),
        env=site.environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await shell.communicate()
    if shell.returncode:
        raise RunError(f"the canary did not start: {output.decode(errors='replace')[-500:]}")


DRILL = Drill("canary-rolled-back", start_slow_canary, SitePlan(), rate=10.0)
