"""`shotclock topology`: the graph as this machine sees it, or as another machine's tree shows it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from shotclock.domain import files
from shotclock.domain.errors import MachineError, SettingsError
from shotclock.domain.plural import count
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
from shotclock.placement.topology import Choice, Edge, Endpoint, Topology, ask_torch, read_host
from shotclock.placement.tree import Tree
from shotclock.placement.values import Absent, describe
from shotclock.settings import Settings

EMULATED = {"emulated": True, "aer": True, "ibm": False, "qrmi": False}
"""Providers by name; another one's nature is not known."""
ADVICE = "check them, then run `shotclock topology acknowledge`"


@dataclass(frozen=True, slots=True)
class View:
    """A topology with the changes of versions.

    topology: the graph
    changes: of versions since they were acknowledged
    acknowledged_at: when that was; "" if it never was, or is another machine's
    """

    topology: Topology
    changes: tuple[Change, ...]
    acknowledged_at: str

    def document(self) -> object:
        """For `--json`."""
        changes = {"changes": describe(self.changes), "acknowledged_at": self.acknowledged_at}
        return {**_as_mapping(describe(self.topology)), **changes}


def _as_mapping(document: object) -> dict[str, object]:
    if not isinstance(document, dict):
        raise TypeError(f"a topology is described by {type(document).__name__}")
    return document


def read_view(settings: Settings, root: Path) -> View:
    """Of the tree below `root`."""
    if not root.is_dir():
        raise SettingsError(f"--root {root}: is not a folder; name one that holds a machine's sys and proc")
    tree = Tree(root)
    view = read_host(tree, totals=ask_torch(tree))
    host = view.host
    provider = settings.quantum.provider
    emulated = EMULATED.get(provider, Absent("it is a user's provider"))
    edge = Edge(
        host.name,
        provider,
        "in process",
        Absent("was not measured"),
        list_capabilities(is_same_host=True, has_accelerator=bool(host.accelerators)),
    )
    # the default file is about this machine, not about the one whose tree is read
    compares = tree.is_this_machine or settings.placement.acknowledged != "auto"
    record = read_record(_record_file(settings)) if compares else None
    changes = find_changes(record, host.components) if record else ()
    problems = [f"{host.name}: {problem}" for problem in view.problems]
    problems += [f"{host.name}: {change}; {ADVICE}" for change in needs_acknowledgement(changes)]
    topology = Topology(
        (host,),
        (Endpoint(provider, emulated),),
        (edge,),
        Choice(host.name, "it is the only host"),
        tuple(problems),
    )
    return View(topology, changes, record.at if record else "")


def write_labels(settings: Settings, root: Path, folder: Path, rack: str, qpu_slots: int) -> list[Path]:
    """Writes the files for Ray, Kubernetes and Slurm; returns their paths."""
    host = read_host(Tree(root)).host
    endpoint = settings.placement.endpoint or (
        settings.quantum.device if settings.quantum.provider != "emulated" else ""
    )
    labels = labelling.list_labels(host, endpoint, rack)
    contents = {
        **labelling.write_ray(labels, qpu_slots),
        **labelling.write_kubernetes(labels),
        **labelling.write_slurm(host, labels, qpu_slots),
    }
    try:
        files.make_folder(folder)
        for name, content in contents.items():
            files.write_text(folder / name, content)
    except OSError as error:
        raise MachineError(f"{folder}: cannot be written ({os.strerror(error.errno or 0)})") from error
    return [folder / name for name in contents]


def acknowledge(settings: Settings, root: Path) -> int:
    """Writes this machine's versions to the record; returns how many."""
    components = read_host(Tree(root), Absent("versions are read from files")).host.components
    write_record(_record_file(settings), components, datetime.now(UTC))
    return len(components)


def refuse_changes(settings: Settings, root: Path = Path("/")) -> None:
    """Raises MachineError while versions are not acknowledged, if the settings say so."""
    if not settings.placement.refuse_changes:
        return
    file = _record_file(settings)
    record = read_record(file)
    if record is None:
        raise MachineError(
            "placement.refuse_changes: the versions of this host's drivers and firmware were never "
            f"acknowledged in {file}; {ADVICE}"
        )
    components = read_host(Tree(root), Absent("versions are read from files")).host.components
    if changes := needs_acknowledgement(find_changes(record, components)):
        raise MachineError(
            f"placement.refuse_changes: {count(len(changes), 'version')} not acknowledged: "
            f"{_join(changes)}; {ADVICE}"
        )


def read_acknowledged(settings: Settings) -> Record | None:
    """What was acknowledged; None if nothing was."""
    return read_record(_record_file(settings))


def _join(changes: Sequence[Change]) -> str:
    return ", ".join(map(str, changes[:3])) + (", …" if len(changes) > 3 else "")


def _record_file(settings: Settings) -> Path:
    name = settings.placement.acknowledged_file
    if name == "auto":
        raise SettingsError(
            "placement.acknowledged: must be a file's path for a user without a home folder (got 'auto')"
        )
    return Path(name)
