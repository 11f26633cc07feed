"""`[[data_policy]]`: which calls may leave for which provider and region."""

from __future__ import annotations

from pydantic import Field, field_validator

from shotclock.domain.data_policy import ANY, DataRule
from shotclock.settings.branch import Branch


class DataRuleSettings(Branch):
    """A rule; the first about a call decides, and calls that no rule is about may leave.

    kernels: names of kernels, `user_circuit` for user circuits; `["*"]` is each.
    clients: names in the callers' certificates, "" for calls without one; `["*"]` is each.
    destinations: `provider` in any region, `provider/region`, or `*`; empty keeps the calls here.
    """

    kernels: tuple[str, ...] = Field(default=(ANY,), min_length=1)
    clients: tuple[str, ...] = Field(default=(ANY,), min_length=1)
    destinations: tuple[str, ...]

    @field_validator("destinations")
    @classmethod
    def _provider_or_region(cls, destinations: tuple[str, ...]) -> tuple[str, ...]:
        for name in destinations:
            provider, slash, region = name.partition("/")
            if not provider or (slash and not region) or "/" in region or (provider == ANY and slash):
                raise ValueError(f"must be provider, provider/region or * (got {name!r})")
        return destinations

    def rule(self) -> DataRule:
        """The rule as the orchestrator asks it."""
        return DataRule(self.kernels, self.clients, self.destinations)
