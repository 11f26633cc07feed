"""The versions of IBM's client that the endpoint serves.

Before 0.49 the client does not read IAM_URL and gets its token and instances only from IBM's cloud. If such
a client reaches the endpoint through a proxy or a resolver, it gets an error that says so.
"""

from __future__ import annotations

import re

from shotclock.emulator.rest.errors import ApiError

OLDEST_CLIENT = (0, 49)
CLIENT_HEADER = "x-qx-client-application"
_VERSION = re.compile(r"qiskit_ibm_runtime-(\d{1,4})\.(\d{1,4})[\w.]*")


def check_client(header: str) -> None:
    """Raises ApiError if the header names a client that is too old; accepts a header that names none."""
    match = _VERSION.search(header)
    if match is not None and (int(match[1]), int(match[2])) < OLDEST_CLIENT:
        oldest = ".".join(str(part) for part in OLDEST_CLIENT)
        raise ApiError(
            400,
            "unsupported_client",
            f"qiskit-ibm-runtime {match[0].partition('-')[2]} is older than {oldest}, the oldest version "
            "that the emulated endpoint serves",
            "Update it: pip install --upgrade qiskit-ibm-runtime",
        )
