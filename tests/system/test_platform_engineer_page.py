"""The examples of docs/platform-engineer.md, in a separate module, to run beside those of the other pages."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_docs import PLATFORM_ENGINEER, run_examples

import base_environment


def test_the_examples_of_the_platform_engineer_work(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with base_environment.commands(tmp_path_factory.mktemp("log")) as shotclock:
        run_examples(PLATFORM_ENGINEER, tmp_path, shotclock)
