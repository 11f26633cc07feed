"""`python -m shotclock`: the command, where its script is not on the path."""

from __future__ import annotations

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]  # the working directory, by `-m`: a pydantic.py in a folder from elsewhere must not run

from shotclock.cli import main

if __name__ == "__main__":
    main()
