"""Which versions of IBM's client the endpoint serves.

Before 0.49 the client reads no IAM_URL and looks for its token and instances in IBM's cloud alone. Where such
a client comes here all the same, through a proxy or a resolver, it is told.
"""

from __future__ import annotations

import re

from shotclock.emulator.rest.errors import ApiError

OLDEST_CLIENT = (0, 49)
CLIENT_HEADER = "x-qx-client-application"
_VERSION = re.compile(r"qiskit_ibm_runtime-(\d{1,4})\.(\d{1,4})[\w.]*")


def check_client(header: str) -> None:
    """Raises ApiError where the header names a client that is too old; one that names none is served."""
    found = _VERSION.search(header)
    if found is not None and (int(found[1]), int(found[2])) < OLDEST_CLIENT:
        oldest = ".".join(str(part) for part in OLDEST_CLIENT)
        raise ApiError(
            400,
            "unsupported_client",
            f"qiskit-ibm-runtime {found[0].partition('-')[2]} is older than {oldest}, the oldest version "
            "that the emulated endpoint serves",
            "Update it: pip install --upgrade qiskit-ibm-runtime",
        )
