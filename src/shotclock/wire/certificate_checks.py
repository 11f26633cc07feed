"""What a certificate must be for gRPC's TLS stack (BoringSSL) to connect with it, checked before it tries.

The kinds of key and usage below are measured by connecting with each (tests/contract/test_certificate_kinds).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, PublicKeyAlgorithmOID, SignatureAlgorithmOID

from shotclock.domain.errors import MachineError

OWN_CURVES = frozenset({"secp256r1", "secp384r1"})
"""Curves that a handshake is signed with. P-521 and Ed25519 load, and then no client connects."""

ISSUER_CURVES = OWN_CURVES | {"secp224r1", "secp521r1"}
"""Curves whose signature on another certificate is verified; Ed25519 is verified too."""

RSA = PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5
EC = PublicKeyAlgorithmOID.EC_PUBLIC_KEY
ED25519 = PublicKeyAlgorithmOID.ED25519

NEW_KEY = (
    "make a P-256 key (openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256) "
    "and ask for a certificate for it"
)
"""The fix of every kind that cannot be used."""

LONGEST_NOTICE = timedelta(days=14)
NOTICE_SHARE = 0.1
"""A certificate is reported before it expires for this share of its life, at most `LONGEST_NOTICE`."""


class Purpose(Enum):
    """Which end of the connection shows the certificate; the extended key usage that permits it."""

    SERVER = (ExtendedKeyUsageOID.SERVER_AUTH, "serverAuth", "server")
    CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH, "clientAuth", "client")


def check_chain(
    chain: Sequence[x509.Certificate], key: PrivateKeyTypes, path: Path, key_path: Path, purpose: Purpose
) -> None:
    """MachineError where nobody could connect by this chain, leaf first, and its key."""
    leaf = chain[0]
    _refuse_mismatch(chain, key, path, key_path)
    kind = _kind_of_key(leaf)
    if kind not in {"RSA", *OWN_CURVES}:
        raise MachineError(f"{path}: gRPC's TLS connects with no key of the kind {kind}; {NEW_KEY}")
    _refuse_usage(leaf, path, purpose)
    if purpose is Purpose.SERVER and not _has_server_name(leaf):
        raise MachineError(
            f"{path}: names no host that a client could check (no subject alternative name); "
            f"ask for one with the service's DNS name or IP address"
        )


def refuse_out_of_date(leaf: x509.Certificate, path: Path, now: datetime) -> None:
    """MachineError before and after the certificate's dates."""
    if now < leaf.not_valid_before_utc:
        raise MachineError(
            f"{path}: not valid before {_minute(leaf.not_valid_before_utc)}; "
            f"check this host's clock, or wait until then"
        )
    if now > leaf.not_valid_after_utc:
        raise MachineError(f"{path}: expired on {_minute(leaf.not_valid_after_utc)}; ask for a new one")


def refuse_authorities(authorities: Sequence[x509.Certificate], path: Path, now: datetime) -> None:
    """MachineError where no certificate in the file can vouch for a peer now."""
    problems = [_problem_of_authority(certificate, now) for certificate in authorities]
    if all(problems):
        which = "the certificate in it" if len(problems) == 1 else "every certificate in it"
        raise MachineError(f"{path}: {which} {problems[0]}; ask for a new one")


def notice_of_expiry(leaf: x509.Certificate, path: Path, now: datetime) -> str:
    """One line where the certificate expires soon, "" where it does not."""
    ends = leaf.not_valid_after_utc
    notice = min(LONGEST_NOTICE, NOTICE_SHARE * (ends - leaf.not_valid_before_utc))
    if ends - now > notice:
        return ""
    return f"{path}: expires on {_minute(ends)}, in {_in_words(ends - now)}; put a new one in its place"


def _refuse_mismatch(
    chain: Sequence[x509.Certificate], key: PrivateKeyTypes, path: Path, key_path: Path
) -> None:
    encoding = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    public = key.public_key().public_bytes(*encoding)
    matching = [place for place, certificate in enumerate(chain, 1) if _public_bytes(certificate) == public]
    if not matching:
        raise MachineError(f"{key_path}: is not the key of {path}")
    if matching[0] != 1:
        raise MachineError(
            f"{path}: the key of {key_path} belongs to certificate {matching[0]} of {len(chain)}; "
            f"put that one first and its issuers behind it"
        )


def _public_bytes(certificate: x509.Certificate) -> bytes:
    try:
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except ValueError:  # a kind of key that cryptography does not know
        return b""


def _kind_of_key(certificate: x509.Certificate) -> str:
    """RSA, an elliptic curve's name, or what else the certificate says."""
    algorithm = certificate.public_key_algorithm_oid
    if algorithm == RSA:
        return "RSA"
    if algorithm == ED25519:
        return "Ed25519"
    try:
        key = certificate.public_key()
    except ValueError:
        return algorithm.dotted_string
    if algorithm == EC:
        return str(getattr(getattr(key, "curve", None), "name", "EC"))
    return "RSA-PSS" if algorithm == SignatureAlgorithmOID.RSASSA_PSS else _class_name(key)


def _class_name(key: object) -> str:
    return type(key).__name__.removeprefix("_").removesuffix("PublicKey")


def _refuse_usage(leaf: x509.Certificate, path: Path, purpose: Purpose) -> None:
    oid, name, end = purpose.value
    try:
        extensions = leaf.extensions
    except ValueError as error:
        raise MachineError(f"{path}: its extensions cannot be read ({error}); ask for a new one") from error
    for extension in extensions:
        match extension.value:
            case x509.KeyUsage(digital_signature=False):
                raise MachineError(
                    f"{path}: its key usage lacks digitalSignature, without which gRPC's TLS connects to "
                    f"nobody; ask for one that has it"
                )
            case x509.ExtendedKeyUsage() as usages if oid not in usages:
                raise MachineError(
                    f"{path}: its extended key usage lacks {name}, so no peer takes it as a {end}'s; "
                    f"ask for one that has it"
                )


def _has_server_name(leaf: x509.Certificate) -> bool:
    """A client compares names and addresses, and the common name where it has none."""
    for extension in leaf.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            kinds = (x509.DNSName, x509.IPAddress, x509.UniformResourceIdentifier)
            return any(isinstance(name, kinds) for name in extension.value)
    return bool(leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME))


def _problem_of_authority(authority: x509.Certificate, now: datetime) -> str:
    """Why it can vouch for nobody, "" where it can."""
    if now > authority.not_valid_after_utc:
        return f"expired on {_minute(authority.not_valid_after_utc)}"
    if now < authority.not_valid_before_utc:
        return f"is not valid before {_minute(authority.not_valid_before_utc)}"
    kind = _kind_of_key(authority)
    if kind not in {"RSA", "Ed25519", *ISSUER_CURVES}:
        return f"has a key of the kind {kind}, whose signatures gRPC's TLS does not verify"
    return ""


def _minute(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"


def _in_words(remaining: timedelta) -> str:
    hours = remaining.total_seconds() / 3600
    if hours >= 48:
        return f"{hours / 24:.0f} days"
    return f"{hours:.0f} hours" if hours >= 2 else f"{max(0.0, hours) * 60:.0f} minutes"
