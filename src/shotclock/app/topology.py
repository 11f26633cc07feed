"""`shotclock topology`: the graph as this machine sees it, or as other machines' trees show it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from shotclock.app.host_report import make_endpoint, parse_endpoint, sum_free_memory
from shotclock.domain import files
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.domain.hosts import HostState, Rtt
from shotclock.placement import labels as labelling
from shotclock.placement.capabilities import list_capabilities
from shotclock.placement.components import (
    Change,
    Record,
    find_changes,
    needs_acknowledgement,
    read_record,
    write_record,
)
from shotclock.placement.graph import Edge, ReportedHost, Topology, build_graph, name_apart
from shotclock.placement.labels import list_domains
from shotclock.placement.rtt import TRANSPORT, explain_loss, measure, probe
from shotclock.placement.topology import ask_torch, read_host
from shotclock.placement.tree import Tree
from shotclock.placement.values import Absent
from shotclock.settings import Settings

PROBE_TIMEOUT_S = 2.0
ADVICE = "check them, then run `shotclock topology acknowledge`"
THIS_MACHINE = "this machine"
UNKNOWN_AGE = Absent("a tree may be of any age")
NOT_MEASURED = Absent("was not measured")
IN_PROCESS = Absent("the provider is in the orchestrator's process; placement.endpoint names a QPU's address")


@dataclass(frozen=True, slots=True)
class View:
    """A topology with the changes of versions.

    topology: the graph
    changes: of versions since they were acknowledged
    acknowledged_at: when that was; "" if it never was, or is another machine's
    compares: whether versions of this view are compared with acknowledged ones
    """

    topology: Topology
    changes: tuple[Change, ...] = ()
    acknowledged_at: str = ""
    compares: bool = True


def read_view(settings: Settings, roots: Sequence[Path]) -> View:
    """Of the trees below these folders, a host each; without one, of this host's by `placement.root`."""
    trees = [Tree(root) for root in choose_roots(settings, roots)]
    label = settings.placement.rack if len(trees) == 1 else ""
    endpoint = make_endpoint(settings)
    hosts = name_apart([_report_tree(settings, tree, label) for tree in trees])
    edges = []
    for tree, each in zip(trees, hosts, strict=True):
        rtt, transport = _measure(settings) if _is_this_host(settings, tree) else (NOT_MEASURED, "in process")
        capabilities = list_capabilities(
            is_same_host=not settings.placement.endpoint,
            has_accelerator=bool(each.host.accelerators),
            shared=each.state.fabrics & endpoint.fabrics,
        )
        edges.append(Edge(each.host.name, endpoint.name, transport, rtt, capabilities))
    # the default file is about this machine, not about the one whose tree is read
    compares = len(trees) == 1 and (
        _is_this_host(settings, trees[0]) or settings.placement.acknowledged != "auto"
    )
    record = read_record(_record_file(settings)) if compares else None
    changes = find_changes(record, hosts[0].host.components) if record else ()
    unknown = tuple(f"{change}; {ADVICE}" for change in needs_acknowledgement(changes))
    hosts = tuple(replace(each, problems=(*each.problems, *unknown)) for each in hosts)
    graph = build_graph(hosts, {each.host.name: endpoint for each in hosts}, edges)
    return View(graph, changes, record.at if record else "", compares=len(trees) == 1)


def choose_roots(settings: Settings, roots: Sequence[Path]) -> Sequence[Path]:
    """Those of `--root`, else `placement.root` alone. Raises SettingsError where one is not a folder."""
    if not roots:
        root = Path(settings.placement.root)
        if not root.is_dir():
            raise SettingsError(
                f"placement.root: {root} is not a folder; name one that holds this host's sys and proc"
            )
        return [root]
    for root in roots:
        if not root.is_dir():
            raise SettingsError(
                f"--root {root}: is not a folder; name one that holds a machine's sys and proc"
            )
    if len({root.resolve() for root in roots}) < len(roots):
        raise SettingsError(f"--root: each must be named once (got {', '.join(map(str, roots))})")
    return roots


def _is_this_host(settings: Settings, tree: Tree) -> bool:
    """Whether the tree is of the machine that reads it, possibly where a container has it."""
    return tree.root in (Path("/"), Path(settings.placement.root).resolve())


def _report_tree(settings: Settings, tree: Tree, label: str) -> ReportedHost:
    view = read_host(tree, totals=ask_torch(tree), rack=label)
    fabrics = list_domains(view.host)
    is_this_host = _is_this_host(settings, tree)
    if is_this_host:
        fabrics |= frozenset(settings.placement.fabrics)
    free_bytes = sum_free_memory(view.host.accelerators)
    state = HostState(view.host.name, fabrics, free_memory_bytes=free_bytes)
    source = str(tree.root)
    if is_this_host:
        source = THIS_MACHINE if tree.is_this_machine else f"{source}, this host's by placement.root"
    return ReportedHost(view.host, view.problems, source, state, 0.0 if is_this_host else UNKNOWN_AGE)


def _measure(settings: Settings) -> tuple[Rtt | Absent, str]:
    """Round trips from this machine to the QPU's endpoint, and how they were made."""
    if not settings.placement.endpoint:
        return IN_PROCESS, "in process"
    address = parse_endpoint(settings.placement.endpoint)
    try:
        return asyncio.run(measure(partial(probe, address, PROBE_TIMEOUT_S))), TRANSPORT
    except OSError as error:
        return Absent(f"{address} does not answer: {explain_loss(error)}"), TRANSPORT


def write_labels(
    settings: Settings,
    roots: Sequence[Path],
    folder: Path,
    rack: str,
    qpu_slots: int,
    mask_for: labelling.MaskReader | None = None,
) -> list[Path]:
    """Writes the files for Ray, Kubernetes and Slurm; returns their paths; of several hosts, Slurm's.

    mask_for: who reads a visibility mask, which is written of one host; None writes none.
    """
    if len(roots) > 1 and (rack or mask_for):
        name = "--rack" if rack else "--mask"
        raise SettingsError(f"{name}: is of one host; leave it out with several --root")
    chosen = choose_roots(settings, roots)
    label = rack or settings.placement.rack if len(chosen) == 1 else ""
    hosts = name_apart([_report_tree(settings, Tree(root), label) for root in chosen])
    endpoint = settings.placement.endpoint or (
        settings.quantum.device if settings.quantum.provider != "emulated" else ""
    )
    labels = {each.host.name: labelling.list_labels(each.host, endpoint) for each in hosts}
    contents = labelling.write_slurm(labels, qpu_slots)
    if len(labels) == 1:
        (only,) = labels.values()
        contents = {**labelling.write_ray(only, qpu_slots), **labelling.write_kubernetes(only), **contents}
    if mask_for is not None:
        contents |= labelling.write_mask(hosts[0].host, mask_for)
    try:
        files.make_folder(folder)
        for name, content in contents.items():
            files.write_text(folder / name, content)
    except OSError as error:
        raise MachineError(f"{folder}: cannot be written ({os.strerror(error.errno or 0)})") from error
    return [folder / name for name in contents]


def acknowledge(settings: Settings, roots: Sequence[Path]) -> int:
    """Writes the machine's versions to the record; returns how many."""
    if len(roots) > 1:
        raise SettingsError("--root: versions are acknowledged of one machine at a time; name one")
    (root,) = choose_roots(settings, roots)
    components = read_host(Tree(root), Absent("versions are read from files")).host.components
    write_record(_record_file(settings), components, datetime.now(UTC))
    return len(components)


def read_acknowledged(settings: Settings) -> Record | None:
    """What was acknowledged; None if nothing was."""
    return read_record(_record_file(settings))


def _record_file(settings: Settings) -> Path:
    name = settings.placement.acknowledged_file
    if name == "auto":
        raise SettingsError(
            "placement.acknowledged: must be a file's path for a user without a home folder (got 'auto')"
        )
    return Path(name)
