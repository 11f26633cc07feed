"""The orchestrator's status as a page for a browser, refreshed every two seconds."""

from __future__ import annotations

from html import escape

from shotclock.domain.status import BreakerState, Phase, Status

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="2">
<meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem; color: #1a1a1a; background: #fff }}
h1 {{ font-size: 1.4rem; margin: 0 0 1rem }}
th {{ font-weight: normal; text-align: left; padding: .2rem 2rem .2rem 0; color: #555 }}
td {{ font-variant-numeric: tabular-nums }}
.attention {{ font-weight: bold; border-bottom: 3px solid #b00020 }}
</style></head>
<body><h1>{title}</h1><table>{rows}</table></body></html>
"""


def page(status: Status) -> str:
    """Self-contained HTML; values that need attention are underlined."""
    emulated = " (EMULATED)" if status.emulated else ""
    p95 = f"{status.service_p95_s * 1e3:.0f} ms{emulated}" if status.service_p95_s else "not known yet"
    rows = (
        ("phase", status.phase.value, status.phase is not Phase.READY),
        ("provider", f"{status.provider}{emulated}", False),
        ("breaker", status.breaker.value.replace("_", " "), status.breaker is not BreakerState.CLOSED),
        ("calls waiting", str(status.waiting), False),
        ("jobs at the provider", f"{status.running}, at most {status.lanes_limit} now", False),
        ("submit to samples, predicted p95", p95, False),
        ("calls finished of accepted", f"{status.finished} of {status.accepted}", False),
        *(("needs attention", warning, True) for warning in status.warnings),
    )
    return _PAGE.format(
        title=escape(f"Shotclock is {status.phase.value}"), rows="".join(_row(*row) for row in rows)
    )


def _row(name: str, value: str, needs_attention: bool) -> str:
    mark = ' class="attention"' if needs_attention else ""
    return f"<tr><th scope=row>{escape(name)}</th><td><span{mark}>{escape(value)}</span></td></tr>\n"
