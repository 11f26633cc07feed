"""The certificates of a drill's site, issued by an authority that exists for as long as the drill."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from shotclock.domain import files
from shotclock.wire.certificates import TlsFiles

AUTHORITY = "authority of a drill"


@dataclass(frozen=True)
class Authority:
    """Signs certificates into a folder, whose `ca.pem` is its own certificate."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def create(cls, folder: Path) -> Authority:
        """A new authority; writes `ca.pem`."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, AUTHORITY)])
        certificate = (
            _builder(name, key.public_key(), days=30)
            .issuer_name(name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write_bytes(folder / "ca.pem", certificate.public_bytes(Encoding.PEM))
        return cls(folder, key, certificate)

    def issue(self, name: str, days: float, file: str = "") -> TlsFiles:
        """A certificate for a DNS name, valid for so many days, as FILE.pem and FILE.key."""
        stem = file or name
        paths = TlsFiles(self.folder / f"{stem}.pem", self.folder / f"{stem}.key", self.folder / "ca.pem")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            _builder(subject, key.public_key(), days)
            .issuer_name(self.certificate.subject)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with files.replace(paths.private_key, 0o600) as key_file:
            key_file.write(private)
        files.write_bytes(paths.certificate, certificate.public_bytes(Encoding.PEM))
        return paths


def _builder(subject: x509.Name, key: ec.EllipticCurvePublicKey, days: float) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
    )
