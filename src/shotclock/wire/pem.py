"""PEM files: read, parsed, and written again in the one form that gRPC's TLS stack takes.

gRPC reads a byte-order mark, a bare CR or an indented line as "no certificate", and says so on no channel
of ours: what it gets is therefore encoded again from what was parsed here.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from shotclock.domain.errors import MachineError

DER_SEQUENCE = b"\x30"
"""The first byte of every certificate and key in DER."""

UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_file(path: Path) -> bytes:
    """The file's bytes. MachineError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> MachineError:
    """The one line for a file that cannot be opened."""
    return MachineError(f"{path}: cannot be read ({error.strerror}); check the path and its owner")


def parse_certificates(data: bytes, path: Path) -> tuple[x509.Certificate, ...]:
    """Every certificate in the file, at least one. MachineError says what it holds instead."""
    text = _as_text(data)
    try:
        return tuple(x509.load_pem_x509_certificates(text))
    except ValueError as error:
        raise MachineError(
            f"{path}: holds no PEM certificate{_instead_of_certificate(text, path)}"
        ) from error


def parse_private_key(data: bytes, path: Path) -> PrivateKeyTypes:
    """The key. MachineError says what the file holds instead."""
    text = _as_text(data)
    try:
        return load_pem_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MachineError(
            f"{path}: holds no PEM private key without a password{_instead_of_key(text, path)}"
        ) from error


def encode_certificates(certificates: tuple[x509.Certificate, ...]) -> bytes:
    """PEM, one after the other."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def encode_private_key(key: PrivateKeyTypes) -> bytes:
    """PKCS#8 PEM without a password."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _as_text(data: bytes) -> bytes:
    """Without byte-order mark, indentation and foreign line ends; DER stays as it is."""
    if data.startswith(DER_SEQUENCE):
        return data
    if data.startswith(UTF16):
        data = data.decode("utf-16", errors="replace").encode()
    elif b"\0" in data[:2]:  # an ASCII letter in UTF-16 without its mark
        data = data.decode("utf-16-be" if data[0] == 0 else "utf-16-le", errors="replace").encode()
    lines = data.removeprefix(codecs.BOM_UTF8).splitlines()
    return b"".join(line.strip() + b"\n" for line in lines)


def _instead_of_certificate(text: bytes, path: Path) -> str:
    advice_for = {
        b"PRIVATE KEY-----": " (it holds a private key); are certificate and private key swapped?",
        b"CERTIFICATE REQUEST-----": " (it holds a request for one); give what the authority issued for it",
        b"BEGIN PKCS7-----": f" (it is PKCS#7); convert it: openssl pkcs7 -print_certs -in {path}",
    }
    otherwise = "; give the certificate that the authority issued, as PEM"
    return _instead(text, advice_for, f"openssl x509 -inform der -in {path} -out {path}.pem", otherwise)


def _instead_of_key(text: bytes, path: Path) -> str:
    advice_for = {
        b"ENCRYPTED": f" (it is encrypted); decrypt it: openssl pkey -in {path} -out {path}.pem",
        b"OPENSSH PRIVATE KEY-----": f" (it is OpenSSH's); convert it: ssh-keygen -p -m PKCS8 -f {path}",
        b"PRIVATE KEY-----": " (the one in it is damaged or of an unknown kind); make a P-256 or RSA key",
        b"CERTIFICATE-----": " (it holds a certificate); are certificate and private key swapped?",
        b"PUBLIC KEY-----": " (it holds a public key); give the private one",
    }
    otherwise = "; give a key as PKCS#8 PEM"
    return _instead(text, advice_for, f"openssl pkey -inform der -in {path} -out {path}.pem", otherwise)


def _instead(text: bytes, advice_for: Mapping[bytes, str], convert: str, otherwise: str) -> str:
    """What the file holds, by the first known words in it, and what to do."""
    if not text.strip():
        return " (it is empty)"
    if text.startswith(DER_SEQUENCE):
        return f" (it is DER); convert it: {convert}"
    return next((advice for words, advice in advice_for.items() if words in text), otherwise)
