"""What every source of flags promises; and that all services of one ledger follow one row."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from flag_files import NO_PROFILES
from harness import Inline
from postgres_cluster import Cluster
from shotclock.app.flags import open_flags, open_source
from shotclock.domain.canary import CanaryRequest
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.domain.flags import FlagRequest, FlagState
from shotclock.domain.ports import FlagSource
from shotclock.orchestrator.ledger import ledger_flags
from shotclock.orchestrator.ledger.ledger_flags import LedgerFlags
from shotclock.providers.scripted import ScriptedProvider
from shotclock.rollout.document_flags import DocumentFlags
from shotclock.rollout.document_rollout import DocumentRollout
from shotclock.rollout.file_source import FileSource
from shotclock.rollout.flag_edit import edit_source
from shotclock.runtime.loop_thread import SystemClock
from shotclock.settings import ServeSettings, Settings

PROVIDER = ScriptedProvider(SystemClock())
NAMES = itertools.count()
CALL = FlagRequest.of("run/1", "qat_flip", "trainer")
Make = Callable[[], FlagSource]
"""Another reader of the same document."""


class Counts:
    def record_flag(self, flag: str, reason: str) -> None:
        """Nothing is counted here."""


@pytest.fixture(params=["file", "ledger"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    if request.param == "file":
        (tmp_path / "flags.json").write_text('{"flags": {}}')
        return lambda: FileSource(tmp_path / "flags.json")
    url = request.getfixturevalue("postgres").create(f"flags_{next(NAMES)}")
    return lambda: LedgerFlags(url)


def follow(source: FlagSource) -> DocumentFlags:
    return DocumentFlags(source, Counts(), lambda _: None, SystemClock(), NO_PROFILES)


def test_each_reader_follows_what_one_of_them_sets(make: Make) -> None:
    readers = [follow(make()) for _ in range(3)]
    assert all(not reader.decide(CALL).kept_by for reader in readers)
    readers[0].set_flag("quantum_path", "off")
    for reader in readers:
        reader.reload()
        assert reader.decide(CALL).kept_by == "quantum_path"
        assert reader.report().state is FlagState.OK
    assert make().read() == make().read()


def test_a_change_that_is_refused_leaves_the_document(make: Make) -> None:
    source = make()
    before = source.read()
    with pytest.raises(SettingsError, match="quantum_share must be"):
        edit_source(source, "quantum_share", "101")

    def refuse(text: str) -> None:
        raise SettingsError(f"refused {len(text)} characters")

    with pytest.raises(SettingsError, match="refused"):
        edit_source(source, "shots", "5", refuse)
    assert source.read() == before
    assert edit_source(source, "shots", "5").after == "5"


def test_editors_at_once_lose_no_flag(make: Make) -> None:
    settings = {"quantum_path": "off", "quantum_share": "25", "shots": "7", "quantum_kernels": "off:a"}
    editors = [
        threading.Thread(target=edit_source, args=(make(), flag, setting))
        for flag, setting in settings.items()
    ]
    for editor in editors:
        editor.start()
    for editor in editors:
        editor.join()
    in_force = follow(make()).report().settings
    assert {flag: in_force[flag] for flag in settings} == settings


def test_a_database_that_is_away_leaves_the_flags_and_comes_back(postgres: Cluster) -> None:
    url = postgres.create(f"flags_{next(NAMES)}")
    with closing(LedgerFlags(url)) as source:
        flags = follow(source)
        flags.set_flag("quantum_path", "off")
        postgres.stop()
        try:
            flags.reload()
            assert flags.report().state is FlagState.STALE
            assert "cannot be read" in flags.report().reason
            assert flags.decide(CALL).kept_by == "quantum_path"
            with pytest.raises(MachineError, match="cannot be written"):
                flags.set_flag("quantum_path", "on")
            with pytest.raises(MachineError, match="cannot use the ledger"):
                LedgerFlags(url)
        finally:
            postgres.start()
        flags.reload()
        assert flags.report().state is FlagState.OK
        flags.set_flag("quantum_path", "on")
        assert not flags.decide(CALL).kept_by


def test_a_server_that_is_suspended_is_not_waited_for(
    postgres: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_flags, "LIMIT_S", 0.2)
    url = postgres.create(f"flags_{next(NAMES)}")
    with closing(LedgerFlags(url)) as source, postgres.connect(url.rpartition("/")[2]) as other:
        flags = follow(source)
        with other.transaction():
            other.execute("LOCK TABLE shotclock.flags")  # a reader waits, as for a suspended server
            flags.reload()
            assert "cannot be read" in flags.report().reason
        flags.reload()
        assert flags.report().state is FlagState.OK


def test_a_row_that_nobody_could_have_set_leaves_the_flags(postgres: Cluster) -> None:
    url = postgres.create(f"flags_{next(NAMES)}")
    with closing(LedgerFlags(url)) as source, postgres.connect(url.rpartition("/")[2]) as other:
        flags = follow(source)
        flags.set_flag("shots", "64")
        for document, because in (("{", "JSON"), ("x" * 300_000, "at most"), ("", "JSON")):
            other.execute("UPDATE shotclock.flags SET document = %s", (document,))
            flags.reload()
            assert because in flags.report().reason
            assert flags.decide(CALL).most_shots == 64


def test_the_settings_name_the_source(postgres: Cluster, tmp_path: Path) -> None:
    url = postgres.create(f"flags_{next(NAMES)}")
    in_ledger = Settings(serve=ServeSettings(flags="ledger", ledger=url))
    assert open_source(in_ledger).kind == "ledger"
    assert open_source(Settings(serve=ServeSettings(flags=str(tmp_path / "f.json")))).kind == "file"
    rollout = open_flags(in_ledger, PROVIDER, Counts(), print, SystemClock(), Inline())
    assert isinstance(rollout, DocumentRollout)
    assert asyncio.run(rollout.set_flag("shots", "64")).after == "64"
    request = CanaryRequest(10, "keep", None, 500, 0.01, 0.01, 0.05, 0.01)
    for refused in (rollout.start_canary(request, "me"), rollout.abort_canary("me")):
        with pytest.raises(SettingsError, match="name a flag file"):
            asyncio.run(refused)
    alone = Settings(serve=ServeSettings(flags="ledger", ledger=str(tmp_path / "ledger.db")))
    with pytest.raises(SettingsError, match="needs a ledger that orchestrators share"):
        open_source(alone)
