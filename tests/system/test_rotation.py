"""Certificates and their authority are replaced again and again under load, and no call fails."""

from __future__ import annotations

import asyncio
from pathlib import Path

from certificates import Site
from rotating import CALLERS, rotate

ROTATIONS = 10


def test_no_call_fails_while_certificates_rotate(tmp_path: Path) -> None:
    endings = asyncio.run(rotate(Site.at(tmp_path), ROTATIONS))
    assert set(endings) == {"Done"}
    assert endings.total() >= 10 * CALLERS * ROTATIONS
