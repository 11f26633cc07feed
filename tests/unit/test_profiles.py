"""Profiles and devices: every number traceable, the published ones without an assumption."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from shotclock.domain.errors import SettingsError
from shotclock.emulator import device
from shotclock.emulator.profile import list_profiles, load

PROFILES = Path(device.__file__).parent / "profiles"
DEVICES = Path(device.__file__).parent / "devices"

GOOD = (PROFILES / "public-cloud.toml").read_text("utf-8")


def bare_numbers(tree: object, key: str = "") -> list[str]:
    """Where a file holds a number outside a {value, unit, tag, source} table."""
    if isinstance(tree, list):
        return [bad for entry in tree for bad in bare_numbers(entry, key)]
    if not isinstance(tree, dict):
        return [key] if isinstance(tree, int | float) and not isinstance(tree, bool) else []
    if set(tree) == {"value", "unit", "tag", "source"} and not isinstance(tree["value"], dict):
        return []
    return [bad for name, entry in tree.items() for bad in bare_numbers(entry, f"{key}.{name}")]


@pytest.mark.parametrize(
    "file",
    [*PROFILES.glob("*.toml"), *DEVICES.glob("*.toml"), DEVICES.parent / "families.toml"],
    ids=lambda file: file.stem,
)
def test_every_number_says_where_it_is_from(file: Path) -> None:
    assert bare_numbers(tomllib.loads(file.read_text("utf-8"))) == [".schema"]


@pytest.mark.parametrize("name", ["onprem-today", "public-cloud"])
def test_what_claims_to_be_published_assumes_nothing(name: str) -> None:
    figures = load(name).figures()
    assert figures
    assert {named.figure.tag for named in figures} == {"published"}


@pytest.mark.parametrize("name", ["colocated", "onprem-today", "public-cloud"])
def test_shipped_profiles_load_under_their_own_name(name: str) -> None:
    profile = load(name)
    assert profile.name == name
    assert all(len(named.figure.source) > 20 for named in profile.figures())


def test_colocated_says_that_it_is_a_target() -> None:
    profile = load("colocated")
    assert "TARGET" in profile.summary
    assert profile.sanity is not None
    assert any(named.figure.tag == "assumed" for named in profile.figures())


def test_the_published_profiles_use_no_figure_of_another_machine() -> None:
    for name in ("onprem-today", "public-cloud"):
        assert not any("IT4I" in named.figure.source for named in load(name).figures())


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(SettingsError, match="no profile 'public-clud'; did you mean 'public-cloud'"):
        load("public-clud")
    with pytest.raises(SettingsError, match="known: heron-boston, heron-fez, heron-marrakesh, heron-t"):
        device.target("heron-tornio")
    assert set(list_profiles()) == {"colocated", "onprem-today", "public-cloud"}
    assert device.list_devices() == (
        "heron-boston",
        "heron-fez",
        "heron-marrakesh",
        "heron-torino",
        "nighthawk-berlin",
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('tag = "published"', 'tag = "guessed"', "tag: Input should be 'published', 'measured' or 'assumed'"),
        ("[link.rtt]\nvalue = 25", "[link.rtt]\nvalue = -25", "link.rtt.value"),
        ("[link.rtt]\nvalue = 25", "[link.rtt]\nvalue = nan", "link.rtt.value"),
        ("[link.rtt]\nvalue = 25\n", "[link.rtt]\n", "link.rtt.value: Field required"),
        ("[link.rtt]", "[link.rrt]", "link.rtt: Field required"),
        ('unit = "per minute"', 'unit = "s"', "submissions_per_minute has the unit 's', expected a count"),
        ('kind = "constant"', 'kind = "normal"', "subjob_overhead"),
        ('component = "queue"', 'component = "link"', "file: link must be either modelled or listed"),
        ("schema = 1", "schema = 2", "schema"),
        ("[link.rtt]", "[link.rtt", "malformed TOML"),
    ],
)
def test_a_bad_file_is_one_line_that_names_file_and_key(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in GOOD
    file = tmp_path / "site.toml"
    file.write_text(GOOD.replace(old, new, 1), "utf-8")
    with pytest.raises(SettingsError) as caught:
        load(str(file))
    assert "site.toml" in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_of_ones_own_loads_by_path(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text(GOOD, "utf-8")
    assert load(str(file)) == load("public-cloud")
    with pytest.raises(SettingsError, match=r"missing\.toml: cannot be read"):
        load(str(tmp_path / "missing.toml"))


def test_efficiency_follows_from_the_snapshots_own_clops() -> None:
    facts = device.describe("heron-torino")
    # 250 + 100 × (68 + 2 × 32) ns + 1.56 + 1.708 µs over 100 ÷ 210,000 layers a second.
    assert facts.efficiency == pytest.approx((250 + 13.2 + 1.56 + 1.708) / (1e8 / 210_000))
    assert facts.calibration_id.startswith("FakeTorino@2025-02-26")
    assert (facts.rep_delay_low_s, facts.rep_delay_default_s, facts.rep_delay_high_s) == (0.0, 250e-6, 500e-6)
