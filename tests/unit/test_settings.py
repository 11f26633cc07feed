"""Settings: order of sources, and one clear line for a person's mistake."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

import pytest

from shotclock.app.check_names import check_names
from shotclock.app.main_job import lock, parse_arms, parse_thresholds
from shotclock.bench.record.arm_runs import LATENCIES, RATIOS
from shotclock.domain.errors import SettingsError
from shotclock.settings import load
from shotclock.settings.toml_lines import line_of


def write_file(folder: Path, text: str) -> Path:
    file = folder / "shotclock.toml"
    file.write_text(text, encoding="utf-8")
    return file


def threshold(metric: str, limit: str) -> str:
    return f'[[threshold]]\nmetric = "{metric}"\n{limit}\n'


def test_flags_beat_environment_beat_file_beat_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_file(tmp_path, "[bench]\nseeds = 2\nsteps = 20\nwarmup_steps = 7\n")
    monkeypatch.setenv("SHOTCLOCK_BENCH__SEEDS", "3")
    monkeypatch.setenv("SHOTCLOCK_BENCH__STEPS", "30")
    settings = load(file, {"bench": {"seeds": 4}})
    assert (settings.bench.seeds, settings.bench.steps, settings.bench.warmup_steps) == (4, 30, 7)
    assert settings.kernel.n == 12


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("schema = 1\n\n[quantum]\nshotz = 3\n", 4, ("quantum.shotz", "unknown key", "'shots'")),
        ("[bench]\nsteps = 0\n", 2, ("bench.steps", "greater than or equal to 1", "0")),
        ('[bench]\nworkload = "digits-mlp"\narms = "x"\n', 3, ("bench.arms",)),
        ("[quantm]\nshots = 3\n", 1, ("quantm", "'quantum'")),
        ('[quantum]\nmode = "later"\n', 2, ("quantum.mode", "inline", "later")),
        ("[quantum]\nrep_delay_choices_us = [50, 100]\n", 2, ("rep_delay_choices_us", "shorter")),
        ("[quantum]\nrep_delay_us = -1\n", 2, ("quantum.rep_delay_us: ", "or 'default' (got -1)")),
        ("[quantum]\nrep_delay_us = nan\n", 2, ("quantum.rep_delay_us: ", "finite number, or 'default'")),
        ("[quantum]\nshots = 0\n", 2, ("quantum.shots: input", "or 'fit' (got 0)")),
        ("[quantum]\nbudget_ms = inf\n", 2, ("quantum.budget_ms", "finite")),
        ("[quantum]\nbudget_ms = 1e308\n", 2, ("quantum.budget_ms", "604800000")),
        ("[cost]\nqpu_second = inf\n", 2, ("cost.qpu_second", "finite")),
        ("[bench]\nsteps = true\n", 2, ("bench.steps", "must be a number or text")),
        ("[serve]\nsizes = [300]\n", 2, ("serve.sizes.0", "256 (got 300)")),
        ('[threshold]\nmetric = "a"\nmax = 1\n', 1, ("threshold: must be [[threshold]] tables",)),
        ("[[arm]]\nshots = 1\n", 1, ("arm: must be a table, [arm]",)),
        ('[serve]\nfallbak = "race"\n', 2, ("serve.fallbak", "'fallback'")),
        ("[kernel]\nn = 12\nn2 = 1\n", 3, ("kernel.n2",)),
        ('[[threshold]]\nmetric = "a"\nmax = 1\n[[threshold]]\nmetric = "b"\n', 4, ("exactly one",)),
        ("[arm.hybrid-colocated]\nshot = 3\n", 2, ("arm.hybrid-colocated.shot", "'shots'")),
        ("schema = 2\n", 1, ("schema",)),
        (threshold("arm.quantum_share", "min = 90"), 3, ("threshold.0.min: must be from 0 to 1", "got 90")),
        (threshold("arm.quantum_share", "max = 90"), 3, ("threshold.0.max: must be from 0 to 1",)),
        (threshold("arm.deadline_hit_ratio", "min = -0.1"), 3, ("must be from 0 to 1", "got -0.1")),
        (threshold("arm.deadline_hit_ratio", "min = nan"), 3, ("threshold.0.min: ", "finite")),
        (threshold("arm.added_latency.p95_ms", "max = -1"), 3, ("must be from 0 to 604800000", "got -1")),
        (threshold("arm.added_latency.p95_ms", "max = 1e300"), 3, ("must be from 0 to 604800000",)),
        (threshold("arm.added_latency.p95_ms", "max = inf"), 3, ("threshold.0.max: ", "finite")),
        (threshold("arm.quantum_share", "min = 0.9\nmax = 0.5"), 1, ("exactly one",)),
    ],
)
def test_a_bad_key_is_one_line_with_file_and_line(
    tmp_path: Path, text: str, line: int, words: tuple[str, ...]
) -> None:
    file = write_file(tmp_path, text)
    with pytest.raises(SettingsError) as caught:
        load(file, {})
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{file}:{line}: ")
    assert all(word in message for word in words), message


@pytest.mark.parametrize("metric", [*RATIOS, *(f"{name}.p95_ms" for name in LATENCIES)])
def test_every_metric_a_threshold_can_name_has_a_range(metric: str) -> None:
    for limit in ("min", "max"):
        with pytest.raises(SettingsError, match=f"threshold.0.{limit}: must be from 0 to "):
            load(None, {"threshold": ({"metric": f"hybrid-colocated.{metric}", limit: 1e10},)})


def test_limits_at_the_ends_of_their_range_are_taken() -> None:
    for value in (0, 1):
        load(None, {"threshold": ({"metric": "hybrid-colocated.quantum_share", "min": value},)})
    load(None, {"threshold": ({"metric": "hybrid-colocated.added_latency.p50_ms", "max": 0},)})


@pytest.mark.parametrize(
    ("text", "line", "flags"),
    [
        ("[bench]\nsteps = -4\n", 2, {"bench": {"steps": 10}}),
        ("[bench]\nseeds = 0\n", 2, {"bench": {"seeds": 2}}),
        ("[bench]\nworkload = 3\n", 2, {"bench": {"workload": "digits-mlp"}}),
        ("[bench]\narms = []\n", 2, {"bench": {"arms": ("classical-only",)}}),
        ("[quantum]\nprofile = 3\n", 2, {"quantum": {"profile": "colocated"}}),
        ("[serve]\nlisten = 3\n", 2, {"serve": {"listen": "127.0.0.1:0"}}),
        ("[serve]\n\ninsecure = 3\n", 3, {"serve": {"insecure": True}}),
    ],
)
def test_a_wrong_value_in_the_file_is_refused_although_a_flag_overrides_it(
    tmp_path: Path, text: str, line: int, flags: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_file(tmp_path, text)
    branch, (key,) = text[1 : text.index("]")], next(iter(flags.values())).keys()  # type: ignore[attr-defined]
    with pytest.raises(SettingsError, match=f"^{re.escape(str(file))}:{line}: {branch}.{key}: "):
        load(file, flags)
    if key != "listen":  # of the environment every value is text
        good = flags[branch][key]  # type: ignore[index]
        monkeypatch.setenv(f"SHOTCLOCK_{branch}__{key}".upper(), json.dumps(good).strip('"'))
        with pytest.raises(SettingsError, match=f"^{re.escape(str(file))}:{line}: {branch}.{key}: "):
            load(file, {})


def test_a_wrong_value_in_the_environment_is_refused_although_a_flag_overrides_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHOTCLOCK_BENCH__STEPS", "0")
    with pytest.raises(SettingsError, match=r"^environment: SHOTCLOCK_BENCH__STEPS: bench\.steps: "):
        load(None, {"bench": {"steps": 10}})


@pytest.mark.parametrize(
    ("text", "flags", "words"),
    [
        (
            '[bench]\nworkload = "digits-mpl"\n',
            {"bench": {"workload": "digits-mlp"}},
            "no workload 'digits-mpl'",
        ),
        ('[bench]\narms = ["hybrid"]\n', {"bench": {"arms": ("classical-only",)}}, "no arm 'hybrid'"),
        ('[quantum]\nprofile = "clocated"\n', {"quantum": {"profile": "colocated"}}, "no profile 'clocated'"),
        ('[quantum]\nprovider = "ibn"\n', {"quantum": {"provider": "emulated"}}, "no provider 'ibn'"),
    ],
)
def test_a_name_in_the_file_is_checked_although_a_flag_overrides_it(
    tmp_path: Path, text: str, flags: dict[str, object], words: str
) -> None:
    file = write_file(tmp_path, text)
    with pytest.raises(SettingsError, match=words) as caught:
        check_names(file, load(file, flags))
    assert str(caught.value).startswith(f"{file}: ")


def test_an_arm_of_the_file_may_be_named_after_the_profile_of_a_flag(tmp_path: Path) -> None:
    shipped = resources.files("shotclock.emulator") / "profiles" / "colocated.toml"
    site = tmp_path / "site.toml"
    site.write_text(shipped.read_text("utf-8").replace('"colocated"', '"site"', 1), encoding="utf-8")
    file = write_file(tmp_path, '[bench]\narms = ["classical-only", "hybrid-site"]\n')
    check_names(file, load(file, {"quantum": {"profile": str(site)}}))


def test_a_key_where_a_table_belongs_is_not_hidden_by_a_flag(tmp_path: Path) -> None:
    file = write_file(tmp_path, "schema = 1\nbench = 3\n")
    with pytest.raises(SettingsError) as caught:
        load(file, {"bench": {"seeds": 3}})
    assert str(caught.value) == f"{file}:2: bench: must be a table, [bench]"


def test_malformed_toml_names_the_place(tmp_path: Path) -> None:
    file = write_file(tmp_path, "[bench]\nsteps = = 1\n")
    with pytest.raises(SettingsError, match=r"malformed TOML.*line 2"):
        load(file, {})


def test_a_missing_file_and_one_that_is_not_text(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load(tmp_path / "none.toml", {})
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="UTF-8"):
        load(tmp_path / "b.toml", {})


def test_an_unknown_environment_branch_or_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOTCLOCK_BENHC__SEEDS", "3")
    with pytest.raises(SettingsError, match=r"SHOTCLOCK_BENHC__SEEDS.*'bench'"):
        load(None, {})
    monkeypatch.delenv("SHOTCLOCK_BENHC__SEEDS")
    monkeypatch.setenv("SHOTCLOCK_BENCH__SEDS", "3")
    with pytest.raises(SettingsError, match=r"environment: SHOTCLOCK_BENCH__SEDS: bench\.seds"):
        load(None, {})


def test_a_list_in_the_environment_is_json_and_anything_else_names_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHOTCLOCK_BENCH__SEEDS", "3")
    monkeypatch.setenv("SHOTCLOCK_BENCH__ARMS", '["classical-only"]')
    assert load(None, {}).bench.arms == ("classical-only",)
    monkeypatch.setenv("SHOTCLOCK_BENCH__ARMS", "classical-only")
    with pytest.raises(SettingsError, match=r"^environment: SHOTCLOCK_BENCH__ARMS: a list .* JSON"):
        load(None, {})
    monkeypatch.delenv("SHOTCLOCK_BENCH__ARMS")
    monkeypatch.setenv("SHOTCLOCK_THRESHOLD", "[")
    with pytest.raises(SettingsError, match=r"^environment: SHOTCLOCK_THRESHOLD: "):
        load(None, {})


def test_an_arms_own_table_lies_over_quantum() -> None:
    settings = load(None, {"arm": {"hybrid-colocated": {"shots": 64}}})
    assert settings.quantum_for("hybrid-colocated").shots == 64
    assert settings.quantum_for("hybrid-colocated").budget_ms == settings.quantum.budget_ms
    assert settings.quantum_for("quantum-raw") == settings.quantum


def test_the_lock_file_loads_back_to_the_same_settings(tmp_path: Path) -> None:
    flags = {
        "bench": {"arms": ("classical-only", "hybrid-colocated"), "steps": 10},
        "arm": {"hybrid-colocated": {"every": 3}},
        "threshold": ({"metric": "hybrid-colocated.quantum_share", "min": 0.5},),
    }
    settings = load(None, flags)
    assert load(write_file(tmp_path, lock(settings)), {}) == settings


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"bench": {"arms": ("hybrid-colocatd",)}}, ("no arm 'hybrid-colocatd'", "'hybrid-colocated'")),
        ({"bench": {"arms": ("classical-only", "classical-only")}}, ("named twice",)),
        ({"arm": {"hybrid-colocate": {}}}, ("arm.hybrid-colocate", "'hybrid-colocated'")),
        ({"quantum": {"profile": "colocatd"}}, ("colocatd", "colocated")),
    ],
)
def test_unknown_arms_and_profiles_name_the_nearest(flags: dict[str, object], words: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_arms(load(None, flags))
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("threshold", "words"),
    [
        ({"metric": "hybrid-colocated.quantum_latncy.p95_ms", "max": 1}, ("makes no such metric",)),
        ({"metric": "hybrid-x.quantum_latency.p95_ms", "max": 1}, ("no arm of this run",)),
        ({"metric": "classical-only.quantum_latency.p95_ms", "max": 1}, ("makes no such metric",)),
        ({"metric": "classical-control.quantum_share", "min": 1}, ("makes no such metric",)),
        ({"metric": "hybrid-colocated.quantum_latency.p95_ms", "min": 1}, ("takes max",)),
        ({"metric": "hybrid-colocated.quantum_share", "max": 1}, ("takes min",)),
    ],
)
def test_a_threshold_on_a_metric_no_arm_makes_is_an_error(
    threshold: dict[str, object], words: tuple[str, ...]
) -> None:
    settings = load(None, {"threshold": (threshold,)})
    with pytest.raises(SettingsError) as caught:
        parse_thresholds(settings, parse_arms(settings))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_protected_arm_is_not_taken_for_the_measuring_one() -> None:
    metric = "hybrid-colocated-protected.added_latency.p95_ms"
    settings = load(None, {"threshold": ({"metric": metric, "max": 200},)})
    (threshold,) = parse_thresholds(settings, parse_arms(settings))
    assert threshold.metric == metric


def test_lines_are_found_in_quoted_and_dotted_keys() -> None:
    text = '[arm."hybrid-colocated"]\nshots = 1\n[bench]\nsteps = 3\n'
    assert line_of(text, ("arm", "hybrid-colocated", "shots")) == 2
    assert line_of(text, ("bench", "steps")) == 4
    assert line_of(text, ("cost",)) is None
