"""One frozen tree of settings, a branch a package; `load` reads it from flags, environment and file."""

from shotclock.settings.arm import ArmSettings
from shotclock.settings.bench import DEFAULT_ARMS, HOSTS_ARMS, QUICK, QUICK_LEAVES_OUT, BenchSettings
from shotclock.settings.branch import LONGEST_MS, SHORTEST_MS
from shotclock.settings.circuits import CircuitsSettings
from shotclock.settings.cost import CostSettings
from shotclock.settings.data_policy import DataRuleSettings
from shotclock.settings.engine import EngineSettings
from shotclock.settings.explain import nearest
from shotclock.settings.kernel import KernelSettings
from shotclock.settings.orchestrator import OrchestratorSettings
from shotclock.settings.placement import PlacementSettings
from shotclock.settings.quantum import QuantumSettings
from shotclock.settings.serve import ServeSettings
from shotclock.settings.source import ENV_PREFIX
from shotclock.settings.sources import load, load_sources
from shotclock.settings.tenants import TenantSettings
from shotclock.settings.threshold import THRESHOLD_RANGES, ThresholdSettings
from shotclock.settings.traces import TracesSettings
from shotclock.settings.tree import Settings
from shotclock.settings.workers import WorkersSettings

__all__ = [
    "DEFAULT_ARMS",
    "ENV_PREFIX",
    "HOSTS_ARMS",
    "LONGEST_MS",
    "QUICK",
    "QUICK_LEAVES_OUT",
    "SHORTEST_MS",
    "THRESHOLD_RANGES",
    "ArmSettings",
    "BenchSettings",
    "CircuitsSettings",
    "CostSettings",
    "DataRuleSettings",
    "EngineSettings",
    "KernelSettings",
    "OrchestratorSettings",
    "PlacementSettings",
    "QuantumSettings",
    "ServeSettings",
    "Settings",
    "TenantSettings",
    "ThresholdSettings",
    "TracesSettings",
    "WorkersSettings",
    "load",
    "load_sources",
    "nearest",
]
