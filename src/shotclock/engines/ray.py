"""Tasks on the hosts of a Ray cluster."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
import ray._private.worker
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from shotclock.domain.engine import (
    Failed,
    Finished,
    Lost,
    Report,
    Task,
    TaskFailedError,
    TaskKilledError,
)
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.engines.process import run_module
from shotclock.settings import EngineSettings

QPU_SLOT = "qpu_slot"
"""Ray's custom resource: `shotclock topology export` writes it for a host that reaches a QPU."""
NODE_ID = "ray.io/node-id"
"""A label that Ray gives each node."""
CONNECT_S = 5.0
ASK_S = 10.0
"""What the cluster may take for an answer that needs no work."""


class Heartbeats:
    """When each task last reported; an actor on the driver's host, so one clock tells how long ago."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, float]] = {}

    def beat(self, task: str, node: str) -> None:
        """The task runs on that node."""
        self._last[task] = node, time.monotonic()

    def read(self) -> dict[str, tuple[str, float]]:
        """The node of each task that has begun, and the seconds since its last report."""
        now = time.monotonic()
        return {task: (node, now - at) for task, (node, at) in self._last.items()}


def run_task(task: Task, attempt: str, heartbeats: Any, every_s: float, names: Mapping[str, str]) -> Report:
    """The body of a Ray task. names: of the hosts, by node id."""
    node = ray.get_runtime_context().get_node_id()
    host = names.get(node, node)

    def report_life() -> None:
        heartbeats.beat.remote(attempt, node)

    try:
        content = run_module(task.module, task.document, host, report_life, every_s)
    except TaskFailedError as error:
        return Failed(task.name, host, str(error))
    except TaskKilledError as error:
        return Lost(task.name, host, str(error))
    return Finished(task.name, host, content)


class RayEngine:
    """Runs each task as a Ray task of one process; Ray chooses the host by resources and labels.

    Ray itself notices a host that stopped answering late (see docs/run-on-ray.md): here a task is lost that
    has not reported for `lost_after_s`, or whose node Ray calls dead.
    """

    name = "ray"

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._refs: dict[Any, tuple[Task, str]] = {}
        self._starts = 0
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor = ray.remote(num_cpus=0)(Heartbeats)
        self._heartbeats: Any = actor.options(scheduling_strategy=here).remote()
        self._body = ray.remote(max_retries=0)(run_task)

    def list_hosts(self, qpu_slots: int) -> tuple[str, ...]:
        """See `Engine.list_hosts`. Raises MachineError where no node has what a task reserves."""
        alive = [node for node in _list_nodes() if node["Alive"]]
        fit = [node for node in alive if self._can_run(node, qpu_slots)]
        if not fit:
            self._explain(alive, qpu_slots)
        names = _name_nodes(alive)
        return tuple(sorted(names[node["NodeID"]] for node in fit))

    def _can_run(self, node: Mapping[str, Any], qpu_slots: int) -> bool:
        has, settings = node["Resources"], self._settings
        reserved = {"CPU": settings.cpus, "GPU": settings.gpus, QPU_SLOT: qpu_slots}
        labels = node.get("Labels", {})
        return all(has.get(name, 0) >= amount for name, amount in reserved.items() if amount) and all(
            labels.get(name) == value for name, value in settings.labels.items()
        )

    def _explain(self, alive: list[dict[str, Any]], qpu_slots: int) -> None:
        names = ", ".join(sorted(_name_nodes(alive).values()))
        if qpu_slots and not any(node["Resources"].get(QPU_SLOT, 0) >= qpu_slots for node in alive):
            raise MachineError(
                f"--engine ray: no node of the cluster has the resource {QPU_SLOT} (nodes: {names}); start "
                f"one with `ray start --resources='{{\"{QPU_SLOT}\": {qpu_slots}}}'`, or set "
                f"engine.qpu_slots = 0"
            )
        settings = self._settings
        reserved = f"{settings.cpus} CPU, {settings.gpus} GPU, {qpu_slots} {QPU_SLOT}"
        labels = f", labels {settings.labels}" if settings.labels else ""
        raise MachineError(
            f"--engine ray: no node has all that a replicate reserves ({reserved}{labels}; nodes: {names}); "
            f"change [engine] or the nodes"
        )

    def start(self, task: Task) -> None:
        """See `Engine.start`."""
        names = _name_nodes(_list_nodes())
        avoid = [node for node, name in names.items() if name in task.avoid]
        selector = dict(self._settings.labels)
        if avoid:
            selector[NODE_ID] = f"!in({','.join(avoid)})"
        self._starts += 1
        attempt = f"{task.name}/{self._starts}"
        reference = self._body.options(
            name=task.name,
            num_cpus=self._settings.cpus,
            num_gpus=self._settings.gpus,
            resources={QPU_SLOT: task.qpu_slots} if task.qpu_slots else {},
            label_selector=selector,
            scheduling_strategy="SPREAD",
        ).remote(task, attempt, self._heartbeats, self._settings.heartbeat_s, names)
        self._refs[reference] = task, attempt

    def wait(self, limit_s: float) -> list[Report]:
        """See `Engine.wait`."""
        if not self._refs:
            time.sleep(limit_s)
            return []
        ready, _ = ray.wait(list(self._refs), num_returns=len(self._refs), timeout=limit_s)
        beats = self._read_heartbeats()
        reports = [self._collect(reference, beats) for reference in ready]
        return reports + self._find_lost(beats)

    def _read_heartbeats(self) -> dict[str, tuple[str, float]]:
        try:
            read: dict[str, tuple[str, float]] = ray.get(self._heartbeats.read.remote(), timeout=ASK_S)
        except GetTimeoutError:  # a busy host; the next call asks again
            return {}
        except RayError as error:
            raise MachineError(f"--engine ray: the cluster is gone: {_first_line(error)}") from error
        return read

    def _collect(self, reference: Any, beats: Mapping[str, tuple[str, float]]) -> Report:
        task, attempt = self._refs.pop(reference)
        try:
            report: Report = ray.get(reference)
        except RayError as error:
            node = beats.get(attempt, ("", 0.0))[0]
            host = _name_nodes(_list_nodes()).get(node, "")
            return Lost(task.name, host, f"{type(error).__name__}: {_first_line(error)}")
        return report

    def _find_lost(self, beats: Mapping[str, tuple[str, float]]) -> list[Report]:
        nodes = _list_nodes()
        names, dead = _name_nodes(nodes), {node["NodeID"] for node in nodes if not node["Alive"]}
        lost: list[Report] = []
        for reference, (task, attempt) in list(self._refs.items()):
            node, age_s = beats.get(attempt, ("", 0.0))
            because = "Ray calls its node dead" if node in dead else ""
            if age_s > self._settings.lost_after_s:
                because = f"no heartbeat for {age_s:.0f} s"
            if because:
                del self._refs[reference]
                _cancel(reference)
                lost.append(Lost(task.name, names.get(node, node), because))
        return lost

    def close(self) -> None:
        """See `Engine.close`."""
        for reference in self._refs:
            _cancel(reference)
        self._refs.clear()
        ray.shutdown()


def _cancel(reference: Any) -> None:
    with suppress(RayError):
        ray.cancel(reference, force=True)


def _list_nodes() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes


def _name_nodes(nodes: list[dict[str, Any]]) -> dict[str, str]:
    """Node id → the node's name; where several have one, with the beginning of the id."""
    counted = [node["NodeName"] for node in nodes]
    return {
        node["NodeID"]: node["NodeName"]
        if counted.count(node["NodeName"]) == 1
        else f"{node['NodeName']}-{node['NodeID'][:6]}"
        for node in nodes
    }


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def open_engine(settings: EngineSettings, folder: Path) -> RayEngine:
    """Connects as a driver; this process must have a Ray node on its host. Raises MachineError.

    Ray's token authentication is its own: RAY_AUTH_MODE=token with RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH.
    """
    del folder  # results travel through Ray
    address = settings.ray_address or os.environ.get("RAY_ADDRESS", "") or "auto"
    _refuse_unreachable(address)
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        where = "on this host" if address == "auto" else f"at {address}"
        raise MachineError(
            f"--engine ray: no cluster {where}: {_first_line(error)}; start one with `ray start --head`, "
            f"name it with --ray-address HOST:PORT, and set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH if "
            f"it has a token"
        ) from error
    finally:
        signal.signal(signal.SIGTERM, on_term)
    # Ray prints errors of nodes on stdout, which is the summary's; a loss is reported as one.
    ray._private.worker.print_to_stdstream = _print_nothing
    return RayEngine(settings)


def _print_nothing(data: Any, ignore_prefix: bool) -> None:
    pass


def _refuse_unreachable(address: str) -> None:
    """Ray would try for a minute, with a warning a second."""
    if address in {"auto", "local"}:
        return
    if "://" in address:
        raise SettingsError(
            f"--ray-address {address}: Ray's client is not supported; run on a host of the cluster and name "
            f"the head's HOST:PORT"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise SettingsError(f"--ray-address: must be HOST:PORT (got {address!r})")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise MachineError(
            f"--ray-address {address}: does not answer: {error}; start the head with `ray start --head "
            f"--port {port}`"
        ) from error
