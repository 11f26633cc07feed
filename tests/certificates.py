"""Certificates for tests of the wire, signed by an authority made on the spot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from shotclock.wire.certificates import TlsFiles

TRAINER = "spiffe://shotclock.test/trainer"
OPERATOR = "spiffe://shotclock.test/operator"
PROBE = "probe.shotclock.test"
STRANGER = "spiffe://shotclock.test/stranger"
SERVER = "localhost"


def write(path: Path, data: bytes, mode: int = 0o644) -> Path:
    """At once, as a tool that renews certificates does: written beside, then moved into place."""
    beside = path.with_suffix(".new")
    beside.touch(mode)
    beside.chmod(mode)
    beside.write_bytes(data)
    return beside.replace(path)


@dataclass
class Site:
    """A folder of identities: `authority` signs new ones, which take peers of every one in `trusted`."""

    folder: Path
    authority: trustme.CA
    trusted: tuple[trustme.CA, ...]

    @classmethod
    def at(cls, folder: Path) -> Site:
        authority = trustme.CA()
        return cls(folder, authority, (authority,))

    @property
    def authorities(self) -> bytes:
        return b"".join(authority.cert_pem.bytes() for authority in self.trusted)

    def files(self, name: str) -> TlsFiles:
        folder = self.folder / name.replace("/", "_").replace(":", "_")
        folder.mkdir(exist_ok=True, parents=True)
        return TlsFiles(folder / "tls.pem", folder / "tls.key", folder / "ca.pem")

    def issue(self, *names: str, hours: tuple[int, int] = (-1, 24)) -> TlsFiles:
        """A new certificate in the first name's files, valid between these hours from now."""
        files = self.files(names[0])
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write(files.private_key, private, 0o600)
        write(files.certificate, self._sign(key.public_key(), names, hours))
        write(files.authorities, self.authorities)
        return files

    def _sign(self, key: ec.EllipticCurvePublicKey, names: tuple[str, ...], hours: tuple[int, int]) -> bytes:
        # trustme signs no URI names, and SPIFFE's are URIs
        authority = x509.load_pem_x509_certificate(self.authority.cert_pem.bytes())
        signer = load_pem_private_key(self.authority.private_key_pem.bytes(), password=None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(authority.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(hours=hours[0]))
            .not_valid_after(now + timedelta(hours=hours[1]))
            .add_extension(
                x509.SubjectAlternativeName([to_general_name(name) for name in names]), critical=True
            )
            .sign(signer, hashes.SHA256())
        )
        return certificate.public_bytes(Encoding.PEM)


def to_general_name(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    return x509.RFC822Name(name) if "@" in name else x509.DNSName(name)


def put(site: Site, name: str, key: Any, *extensions: x509.ExtensionType, named: bool = True) -> TlsFiles:
    """A certificate of this key with these extensions, signed by the site's authority."""
    files = site.issue(name)
    issued = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    signer: Any = load_pem_private_key(site.authority.private_key_pem.bytes(), None)
    builder = (
        x509.CertificateBuilder()
        .subject_name(issued.subject)
        .issuer_name(issued.issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(issued.not_valid_before_utc)
        .not_valid_after(issued.not_valid_after_utc)
    )
    for extension in (*(extension.value for extension in issued.extensions if named), *extensions):
        builder = builder.add_extension(extension, critical=True)
    write(files.certificate, builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM))
    write(files.private_key, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    return files
