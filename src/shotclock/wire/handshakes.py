"""Why a connection did not come about, in words for a person: gRPC's own name its TLS stack's sources."""

from __future__ import annotations

import re

VERIFY_FAILED = re.compile(r"CERTIFICATE_VERIFY_FAILED: ([a-z ]+)")

# A server that does not accept a client's certificate says nothing: it closes.
CLOSED = re.compile(r"Handshake read failed|Socket closed|recvmsg:Connection reset by peer")

RUNNING = "is `shotclock serve` running there?"


def explain_handshake(details: str, *, secure: bool) -> str:
    """One line. secure: whether this end asked for TLS."""
    words = " ".join(details.split())
    if not secure or "failed to connect" not in words:
        return f"{words}; {RUNNING}" if "failed to connect" in words else words
    if verification := VERIFY_FAILED.search(words):
        reason = verification.group(1).strip()
        return f"the server's certificate is not accepted: {reason}; see its dates, and the authorities given"
    if "Hostname Verification Check failed" in words:
        return "the server's certificate is for another name; give the name it holds as the target's host"
    if "WRONG_VERSION_NUMBER" in words:
        return "the server there uses no TLS; leave the certificates out, or check the port"
    if CLOSED.search(words):
        return (
            "the server closed the TLS handshake; does it accept this client's certificate "
            "(its dates, its issuer)? And is the server's own in date?"
        )
    return f"{words}; {RUNNING}"
