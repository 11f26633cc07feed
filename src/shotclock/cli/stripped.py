"""Help texts under `python -OO`, which strips the docstrings they come from."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from typing import Any

import typer


def restore_help(app: typer.Typer) -> None:
    """Gives every command its docstring from the source."""
    for command in app.registered_commands:
        if command.callback is not None and not command.help:
            command.help = read_docstring(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            restore_help(group.typer_instance)


def read_docstring(function: Callable[..., Any]) -> str:
    """From the function's source file."""
    (definition,) = ast.parse(inspect.getsource(function)).body
    return ast.get_docstring(definition) or "" if isinstance(definition, ast.FunctionDef) else ""
