"""A private Ray cluster of several nodes on this host: real, with token authentication."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START_S = 240.0
"""Only a hang takes so long."""
OBJECT_STORE_BYTES = 80 << 20
SERVER = """
import json, os, signal, sys
import ray
from ray.cluster_utils import Cluster
store = {store}
cluster = Cluster(
    initialize_head=True,
    head_node_args=dict(num_cpus=0, object_store_memory=store, include_dashboard=False, node_name="head"),
)
nodes = []
for name in {names}:
    nodes.append(cluster.add_node(
        num_cpus=1, resources={{"qpu_slot": 1}}, object_store_memory=store, node_name=name, wait=True
    ))
raylets = {{name: node.all_processes["raylet"][0].process.pid for name, node in zip({names}, nodes)}}
print(json.dumps({{"address": cluster.address, "raylets": raylets}}), flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@dataclass(frozen=True)
class RayCluster:
    """address: of the head; raylets: process ids by node name; environment: of a driver of this cluster."""

    address: str
    raylets: dict[str, int]
    environment: dict[str, str]

    def kill(self, name: str) -> None:
        """The node and all its workers at once, as when the host loses its power."""
        raylet = self.raylets[name]
        for pid in (raylet, *list_descendants(raylet)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)


def list_descendants(pid: int) -> list[int]:
    """The processes below it."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(folder.name))
    descendants, open_pids = [], [pid]
    while open_pids:
        below = children.get(open_pids.pop(), [])
        descendants += below
        open_pids += below
    return descendants


@contextlib.contextmanager
def run_cluster(
    names: tuple[str, ...], modules: Mapping[str, str], variables: Mapping[str, str]
) -> Iterator[RayCluster]:
    """A head without CPUs, and a node of one CPU and one QPU slot for each name, until the end of the block.

    modules: that its workers can import, name to text; variables: of their environment.
    """
    with tempfile.TemporaryDirectory(prefix="shotclock-ray-") as folder:
        # Ray imports the wrapper of AMD's library, which raises another error than it expects without one.
        (Path(folder) / "amdsmi.py").write_text("raise ImportError('no library here')\n")
        for name, text in modules.items():
            (Path(folder) / f"{name}.py").write_text(text)
        environment = {
            **os.environ,
            **variables,
            "PYTHONPATH": folder,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_TMPDIR": folder,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",  # 15 otherwise: other tests would have the cores
            "RAY_DISABLE_IMPORT_WARNING": "1",
        }
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER.format(store=OBJECT_STORE_BYTES, names=names)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
        )
        try:
            yield _read(process, environment)
        finally:
            process.communicate(timeout=START_S)


def _read(process: subprocess.Popen[bytes], environment: dict[str, str]) -> RayCluster:
    assert process.stdout is not None
    for line in process.stdout:
        with contextlib.suppress(ValueError):
            ready: Any = json.loads(line)
            return RayCluster(ready["address"], ready["raylets"], environment)
    raise AssertionError(f"the cluster did not start: exit code {process.wait()}")


def wait_for(condition: Any, what: str) -> None:
    """Until it is true; a hang fails."""
    until = time.monotonic() + START_S
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.1)
