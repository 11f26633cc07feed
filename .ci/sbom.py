"""`make sbom`: writes what the base install consists of, with this package's version, in CycloneDX's format.

cyclonedx-py reads no version that a build computes, so it is set here; the document is validated after that.
"""

import json
import subprocess
import sys
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).parents[1]
VERSION = "import shotclock; print(shotclock.__version__)"


def run(*command: str) -> str:
    """What the command wrote; raises CalledProcessError."""
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: S603


def main(python: str, tool: str, file: str) -> str | None:
    """Writes the file; returns why it does not, if so."""
    project = (
        "--pyproject",
        "pyproject.toml",
        "--output-reproducible",
        "--no-validate",
        "--spec-version",
        "1.6",
    )
    document = json.loads(run(tool, "environment", python, *project, "-o", "-"))
    document["metadata"]["component"]["version"] = run(python, "-c", VERSION).strip()
    text = json.dumps(document, indent=2, sort_keys=True) + "\n"
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if fault is not None:
        return f"sbom: the document is not CycloneDX 1.6: {fault!r}"
    if str(ROOT) in text:
        return f"sbom: the document names this machine's {ROOT}"
    Path(file).parent.mkdir(exist_ok=True)
    Path(file).write_text(text, encoding="utf-8")
    sys.stdout.write(f"sbom: {file}, {len(document['components'])} components, valid CycloneDX 1.6\n")
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
