"""Folders of the user, by the XDG base directory specification."""

from __future__ import annotations

import os
from pathlib import Path


def user_folder(variable: str, below_home: str) -> Path | None:
    """The folder that the variable names, else the one in the user's home; None: there is no home.

    `Path.home` raises for a user whom the machine does not know, as in a container under any user id.
    """
    if folder := os.environ.get(variable):
        return Path(folder)
    try:
        return Path.home() / below_home
    except RuntimeError:
        return None
