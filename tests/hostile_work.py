"""What the tests give worker processes to do; without pytest, which no worker should have to import."""

from __future__ import annotations

import os
import signal
from pathlib import Path

MIB = 1 << 20
KEEP_MIB = 40
KEPT: list[bytearray] = []


def write_pid_and_spin(to: Path) -> None:
    """Work that lets nobody interrupt it."""
    to.write_text(str(os.getpid()))
    while True:
        pass


def spin_in_c(to: Path) -> None:
    """The same, never back in the interpreter."""
    to.write_text(str(os.getpid()))
    pow(3, 10**9)


def eat(to: Path) -> None:
    """Allocates memory until none is left, and notes how much it got."""
    blocks = []
    while True:
        blocks.append(bytearray(MIB))
        to.write_text(str(len(blocks)))


def fault() -> None:
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGSEGV)


def keep() -> int:
    """What a cache does."""
    KEPT.append(bytearray(KEEP_MIB * MIB))
    return os.getpid()


def remember() -> None:
    KEPT.append(bytearray(8))


def recall() -> int:
    return len(KEPT[-1])


class Panic(BaseException):
    """As a panic of Rust's is in Python: no Exception, and not to be read back."""

    def __init__(self, first: str, other: str) -> None:
        super().__init__(first + other)


def panic() -> None:
    raise Panic("no ", "such gate")


def fail(error: Exception) -> None:
    raise error
