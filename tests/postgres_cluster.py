"""A private PostgreSQL server: real, on loopback, in a temporary folder, ended by its process id."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from served import free_port

USER = "postgres"
START_S = 120.0
"""Only a hang takes so long."""


def find_program(name: str) -> str:
    """A server's program, which Debian keeps outside the path."""
    beside = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    program = str(beside[-1]) if beside else shutil.which(name)
    assert program, f"{name} is not installed: apt-get install postgresql"
    return program


@dataclass
class Cluster:
    """A server, which can be stopped and started again. port: on loopback, without a password."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(self.url(database), autocommit=True)

    def create(self, database: str) -> str:
        """The URL of a new, empty database."""
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {database}")
        return self.url(database)

    def start(self) -> None:
        """Returns when it accepts connections."""
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "shared_buffers": "16MB",
            "max_connections": 60,
        }
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        self.process = _run_as_user([find_program("postgres"), "-D", str(self.folder / "data"), *words])
        until = time.monotonic() + START_S
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                assert self.process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.02)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT cuts the connections off; SIGQUIT is a crash, after which it recovers."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(START_S)
            self.process = None


@contextlib.contextmanager
def run_cluster(parent: Path | None = None) -> Iterator[Cluster]:
    """A new server until the end of the block; its files are below the parent."""
    folder = Path(tempfile.mkdtemp(prefix="shotclock-pg-", dir=parent))
    try:
        if os.getuid() == 0:  # the server refuses to run as root
            shutil.chown(folder, USER, USER)
        initdb = [find_program("initdb"), "--no-sync", "--auth=trust", "--username", USER, "--encoding=UTF8"]
        assert _run_as_user([*initdb, "--no-locale", "-D", str(folder / "data")]).wait(START_S) == 0
        cluster = Cluster(folder, free_port())
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_as_user(command: list[str]) -> subprocess.Popen[bytes]:
    if os.getuid() == 0:
        # Not by the child itself between fork and exec, which a process with threads must not stay in.
        command = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *command]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
