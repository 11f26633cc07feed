"""Templates on disk: one file per template, kept across restarts. Imports Qiskit: for the worker.

A file is two lines of text and the QPY bytes:

    {"format": 1, "identity": {…}, "facts": {…}, "qpy": 18}
    SHA-256 of the first line and the QPY bytes, hexadecimal
    QISKIT…

Its name is its identity's key. A file with unexpected content is renamed to `….refused` and the template
compiled again. Only JSON and, later, QPY are loaded, and neither holds code.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from qiskit.qpy import common
from qiskit.transpiler import Target

from shotclock.circuits import template_check, templates, user_circuits
from shotclock.circuits.cache import Disk, ObtainedTemplate, TemplateRequest
from shotclock.circuits.templates import TargetSource, TemplateIdentity
from shotclock.domain import files
from shotclock.domain.circuit import Bound, Template

log = logging.getLogger(__name__)

FORMAT = 1
MOST_BYTES = 64 * 2**20
# The beginning of a QPY file: its magic word, then its version in one byte.
QPY_MAGIC = b"QISKIT" + bytes([common.QPY_VERSION])


class _Facts(BaseModel):
    """A template's figures without its circuit.

    line: physical qubits
    duration_s: of one shot, seconds
    two_qubit_gates: number of two-qubit gates
    two_qubit_depth: depth counted in two-qubit gates
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    line: tuple[int, ...]
    duration_s: float
    two_qubit_gates: int
    two_qubit_depth: int


class TemplateStore:
    """A folder of template files; several processes may share it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, identity: TemplateIdentity) -> Path:
        """The path of this identity's template, whether or not it exists."""
        return self._folder / f"{identity.key}.template"

    def read(
        self, identity: TemplateIdentity, target: Target, names: frozenset[str] = frozenset()
    ) -> Template | Disk:
        """The template, or why it cannot be used; a refused file is renamed if possible.

        What the file says is computed again from its circuit and the target, see `template_check`.
        """
        path, why = self.path(identity), ""
        parsed: Template | Disk = Disk.FORMAT
        try:
            if path.stat().st_size <= MOST_BYTES:
                parsed = parse(path.read_bytes(), identity)
        except FileNotFoundError:
            return Disk.ABSENT
        except OSError:
            parsed = Disk.UNREADABLE
        if isinstance(parsed, Template) and (
            why := template_check.find_fault(parsed, identity, target, MOST_BYTES, names)
        ):
            parsed = Disk.FACTS
        if isinstance(parsed, Disk):
            log.warning("%s: %s; compiled again", path, f"{parsed}: {why}" if why else parsed)
            with contextlib.suppress(OSError):
                path.replace(path.with_suffix(".refused"))
        return parsed

    def write(self, identity: TemplateIdentity, template: Template) -> None:
        """Stores a template atomically; raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        # No fsync: a file torn by a power cut fails its checksum and is compiled again.
        with files.replace(self.path(identity), mode=0o600) as file:
            file.write(serialise(identity, template))


def serialise(identity: TemplateIdentity, template: Template) -> bytes:
    """The content of a template's file."""
    facts = _Facts(
        line=template.line,
        duration_s=template.duration_s,
        two_qubit_gates=template.two_qubit_gates,
        two_qubit_depth=template.two_qubit_depth,
    )
    header = json.dumps(
        {
            "format": FORMAT,
            "identity": json.loads(identity.json),
            "facts": facts.model_dump(),
            "qpy": common.QPY_VERSION,
        }
    ).encode()
    return seal(header, template.qpy)


def seal(header: bytes, payload: bytes) -> bytes:
    """A header line and QPY bytes with their checksum between them."""
    return b"\n".join((header, _checksum(header, payload), payload))


def parse(content: bytes, identity: TemplateIdentity) -> Template | Disk:
    """The template in a file's content, or why it is refused."""
    header, _, body = content.partition(b"\n")
    checksum, _, payload = body.partition(b"\n")
    fields = _fields(header)
    checks = (
        (Disk.FORMAT, fields.get("format") == FORMAT),
        (Disk.IDENTITY, fields.get("identity") == json.loads(identity.json)),
        (Disk.QPY, fields.get("qpy") == common.QPY_VERSION),
        (Disk.DAMAGED, checksum == _checksum(header, payload)),
        (Disk.QPY, payload.startswith(QPY_MAGIC)),
    )
    for reason, holds in checks:
        if not holds:
            return reason
    try:
        # JSON mode: a list is a tuple there.
        facts = _Facts.model_validate_json(json.dumps(fields.get("facts")))
    except ValidationError:
        return Disk.FORMAT
    return Template(
        key=identity.key,
        device=identity.device,
        line=facts.line,
        qpy=payload,
        duration_s=facts.duration_s,
        two_qubit_gates=facts.two_qubit_gates,
        two_qubit_depth=facts.two_qubit_depth,
        native=identity.is_native,
    )


def obtain(
    request: TemplateRequest, device: str, target_source: TargetSource, folder: Path | None
) -> ObtainedTemplate:
    """The template from the folder, or compiled and stored there; without a folder, always compiled.

    Raises what `templates.compile_template` and `user_circuits.compile_bound` raise; disk errors are logged
    and returned, never raised.
    """
    target = target_source(device)
    identity = (
        user_circuits.identity(request, device, target)
        if isinstance(request, Bound)
        else templates.identify(request, device, target)
    )
    if folder is None:
        return _compile_template(request, identity, target, Disk.OFF)
    store = TemplateStore(folder)
    names = frozenset(request.names) if isinstance(request, Bound) else frozenset[str]()
    stored = store.read(identity, target, names)
    if isinstance(stored, Template):
        return ObtainedTemplate(stored, identity.calibration, Disk.LOADED, 0.0)
    compiled = _compile_template(request, identity, target, stored)
    try:
        store.write(identity, compiled.template)
    except OSError as error:
        _warn_unwritable(folder, error.strerror or str(error))
        return ObtainedTemplate(compiled.template, compiled.calibration, Disk.UNWRITABLE, compiled.compile_s)
    return compiled


@functools.cache
def _warn_unwritable(folder: Path, why: str) -> None:
    """Logs once per folder and reason, not once per template."""
    log.warning("%s: cannot be written: %s; templates are compiled again at each start", folder, why)


def _compile_template(
    request: TemplateRequest, identity: TemplateIdentity, target: Target, disk: Disk
) -> ObtainedTemplate:
    began_s = time.perf_counter()
    if isinstance(request, Bound):
        template = user_circuits.compile_bound(request, identity, target)
    else:
        template = templates.compile_identity(identity, target)
    return ObtainedTemplate(template, identity.calibration, disk, time.perf_counter() - began_s)


def _fields(header: bytes) -> dict[str, object]:
    """The header's JSON object; empty if the header is not one."""
    try:
        value = json.loads(header)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _checksum(header: bytes, payload: bytes) -> bytes:
    return hashlib.sha256(header + b"\n" + payload).hexdigest().encode()
