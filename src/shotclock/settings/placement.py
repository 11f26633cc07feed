"""`[placement]`: accelerators and fabrics of this host."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shotclock.settings.branch import Branch
from shotclock.settings.folders import user_folder

Action = Literal["warn", "degrade", "refuse"]


class PlacementSettings(Branch):
    """What is read of this host, and what is done about it.

    metrics: groups of figures that `serve` exports: gpu (HBM, ECC, XGMI, PCIe), fabric (UALink, CXL, RDMA),
        components (versions); leave out gpu where AMD's Device Metrics Exporter runs, which has those.
    sample_s: how often they are read, seconds; a scrape never waits for that.
    acknowledged: file of versions that `topology acknowledge` writes; "auto" is in the user's state folder.
    on_change: what follows while a version is not acknowledged: warn; degrade: placement prefers other hosts;
        refuse: `serve` and `bench` do not start, and a service that runs is not ready.
    on_ecc_off: the same while ECC of HBM is off.
    on_unpinned: the same while buffers of `pinned_mib` cannot be locked in memory, with accelerators or RDMA.
    on_transfer_errors: the same after a burst of errors of HBM, PCIe, CXL or RDMA, until it is quiet again.
    pinned_mib: buffers that transfers pin, MiB; those of the calls in flight together take no more.
    memory_share: of free HBM and of free host memory that calls in flight may take.
    on_memory_full: when no more calls fit: block (training waits for an earlier call) or refuse (a due call
        is not made, and counted).
    needs_memory_mib: free accelerator memory of a host that `attach`, `load --hosts` and `bench --hosts` may
        choose, MiB; 0 asks for none.
    endpoint: HOST:PORT or URL of the QPU's endpoint, to which round trips are measured; "" measures none.
    endpoint_fabrics: identities of the fabric domains that reach the QPU without the network.
    fabrics: identities of the fabric domains of this host, beside those that its drivers tell.
    rack: the site's label of this host's rack; "" reads UALink's physical pod, else the block of Slurm.
    probe_every_s: how often a round trip is measured, seconds.
    root: where this host's sys and proc are: a mount of them in a container.
    burst_errors: as many errors of one counter (PCIe, CXL, RDMA) within the window degrade its path; one is
        enough of those that lost data.
    burst_window_s: that window, seconds.
    burst_quiet_s: how long a path stays degraded after its last burst, seconds.
    """

    metrics: tuple[Literal["gpu", "fabric", "components"], ...] = ()
    sample_s: float = Field(default=15.0, ge=1, le=3600)
    acknowledged: str = "auto"
    on_change: Action = "warn"
    on_ecc_off: Action = "degrade"
    on_unpinned: Action = "warn"
    on_transfer_errors: Action = "degrade"
    pinned_mib: int = Field(default=64, ge=0, le=1_048_576)
    memory_share: float = Field(default=0.5, gt=0, le=1)
    on_memory_full: Literal["block", "refuse"] = "block"
    needs_memory_mib: int = Field(default=0, ge=0)
    endpoint: str = ""
    endpoint_fabrics: tuple[str, ...] = ()
    fabrics: tuple[str, ...] = ()
    rack: str = ""
    probe_every_s: float = Field(default=1.0, ge=0.05, le=60.0)
    root: str = "/"
    burst_errors: int = Field(default=100, ge=1)
    burst_window_s: float = Field(default=60.0, ge=1.0, le=3600.0)
    burst_quiet_s: float = Field(default=300.0, ge=1.0, le=86_400.0)

    @property
    def acknowledged_file(self) -> str:
        """The path; "auto" is left where the user has no home folder to keep it in."""
        if self.acknowledged != "auto":
            return self.acknowledged
        state = user_folder("XDG_STATE_HOME", ".local/state")
        return str(state / "shotclock" / "components.json") if state else self.acknowledged
