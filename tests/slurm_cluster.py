"""A private Slurm of one node, real, with accounting: its daemons on loopback, their files in a folder."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from served import free_port

START_S = 240.0
"""Only a hang takes so long."""
SLURM_CONF = """
ClusterName=shotclock
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
SchedulerParameters=sched_min_interval=0,sched_interval=1,batch_sched_delay=0
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={accounting_port}
AccountingStoragePass={folder}/munge.socket
JobAcctGatherType=jobacct_gather/none
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=1000 State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=60 State=UP OverSubscribe=NO
"""
SLURMDBD_CONF = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={accounting_port}
SlurmUser={user}
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database_port}
StorageUser=slurm
StoragePass=none
StorageLoc=slurm
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
"""


@dataclass
class SlurmCluster:
    """folder: of all its files; host: its node; environment: of its commands."""

    folder: Path
    host: str
    environment: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, name: str, *words: str) -> None:
        with (self.folder / f"{name}.out").open("wb") as output:
            process = subprocess.Popen(
                [find_program(name), *words],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                start_new_session=True,
            )
        self.processes.append(process)

    def ask(self, *command: str) -> str:
        """What a command of Slurm prints; "" where it fails."""
        answer = subprocess.run(command, check=False, env=self.environment, capture_output=True, text=True)
        return answer.stdout if answer.returncode == 0 else ""

    def stop(self) -> None:
        """In the order in which they depend on each other."""
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def read_output(self) -> str:
        """The ends of all logs, for a failed start."""
        return "\n".join(
            f"{file.name}: {file.read_text(errors='replace')[-2_000:]}" for file in self.folder.glob("*.out")
        )


def find_program(name: str) -> str:
    """A daemon's program, which Debian keeps outside the path of users."""
    program = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    assert program, f"{name} is not installed: apt-get install slurmctld slurmd slurmdbd munge mariadb-server"
    return program


def wait_for(condition: Callable[[], object], cluster: SlurmCluster) -> None:
    """Until it is true; a hang and the end of a daemon fail."""
    until = time.monotonic() + START_S
    while not condition():
        assert all(process.poll() is None for process in cluster.processes), cluster.read_output()
        assert time.monotonic() < until, cluster.read_output()
        time.sleep(0.2)


@contextlib.contextmanager
def run_cluster(variables: dict[str, str]) -> Iterator[SlurmCluster]:
    """A new cluster until the end of the block. variables: of its jobs' environment."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short, for the names of its sockets
    folder.chmod(0o755)
    host = socket.gethostname().partition(".")[0]
    cluster = SlurmCluster(
        folder, host, {**os.environ, **variables, "SLURM_CONF": str(folder / "slurm.conf")}
    )
    try:
        _configure(cluster)
        _start(cluster)
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _configure(cluster: SlurmCluster) -> None:
    folder = cluster.folder
    ports = ("controller_port", "node_port", "accounting_port", "database_port")
    values = {
        "folder": folder,
        "host": cluster.host,
        "user": getpass.getuser(),
        **{name: free_port() for name in ports},
    }
    for name in ("state", "spool", "data"):
        (folder / name).mkdir()
    for name, text, mode in (("slurm.conf", SLURM_CONF, 0o644), ("slurmdbd.conf", SLURMDBD_CONF, 0o600)):
        (folder / name).write_text(text.format(**values))
        (folder / name).chmod(mode)
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o600)
    for name in ports:
        (folder / name).write_text(str(values[name]))


def _start(cluster: SlurmCluster) -> None:
    folder = cluster.folder
    files = [
        f"--{name}={folder}/munge.{name.removesuffix('-file')}"
        for name in ("key-file", "pid-file", "log-file")
    ]
    files.append(f"--seed-file={folder}/munge.seed")
    cluster.start("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files)
    _start_database(cluster)
    cluster.start("slurmdbd", "-D")
    wait_for(lambda: _is_open(int((folder / "accounting_port").read_text())), cluster)
    cluster.start("slurmctld", "-D", "-i")
    cluster.start("slurmd", "-D")
    wait_for(lambda: "idle" in cluster.ask("sinfo", "-h", "-o", "%T"), cluster)


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _start_database(cluster: SlurmCluster) -> None:
    folder, user = cluster.folder, getpass.getuser()
    places = [f"--datadir={folder}/data", f"--user={user}"]
    subprocess.run(
        [find_program("mariadb-install-db"), "--no-defaults", *places, "--skip-test-db"],
        check=True,
        capture_output=True,
    )
    port = (folder / "database_port").read_text()
    limits = ["--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M", "--performance-schema=OFF"]
    fast = ["--innodb-flush-log-at-trx-commit=0", "--skip-log-bin", "--skip-grant-tables"]
    network = ["--bind-address=127.0.0.1", f"--port={port}", f"--socket={folder}/mariadb.socket"]
    cluster.start("mariadbd", "--no-defaults", *places, *network, *limits, *fast)
    wait_for((folder / "mariadb.socket").exists, cluster)


def main() -> None:
    """For a look by hand: a shell with a cluster."""
    with run_cluster({}) as cluster:
        subprocess.run(sys.argv[1:] or ["bash"], env=cluster.environment, check=False)


if __name__ == "__main__":
    main()
