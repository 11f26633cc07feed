"""Certificate files: read, checked, and read again when they change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from shotclock.domain import encoding
from shotclock.domain.errors import MachineError

log = logging.getLogger(__name__)

OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. certificate: the own chain, leaf first; authorities: who may have signed the peer's."""

    certificate: Path
    private_key: Path
    authorities: Path


@dataclass(frozen=True, slots=True)
class Identity:
    """What the files hold."""

    certificate: bytes
    private_key: bytes
    authorities: bytes

    def __repr__(self) -> str:
        return "Identity(…)"


def no_report(reason: str) -> None:
    """Nobody counts refused certificates; the log has them."""


def utc_now() -> datetime:
    """The wall clock, which is what certificates are dated by."""
    return datetime.now(UTC)


def load(files: TlsFiles, now: datetime) -> Identity:
    """Reads and checks the files; MachineError names the one that cannot be used, and why."""
    identity = _read_all(files)
    _check(identity, files, now)
    return identity


def _read_all(files: TlsFiles) -> Identity:
    _refuse_readable_by_others(files.private_key)
    return Identity(_read(files.certificate), _read(files.private_key), _read(files.authorities))


def _check(identity: Identity, files: TlsFiles, now: datetime) -> None:
    leaf = _certificates(identity.certificate, files.certificate)[0]
    _refuse_out_of_date(leaf, files.certificate, now)
    _refuse_mismatch(leaf, identity.private_key, files)
    authorities = _certificates(identity.authorities, files.authorities)
    if all(authority.not_valid_after_utc < now for authority in authorities):
        raise MachineError(f"{files.authorities}: every certificate in it has expired; ask for a new one")


def _read(path: Path) -> bytes:
    """A PEM file; gRPC's core reads none that begins with a byte order mark."""
    try:
        return encoding.read_text(path).encode()
    except UnicodeError as error:
        raise MachineError(f"{path}: is not PEM: {error}") from error
    except OSError as error:
        raise MachineError(
            f"{path}: cannot be read ({error.strerror}); check the path and its owner"
        ) from error


def _refuse_readable_by_others(path: Path) -> None:
    try:
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        raise MachineError(
            f"{path}: cannot be read ({error.strerror}); check the path and its owner"
        ) from error
    if mode & OTHERS:
        raise MachineError(f"{path}: mode {mode:04o} opens a private key to others; run chmod 600 {path}")


def _certificates(data: bytes, path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise MachineError(f"{path}: holds no PEM certificate") from error


def _refuse_out_of_date(leaf: x509.Certificate, path: Path, now: datetime) -> None:
    if now < leaf.not_valid_before_utc:
        raise MachineError(f"{path}: not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")
    if now > leaf.not_valid_after_utc:
        raise MachineError(
            f"{path}: expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; ask for a new one"
        )


def _refuse_mismatch(leaf: x509.Certificate, private_key: bytes, files: TlsFiles) -> None:
    try:
        key = load_pem_private_key(private_key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MachineError(f"{files.private_key}: holds no PEM private key without a password") from error
    encoding = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*encoding) != leaf.public_key().public_bytes(*encoding):
        raise MachineError(f"{files.private_key}: is not the key of {files.certificate}")


class LiveIdentity:
    """The newest usable content of the files, from any thread.

    Files that cannot be used (half written, mismatched, expired) change nothing; `on_refused` hears why,
    once for each reason; also when the one in use expires and none takes its place. The files are read
    whole each time: they are small, and a modification time can stand still.
    """

    def __init__(
        self,
        files: TlsFiles,
        *,
        now: Callable[[], datetime] = utc_now,
        on_refused: Callable[[str], None] = no_report,
    ) -> None:
        self._files = files
        self._now = now
        self._on_refused = on_refused
        self._refused = ""
        self._lock = threading.Lock()
        self.current = load(files, now())
        self._leaf = _certificates(self.current.certificate, files.certificate)[0]

    def refreshed(self) -> bool:
        """Looks at the files; whether `current` is another one now."""
        with self._lock:
            try:
                found = _read_all(self._files)
                if found == self.current:
                    _refuse_out_of_date(self._leaf, self._files.certificate, self._now())
                    return False
                _check(found, self._files, self._now())
            except MachineError as error:
                self.refuse(str(error))
                return False
            self.current = found
            self._leaf = _certificates(found.certificate, self._files.certificate)[0]
            self._refused = ""
        log.info("%s: a new certificate is in use", self._files.certificate)
        return True

    def refuse(self, reason: str) -> None:
        """The present identity stays, because."""
        if reason != self._refused:
            self._refused = reason
            log.warning("%s; the previous certificate stays in use", reason)
            self._on_refused(reason)
