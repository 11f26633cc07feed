"""The options that every benchmark has."""

from __future__ import annotations

import argparse


def make_parser(description: str | None, quick: str) -> argparse.ArgumentParser:
    """--quick, which takes as long as `quick` says, and the form of what is printed."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help=quick)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one object, metric → number")
    form.add_argument("--markdown", action="store_true", help="the section of docs/benchmarks.md (default)")
    return parser
