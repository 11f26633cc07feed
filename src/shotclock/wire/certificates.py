"""Certificate files: read, checked, and read again when they change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from shotclock.domain.errors import MachineError
from shotclock.domain.overview import CertificateDates
from shotclock.wire import pem
from shotclock.wire.certificate_checks import (
    Purpose,
    check_chain,
    notice_of_expiry,
    refuse_authorities,
    refuse_out_of_date,
)

log = logging.getLogger(__name__)

OTHERS, OTHERS_THAN_GROUP = 0o077, 0o037


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. certificate: the own chain, leaf first; authorities: who may have signed the peer's."""

    certificate: Path
    private_key: Path
    authorities: Path


@dataclass(frozen=True, slots=True)
class CertificateIdentity:
    """What the files hold, as PEM that gRPC takes."""

    certificate: bytes
    private_key: bytes
    authorities: bytes

    def __repr__(self) -> str:
        return "Identity(…)"


@dataclass(frozen=True, slots=True)
class _Content:
    """The files' bytes, and what was parsed from them.

    raw: the bytes of the certificate, of its key and of the authorities, in this order.
    identity: what gRPC takes, as PEM.
    leaf: the first certificate of the chain, the own one.
    authorities: the certificates of the authorities.
    """

    raw: tuple[bytes, bytes, bytes]
    identity: CertificateIdentity
    leaf: x509.Certificate
    authorities: tuple[x509.Certificate, ...]


def log_refusal(reason: str) -> None:
    """Where nobody else hears why new files are not in use, the log does."""
    log.warning("%s", reason)


def utc_now() -> datetime:
    """The wall clock, which is what certificates are dated by."""
    return datetime.now(UTC)


def load(files: TlsFiles, now: datetime, purpose: Purpose = Purpose.CLIENT) -> CertificateIdentity:
    """Reads and checks the files; MachineError names the one that cannot be used, and why."""
    content = _parse(_read_all(files), files, purpose)
    _refuse_out_of_date(content, files, now)
    return content.identity


def find_notice(files: TlsFiles, now: datetime, purpose: Purpose) -> str:
    """One line where the own certificate expires soon, "" where it does not. MachineError as of `load`."""
    content = _parse(_read_all(files), files, purpose)
    _refuse_out_of_date(content, files, now)
    return notice_of_expiry(content.leaf, files.certificate, now)


def _read_all(files: TlsFiles) -> tuple[bytes, bytes, bytes]:
    raw = (
        pem.read_file(files.certificate),
        pem.read_file(files.private_key),
        pem.read_file(files.authorities),
    )
    _refuse_readable_by_others(files.private_key)
    return raw


def _parse(raw: tuple[bytes, bytes, bytes], files: TlsFiles, purpose: Purpose) -> _Content:
    chain = pem.parse_certificates(raw[0], files.certificate)
    key = pem.parse_private_key(raw[1], files.private_key)
    authorities = pem.parse_certificates(raw[2], files.authorities)
    check_chain(chain, key, files.certificate, files.private_key, purpose)
    identity = CertificateIdentity(
        pem.encode_certificates(chain), pem.encode_private_key(key), pem.encode_certificates(authorities)
    )
    return _Content(raw, identity, chain[0], authorities)


def _refuse_out_of_date(content: _Content, files: TlsFiles, now: datetime) -> None:
    refuse_out_of_date(content.leaf, files.certificate, now)
    refuse_authorities(content.authorities, files.authorities, now)


def is_open_to_others(mode: int, owner: int) -> bool:
    """Whether more than one account may read a key. The group of root's file may, as PostgreSQL has it:
    so Kubernetes mounts a secret for a process that is not root (`fsGroup`, `defaultMode: 0440`).
    """
    return bool(mode & (OTHERS if owner else OTHERS_THAN_GROUP))


def _refuse_readable_by_others(path: Path) -> None:
    try:
        status = path.stat()
    except OSError as error:
        raise pem.unreadable(path, error) from error
    mode = status.st_mode & 0o777
    if is_open_to_others(mode, status.st_uid):
        raise MachineError(f"{path}: mode {mode:04o} opens a private key to others; run chmod 600 {path}")


class LiveIdentity:
    """The newest usable content of the files, from any thread.

    Files that cannot be used (half written, mismatched, expired) change nothing; `on_refused` hears why,
    once for each reason; also when the one in use expires and none takes its place. The files are read
    whole each time: they are small, and a modification time can stand still.
    """

    def __init__(
        self,
        files: TlsFiles,
        purpose: Purpose = Purpose.CLIENT,
        *,
        now: Callable[[], datetime] = utc_now,
        on_refused: Callable[[str], None] = log_refusal,
    ) -> None:
        self._files = files
        self._purpose = purpose
        self._now = now
        self._on_refused = on_refused
        self._refused = ""
        self._lock = threading.Lock()
        self._content = _parse(_read_all(files), files, purpose)
        _refuse_out_of_date(self._content, files, now())

    @property
    def current(self) -> CertificateIdentity:
        """The content in use."""
        return self._content.identity

    @property
    def dates(self) -> CertificateDates:
        """Of the certificate in use."""
        leaf = self._content.leaf
        return CertificateDates(leaf.not_valid_before_utc.timestamp(), leaf.not_valid_after_utc.timestamp())

    def refresh(self) -> bool:
        """Looks at the files; whether `current` is another one now."""
        with self._lock:
            try:
                raw = _read_all(self._files)
                if raw == self._content.raw:
                    _refuse_out_of_date(self._content, self._files, self._now())
                    return False
                files_read = _parse(raw, self._files, self._purpose)
                _refuse_out_of_date(files_read, self._files, self._now())
            except MachineError as error:
                self.refuse(str(error))
                return False
            changed = files_read.identity != self.current
            self._content = files_read
            self._refused = ""
        if changed:
            log.info("%s: a new certificate is in use", self._files.certificate)
        return changed

    def impediment(self) -> str:
        """Why no handshake can succeed by the content in use, "" where one can. Reads no file."""
        try:
            _refuse_out_of_date(self._content, self._files, self._now())
        except MachineError as error:
            return str(error)
        return ""

    def notice(self) -> str:
        """What to do soon about the certificate in use, "" where nothing is."""
        return self.impediment() or notice_of_expiry(self._content.leaf, self._files.certificate, self._now())

    def refuse(self, reason: str) -> None:
        """Keeps the present identity, and reports why."""
        if reason != self._refused:
            self._refused = reason
            self._on_refused(f"{reason}; the previous certificate stays in use")
