"""What an operator may type after `shotclock drain`."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from shotclock.cli.operations import drain


@pytest.mark.parametrize("budget", ["inf", "nan", "1e30", "-1"])
def test_a_budget_that_is_no_time_is_refused_before_anybody_is_asked(budget: str) -> None:
    app = typer.Typer()
    app.command()(drain)
    ran = CliRunner().invoke(app, ["--budget", budget, "--target", "nowhere"])
    assert ran.exit_code == 2
    assert "--budget" in ran.output
