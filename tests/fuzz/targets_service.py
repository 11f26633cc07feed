"""Files that the service and its operators read: settings, flags, the ledger."""

from __future__ import annotations

import contextlib
from pathlib import Path

from fuzz.promises import expect_one_line, write_new
from shotclock.app.flags import ProviderProfiles
from shotclock.domain.ledger import LedgerState
from shotclock.emulator.profile import load as load_profile
from shotclock.orchestrator.ledger import file as ledger
from shotclock.providers.scripted import ScriptedProvider
from shotclock.rollout import document_flags
from shotclock.runtime.loop_thread import SystemClock
from shotclock.settings import load

PROFILES = ProviderProfiles(ScriptedProvider(SystemClock()), "emulated", load_profile("colocated"))


def settings_file(content: bytes, folder: Path) -> None:
    """`--config FILE`."""
    file = write_new(folder / "shotclock.toml", content)
    expect_one_line(lambda: load(file, {}))


def flags_file(content: bytes, folder: Path) -> None:
    """A flag file, as `serve` and `flags` read it: each rule evaluated once."""
    del folder
    expect_one_line(lambda: document_flags.load(content, "flags.json", PROFILES))


def ledger_file(content: bytes, folder: Path) -> None:
    """The ledger's file, as `jobs` reads it and as `serve` opens it."""
    file = write_new(folder / "ledger.db", content)
    for name in ("ledger.db-wal", "ledger.db-shm", "ledger.db-journal"):
        (folder / name).unlink(missing_ok=True)

    def read() -> None:
        ledger.count_jobs(file)
        with ledger.open_to_read(file) as connection:
            for record in ledger.read_jobs(connection):
                ledger.read_history(connection, record.tag)

    def write() -> None:
        with (
            contextlib.closing(ledger.open_to_write(file, "unix")) as connection,
            ledger.translate_errors(file),
        ):
            ledger.read_jobs(connection, LedgerState.INTENT, LedgerState.SUBMITTED)

    expect_one_line(read)
    expect_one_line(write)
