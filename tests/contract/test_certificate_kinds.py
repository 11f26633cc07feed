"""Which keys and usages gRPC's TLS really connects with: those load, every other one is refused by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage

from certificates import OPERATOR, SERVER, Site, put, write
from mtls_loopback import POLICY, ScriptedDispatcher, ScriptedOperations
from shotclock.domain.errors import MachineError
from shotclock.domain.status import Status
from shotclock.wire.certificate_checks import Purpose
from shotclock.wire.certificates import TlsFiles, load, utc_now
from shotclock.wire.channels import connect
from shotclock.wire.operations import GrpcOperations
from shotclock.wire.server import serve
from shotclock.wire.tls import ClientTls, ServerTls

KEYS: dict[str, Callable[[], Any]] = {
    "rsa-1024": lambda: rsa.generate_private_key(65537, 1024),
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "p-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p-224": lambda: ec.generate_private_key(ec.SECP224R1()),
    "p-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
    "dsa": lambda: dsa.generate_private_key(1024),
}
CONNECTING = {"rsa-1024", "rsa-2048", "p-256", "p-384"}
VOUCHING = {*CONNECTING, "p-224", "p-521", "ed25519"}

NO_USAGE = dict.fromkeys(
    (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ),
    False,
)


def ask(server: TlsFiles, client: TlsFiles) -> Status:
    """One call from an operator to a server over a real handshake."""

    async def main() -> Status:
        running = await serve(
            ScriptedDispatcher(), ScriptedOperations(), "127.0.0.1:0", ServerTls(server, POLICY)
        )
        try:
            operations = GrpcOperations(connect(f"127.0.0.1:{running.port}", ClientTls(client, SERVER)))
            try:
                return await operations.status()
            finally:
                await operations.close()
        finally:
            await running.stop(0)

    return asyncio.run(main())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.at(tmp_path)


def expect_refusal(server: TlsFiles, client: TlsFiles, path: Path) -> str:
    with pytest.raises(MachineError) as caught:
        ask(server, client)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", sorted(KEYS))
def test_a_key_connects_or_is_refused_by_its_kind(site: Site, kind: str) -> None:
    key = KEYS[kind]()
    client, server = put(site, OPERATOR, key), site.issue(SERVER)
    if kind in CONNECTING:
        assert ask(server, client).accepted == 0
        assert ask(put(site, SERVER, key), client).accepted == 0
        return
    assert "make a P-256 key" in expect_refusal(server, client, client.certificate)
    client = site.issue(OPERATOR)
    server = put(site, SERVER, key)
    assert "no key of the kind" in expect_refusal(server, client, server.certificate)


@pytest.mark.parametrize("kind", sorted(KEYS))
def test_an_authority_vouches_or_is_refused_by_its_kind(site: Site, kind: str) -> None:
    key = KEYS[kind]()
    server, client = (sign(key, site, name) for name in (SERVER, OPERATOR))
    if kind in VOUCHING:
        assert ask(server, client).accepted == 0
    else:
        assert "does not verify" in expect_refusal(server, client, server.authorities)


def sign(authority_key: Any, site: Site, name: str, hours: tuple[int, int] = (-1, 24)) -> TlsFiles:
    """A new P-256 certificate of an authority with this key, valid between these hours from now."""
    files, now = site.issue(name), datetime.now(UTC)
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
    edwards = isinstance(authority_key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    leaf = x509.load_pem_x509_certificate(files.certificate.read_bytes())

    def sign(subject: x509.Name, public: Any, until: tuple[int, int], extension: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
        builder = builder.serial_number(x509.random_serial_number()).add_extension(extension, critical=True)
        builder = builder.not_valid_before(now + timedelta(hours=until[0]))
        builder = builder.not_valid_after(now + timedelta(hours=until[1]))
        return builder.sign(authority_key, None if edwards else hashes.SHA256()).public_bytes(Encoding.PEM)

    authority = sign(issuer, authority_key.public_key(), hours, x509.BasicConstraints(True, None))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    write(files.authorities, authority)
    write(files.certificate, sign(x509.Name([]), leaf.public_key(), (-1, 24), names))
    return files


@pytest.mark.parametrize(("hours", "says"), [((-9, -1), "expired on"), ((1, 9), "is not valid before")])
def test_an_authority_out_of_date_is_one_line(site: Site, hours: tuple[int, int], says: str) -> None:
    files = sign(KEYS["p-256"](), site, SERVER, hours)
    assert says in expect_refusal(files, site.issue(OPERATOR), files.authorities)


@pytest.mark.parametrize(
    ("extension", "server_says", "client_says"),
    [
        (x509.ExtendedKeyUsage([Usage.CLIENT_AUTH]), "lacks serverAuth", ""),
        (x509.ExtendedKeyUsage([Usage.SERVER_AUTH]), "", "lacks clientAuth"),
        (x509.ExtendedKeyUsage([Usage.SERVER_AUTH, Usage.CLIENT_AUTH]), "", ""),
        (x509.ExtendedKeyUsage([Usage.ANY_EXTENDED_KEY_USAGE]), "lacks serverAuth", "lacks clientAuth"),
        (x509.KeyUsage(**(NO_USAGE | {"digital_signature": True})), "", ""),
        (x509.KeyUsage(**(NO_USAGE | {"key_encipherment": True})), "digitalSignature", "digitalSignature"),
    ],
    ids=["eku-client", "eku-server", "eku-both", "eku-any", "sign", "encipher"],
)
def test_a_usage_connects_or_is_refused_by_name(
    site: Site, extension: x509.ExtensionType, server_says: str, client_says: str
) -> None:
    key = KEYS["p-256"]()
    for name, says in ((SERVER, server_says), (OPERATOR, client_says)):
        other = site.issue(OPERATOR if name == SERVER else SERVER)
        files = put(site, name, key, extension)
        server, client = (files, other) if name == SERVER else (other, files)
        if says:
            assert says in expect_refusal(server, client, files.certificate)
        else:
            assert ask(server, client).accepted == 0


def test_a_server_without_a_name_is_refused(site: Site) -> None:
    files = put(site, SERVER, KEYS["p-256"](), named=False)
    assert "names no host" in expect_refusal(files, site.issue(OPERATOR), files.certificate)


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "byte-order-mark": lambda pem: b"\xef\xbb\xbf" + pem,
    "byte-order-mark-and-crlf": lambda pem: b"\xef\xbb\xbf" + pem.replace(b"\n", b"\r\n"),
    "crlf": lambda pem: pem.replace(b"\n", b"\r\n"),
    "cr": lambda pem: pem.replace(b"\n", b"\r"),
    "utf-16": lambda pem: pem.decode().encode("utf-16"),
    "utf-16-be": lambda pem: pem.decode().encode("utf-16-be"),
    "utf-16-le": lambda pem: pem.decode().encode("utf-16-le"),
    "indented": lambda pem: b"".join(b"  " + line + b"\n" for line in pem.splitlines()),
    "text-around": lambda pem: "Inhaber: Ä\n".encode() + pem + b"\nmore\n",
    "no-last-newline": lambda pem: pem.rstrip(),
}


@pytest.mark.parametrize("form", sorted(FORMS))
def test_every_usual_form_of_a_text_file_connects(site: Site, form: str) -> None:
    server, client = site.issue(SERVER), site.issue(OPERATOR)
    for files in (server, client):
        for path in (files.certificate, files.private_key, files.authorities):
            path.write_bytes(FORMS[form](path.read_bytes()))
    assert ask(server, client).accepted == 0


def to_der(path: Path) -> bytes:
    data = path.read_bytes()
    if b"PRIVATE KEY" in data:
        key = load_pem_private_key(data, None)
        return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return x509.load_pem_x509_certificate(data).public_bytes(Encoding.DER)


@pytest.mark.parametrize("field", ["certificate", "private_key", "authorities"])
def test_a_file_that_is_something_else_is_named_with_what_to_do(site: Site, field: str) -> None:
    files = site.issue(SERVER)
    path: Path = getattr(files, field)

    def says(spoilt: TlsFiles, culprit: Path = path) -> str:
        with pytest.raises(MachineError) as caught:
            load(spoilt, utc_now(), Purpose.SERVER)
        assert str(caught.value).startswith(f"{culprit}: ")
        return str(caught.value)

    assert "(Is a directory)" in says(replace(files, **{field: path.parent}), path.parent)
    whole = path.read_bytes()
    path.write_bytes(to_der(path))
    assert "(it is DER); convert it: openssl" in says(files)
    path.write_bytes(b"")
    assert "(it is empty)" in says(files)
    path.write_bytes(whole)


def test_swapped_files_an_encrypted_key_and_a_chain_in_the_wrong_order_are_named(site: Site) -> None:
    files = site.issue(SERVER)
    swapped = replace(files, certificate=files.private_key, private_key=files.certificate)
    files.certificate.chmod(0o600)
    with pytest.raises(MachineError, match="are certificate and private key swapped"):
        load(swapped, utc_now(), Purpose.SERVER)
    whole, leaf = files.private_key.read_bytes(), files.certificate.read_bytes()
    key = load_pem_private_key(whole, None)
    others = (
        (PrivateFormat.PKCS8, BestAvailableEncryption(b"word"), "it is encrypted"),
        (PrivateFormat.OpenSSH, NoEncryption(), "it is OpenSSH's"),
    )
    for form, encryption, says in others:
        write(files.private_key, key.private_bytes(Encoding.PEM, form, encryption), 0o600)
        with pytest.raises(MachineError, match=says):
            load(files, utc_now(), Purpose.SERVER)
    write(files.private_key, whole, 0o600)
    files.certificate.write_bytes(site.authorities + leaf)
    with pytest.raises(MachineError, match="certificate 2 of 2; put that one first"):
        load(files, utc_now(), Purpose.SERVER)
    files.certificate.write_bytes(leaf + site.authorities)
    assert ask(files, site.issue(OPERATOR)).accepted == 0
