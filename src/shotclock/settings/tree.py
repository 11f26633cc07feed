"""The whole tree of settings."""

from __future__ import annotations

from typing import Literal

from pydantic import (
    Field,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from shotclock.settings.arm import ArmSettings
from shotclock.settings.bench import BenchSettings
from shotclock.settings.circuits import CircuitsSettings
from shotclock.settings.cost import CostSettings
from shotclock.settings.data_policy import DataRuleSettings
from shotclock.settings.engine import EngineSettings
from shotclock.settings.kernel import KernelSettings
from shotclock.settings.orchestrator import OrchestratorSettings
from shotclock.settings.placement import PlacementSettings
from shotclock.settings.quantum import QuantumSettings
from shotclock.settings.serve import ServeSettings
from shotclock.settings.tenants import TenantSettings
from shotclock.settings.threshold import ThresholdSettings
from shotclock.settings.traces import TracesSettings
from shotclock.settings.workers import WorkersSettings


class Settings(BaseSettings):
    """The whole tree, schema 1.

    schema_number: `schema` in the file, 1.
    bench: `[bench]`, the main job.
    engine: `[engine]`, where its replicates run.
    kernel: `[kernel]`, which subproblems training asks for.
    quantum: `[quantum]`, the quantum path of an arm.
    circuits: `[circuits]`, templates and the limits of user circuits.
    orchestrator: `[orchestrator]`, queue, attempts and batches.
    workers: `[workers]`, the processes that compile and emulate.
    serve: `[serve]`, the service.
    placement: `[placement]`, accelerators, fabrics and their versions.
    traces: `[traces]`, spans for an OpenTelemetry collector.
    cost: `[cost]`, prices.
    tenants: `[tenants.NAME]`, shares and quotas of callers; `"*"` is for those without a table.
    arm: `[arm.NAME]`, overrides of `[quantum]` for one arm, by its name.
    data_policy: `[[data_policy]]`, which calls may leave for which provider and region.
    threshold: `[[threshold]]`, limits on figures of a run.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid")

    schema_number: Literal[1] = Field(default=1, alias="schema")
    bench: BenchSettings = BenchSettings()
    engine: EngineSettings = EngineSettings()
    kernel: KernelSettings = KernelSettings()
    quantum: QuantumSettings = QuantumSettings()
    circuits: CircuitsSettings = CircuitsSettings()
    orchestrator: OrchestratorSettings = OrchestratorSettings()
    workers: WorkersSettings = WorkersSettings()
    serve: ServeSettings = ServeSettings()
    placement: PlacementSettings = PlacementSettings()
    traces: TracesSettings = TracesSettings()
    cost: CostSettings = CostSettings()
    tenants: dict[str, TenantSettings] = {}
    arm: dict[str, ArmSettings] = {}
    data_policy: tuple[DataRuleSettings, ...] = ()
    threshold: tuple[ThresholdSettings, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` passes: by itself it would read variables without our prefix, as BENCH."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    @property
    def deadlines_s(self) -> tuple[float, ...]:
        """Every deadline that calls are measured against, seconds, in ascending order."""
        branches = (self.quantum, *map(self.quantum_for, self.arm))
        of_calls = {ms for branch in branches for ms in (branch.budget_ms, branch.wait_limit_ms)}
        return tuple(sorted(ms / 1000 for ms in of_calls | set(self.serve.slo_deadlines_ms)))

    def quantum_for(self, arm: str) -> QuantumSettings:
        """`[quantum]` with the arm's own table laid over it."""
        if arm not in self.arm:
            return self.quantum
        return self.quantum.model_copy(
            update=self.arm[arm].model_dump(exclude_none=True, exclude={"every", "clock"})
        )
