"""Calls between two processes of one host: gRPC, a Unix socket, shared memory; end to end and as an echo.

The service answers at once (no QPU, no emulation); the same codec, deadlines and checksums on every way.
"""

from __future__ import annotations

import json

import _extras
from _options import make_parser

QUICK, FULL = 3, 9
"""Blocks of each way."""


def main() -> None:
    """Measures, then prints JSON or markdown on stdout."""
    arguments = make_parser(__doc__, "under a minute").parse_args()
    # The server process imports this module too, and needs none of it.
    import _same_host_measure  # noqa: PLC0415

    medians = _same_host_measure.measure(QUICK if arguments.quick else FULL)
    if arguments.json:
        print(json.dumps(medians, indent=2))
    else:
        print("\n".join(_same_host_measure.markdown(medians)))


if __name__ == "__main__":
    _extras.run(main)
