"""AMD's cards as a host's sysfs shows them: what is reported, and what is left out."""

from __future__ import annotations

from pathlib import Path

from amd_tree import amd_host, write
from shotclock.placement.accelerators import accelerators, driver, rocm


def test_a_host_without_amd_tells_nothing(tmp_path: Path) -> None:
    assert accelerators(tmp_path) == ()
    assert (driver(tmp_path), rocm(tmp_path)) == ("", "")
    write(tmp_path, "sys/class/drm/card0/device/vendor", "0x10de")
    assert accelerators(tmp_path) == ()


def test_cards_are_in_the_order_of_their_numbers_and_connectors_are_left_out(tmp_path: Path) -> None:
    amd_host(tmp_path, cards=(10, 2))
    write(tmp_path, "sys/class/drm/card2-DP-1/device/vendor", "0x1002")
    write(tmp_path, "sys/class/drm/renderD128/device/vendor", "0x1002")
    cards = accelerators(tmp_path)
    assert [card.card for card in cards] == ["card2", "card10"]
    assert [card.address for card in cards] == ["0000:02:00.0", "0000:0a:00.0"]


def test_a_card_tells_memory_and_firmware_and_leaves_out_what_is_unknown(tmp_path: Path) -> None:
    amd_host(tmp_path)
    (card,) = accelerators(tmp_path)
    assert card.memory_bytes == 206_141_652_992
    assert card.vbios == "113-M3000100-102"
    assert card.firmware == {"mec": "0x0000009b", "smc": "0x00556000"}
    write(tmp_path, "sys/class/drm/card0/device/mem_info_vram_total", "N/A")
    write(tmp_path, "sys/class/drm/card0/device/vbios_version", "")
    (card,) = accelerators(tmp_path)
    assert (card.memory_bytes, card.vbios) == (None, "")


def test_the_driver_is_its_version_or_the_checksum_of_its_source(tmp_path: Path) -> None:
    amd_host(tmp_path)
    assert (driver(tmp_path), rocm(tmp_path)) == ("6.12.12", "7.0.1-42")
    (tmp_path / "sys/module/amdgpu/version").unlink()
    write(tmp_path, "sys/module/amdgpu/srcversion", "533BB7E5866E52F63B9ACCB")
    assert driver(tmp_path) == "the kernel's own, srcversion 533BB7E5866E52F63B9ACCB"
