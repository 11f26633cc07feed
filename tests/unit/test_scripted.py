"""The scripted provider keeps to its script, and the registry finds providers by name."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from shotclock.domain.circuit import DeviceCircuit, QaoaParameters, Samples, Template
from shotclock.domain.errors import FaultKind, MachineError, ProviderError, SettingsError
from shotclock.domain.ports import Job
from shotclock.providers.registry import list_providers, load
from shotclock.providers.scripted import Fail, Never, Reply, ScriptedProvider, Step


class WallClock:
    def now_ns(self) -> int:
        return time.monotonic_ns()


def job(n: int = 3) -> Job:
    template = Template("key", "test", tuple(range(n)), b"", 1e-6, 0, 0)
    return Job.of((DeviceCircuit(template, QaoaParameters.idle(n)),), 10, "t")


def test_steps_come_in_order_and_then_the_last_one_for_ever() -> None:
    samples = Samples(np.ones((1, 3), np.uint8), np.array([10]))
    refused = ProviderError(FaultKind.TRANSIENT, "busy")
    broken = ProviderError(FaultKind.AMBIGUOUS, "connection lost")

    async def main() -> None:
        script: list[Step] = [Fail(refused), Fail(broken, on="collect"), Reply(samples=(samples,))]
        provider = ScriptedProvider(WallClock(), script, predicted_s=0.25)
        with pytest.raises(ProviderError) as caught:
            await provider.submit(job())
        assert caught.value is refused
        with pytest.raises(ProviderError) as caught:
            await provider.collect(await provider.submit(job()))
        assert caught.value is broken
        assert (await provider.collect(await provider.submit(job()))).samples == (samples,)
        for _ in range(3):
            assert (await provider.collect(await provider.submit(job()))).samples[0].shots == 10
        assert (provider.submits, provider.collects, provider.cancels) == (6, 5, 0)
        assert provider.predict_s(job()) == 0.25

    asyncio.run(main())


def test_never_answers_until_it_is_cancelled() -> None:
    async def main() -> None:
        provider = ScriptedProvider(WallClock(), [Never()])
        accepted = await provider.submit(job())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(provider.collect(accepted), 0.02)
        await provider.cancel(accepted)
        assert (provider.submits, provider.collects, provider.cancels) == (1, 1, 1)

    asyncio.run(main())


def test_installed_providers_load_by_name() -> None:
    assert {"aer", "emulated"} <= set(list_providers())
    assert load("emulated").__module__ == "shotclock.emulator.provider"
    assert load("shotclock.providers.scripted:ScriptedProvider") is ScriptedProvider


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("emulatd", "no provider 'emulatd'; did you mean 'emulated'"),
        ("nowhere:factory", "module 'nowhere' was not found"),
        ("shotclock.providers.scripted:Nothing", "has no 'Nothing'"),
    ],
)
def test_what_cannot_be_found_is_a_settings_error(name: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(name)


def test_a_missing_package_is_reported_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "vendor_of_mine.py").write_text("import a_package_nobody_has\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MachineError, match="needs the package 'a_package_nobody_has': install a_package"):
        load("vendor_of_mine:build")
    monkeypatch.setitem(sys.modules, "qiskit_aer", None)
    monkeypatch.delitem(sys.modules, "shotclock.providers.aer", raising=False)
    with pytest.raises(MachineError, match=r"install shotclock\[aer\]"):
        load("aer")
