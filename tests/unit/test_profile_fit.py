"""A site's records become a profile that says where every number is from."""

from __future__ import annotations

import csv
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shotclock import cli
from shotclock.domain.errors import SettingsError
from shotclock.emulator import fit
from shotclock.emulator.profile import load

START = datetime(2026, 11, 1, tzinfo=UTC)


def rows(n: int = 400, seed: int = 1) -> list[dict[str, Any]]:
    """Jobs behind a lognormal queue of 30 s median, σ = 1.2, with 2 s of overhead and known shots."""
    rng = np.random.default_rng(seed)
    rows_made = []
    for number in range(n):
        created = START + timedelta(minutes=number)
        running = created + timedelta(seconds=30.0 * float(np.exp(rng.normal(0.0, 1.2))))
        shots_s = float(rng.uniform(0.1, 3.0))
        usage_s = shots_s + float(rng.uniform(1.9, 2.1))
        finished = running + timedelta(seconds=usage_s)
        rows_made.append(
            {
                "created": created.isoformat(),
                "running": running.isoformat(),
                "finished": finished.isoformat(),
                "usage_s": usage_s,
                "shots_s": shots_s,
            }
        )
    return rows_made


def write_file(folder: Path, name: str, content: list[dict[str, Any]]) -> Path:
    file = folder / name
    if name.endswith(".json"):
        file.write_text(json.dumps(content))
        return file
    with file.open("w", newline="") as out:
        table = csv.DictWriter(out, content[0])
        table.writeheader()
        table.writerows(content)
    return file


@pytest.mark.parametrize("name", ["records.json", "records.csv"])
def test_the_planted_queue_and_overhead_are_found_again(name: str, tmp_path: Path) -> None:
    records = fit.read(write_file(tmp_path, name, rows()))
    profile = fit.fit_profile(records, "site", "Example lab, November 2026")
    assert profile.queue is not None
    assert profile.subjob_overhead is not None
    assert profile.queue.kind == "lognormal"
    assert profile.queue.median.seconds == pytest.approx(30.0, rel=0.2)
    assert profile.queue.sigma == pytest.approx(1.2, rel=0.1)
    assert profile.subjob_overhead.mean_s == pytest.approx(2.0, rel=0.02)
    assert fit.goodness(records, profile) < 0.08


def test_every_number_is_measured_and_says_where(tmp_path: Path) -> None:
    records = fit.read(write_file(tmp_path, "records.json", rows(50)))
    profile = fit.fit_profile(records, "site", "Example lab, November 2026")
    file = tmp_path / "site.toml"
    file.write_text(fit.toml_of(profile))
    again = load(str(file))
    assert again == profile
    assert {named.figure.tag for named in again.figures()} == {"measured"}
    assert all("Example lab" in named.figure.source for named in again.figures())
    assert {omission.component for omission in again.not_modelled} == {
        "link",
        "poll_interval",
        "submissions_per_minute",
        "calibration",
    }


def test_ibms_own_metrics_are_taken_as_they_are(tmp_path: Path) -> None:
    """As GET /jobs/{id}/metrics; without the shots' time the smallest usage bounds the overhead."""
    metrics = [
        {
            "timestamps": {name: row[name] for name in ("created", "running", "finished")},
            "usage": {"qpu_charge_time_seconds": row["usage_s"], "status": "final"},
        }
        for row in rows(40)
    ]
    metrics.append({"timestamps": {"created": START.isoformat(), "running": None, "finished": None}})
    records = fit.read(write_file(tmp_path, "metrics.json", metrics))
    assert len(records) == 40
    overhead = fit.fit_profile(records, "site", "Example lab").subjob_overhead
    assert overhead is not None
    assert overhead.kind == "constant"
    assert overhead.mean_s == pytest.approx(min(record.usage_s for record in records), rel=1e-4)


def test_another_distribution_shows_as_a_distance(tmp_path: Path) -> None:
    two_worlds = rows(100)
    for number, row in enumerate(two_worlds):
        running = datetime.fromisoformat(row["created"]) + timedelta(seconds=1 if number % 2 else 1e4)
        row |= {"running": running.isoformat(), "finished": (running + timedelta(seconds=3)).isoformat()}
    records = fit.read(write_file(tmp_path, "records.json", two_worlds))
    assert fit.goodness(records, fit.fit_profile(records, "site", "Example lab")) > 0.2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"created": "yesterday"}, ("job 3", "created", "'yesterday'")),
        ({"usage_s": "much"}, ("job 3", "usage_s", "'much'")),
        ({"usage_s": "nan"}, ("job 3", "usage_s", "'nan'")),
        ({"created": ""}, ("job 3", "created")),
        ({"running": "2020-01-01T00:00:00+00:00"}, ("job 3", "before it was created")),
        ({"running": "2020-01-01T00:00:00"}, ("job 3", "before it was created")),
    ],
)
def test_a_bad_record_is_one_line(change: dict[str, Any], words: tuple[str, ...], tmp_path: Path) -> None:
    content = rows(30)
    content[2] |= change
    file = write_file(tmp_path, "records.csv", content)
    with pytest.raises(SettingsError) as refused:
        fit.read(file)
    assert all(word in str(refused.value) for word in (*words, str(file)))
    assert "\n" not in str(refused.value)


def test_too_few_records_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="3 jobs that ran; a profile needs at least 20"):
        fit.read(write_file(tmp_path, "records.json", rows(3)))


def test_the_command_writes_a_profile_that_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_file(tmp_path, "records.csv", rows(60))
    out = tmp_path / "lab.toml"
    monkeypatch.setattr(
        sys, "argv", ["shotclock", "profile", "fit", str(file), "--name", "lab", "--out", str(out), "--json"]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in {0, None}
    document = json.loads(capsys.readouterr().out)
    assert document["records"] == 60
    assert load(str(out)).name == "lab"
