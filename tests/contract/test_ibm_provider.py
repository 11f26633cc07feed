"""What only providers at a vendor's must do: hide the key, mind the money, end sessions, adopt jobs."""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import json
import logging
import os
import pickle
import uuid
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from prometheus_client import CollectorRegistry
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import Parameter
from qiskit_ibm_runtime.exceptions import RuntimeProgramNotFound
from qiskit_ibm_runtime.executor_sampler import Sampler

import shotclock
from ibm_endpoint import IMPATIENT, TOKEN, IbmEndpoint, on_device, start_endpoint
from shotclock.app.host import WallHost
from shotclock.app.quantum_path import PathPolicy, assemble
from shotclock.domain.errors import FaultKind, ProviderError, SettingsError
from shotclock.domain.ports import Job, Provider
from shotclock.orchestrator.answers import Fallback
from shotclock.providers import credentials, qrmi, qrmi_client
from shotclock.providers.credentials import Credentials, Secret
from shotclock.providers.ibm_connect import OneTry, connect
from shotclock.providers.money import MoneyBudget, Price
from shotclock.providers.polling import Cadence
from shotclock.providers.workload import WorkloadPolicy
from shotclock.settings import load as load_settings
from shotclock.telemetry.metrics import Metrics, PrometheusRecorder
from shotclock.telemetry.service_facts import ServiceFacts
from shotclock.wire.server import serve
from shotclock.wire.tls import Insecure
from tampering import tampering

NUMBERS = itertools.count(int(uuid.uuid4()) % 2**64)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[IbmEndpoint]:
    with start_endpoint(speed=40.0) as started:
        yield started


@pytest.fixture(autouse=True)
def healthy_endpoint(endpoint: IbmEndpoint) -> None:
    endpoint.heal()


def job(shots: int = 100, rep_delay_s: float | None = 0.0) -> Job:
    return Job.of((on_device(3),), shots, f"shotclock:{next(NUMBERS):024x}", rep_delay_s)


async def run_job(provider: Provider, which: Job) -> Any:
    return await provider.collect(await provider.submit(which))


def test_the_key_is_in_no_repr_log_error_or_pickle(
    endpoint: IbmEndpoint, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A canary is planted as the key; every way a text can leave is searched for it."""
    texts: list[str] = []

    async def main() -> None:
        provider = endpoint.ibm(max_money=1.0)
        texts.extend(
            repr(secret_holder)
            for secret_holder in (provider, provider.device, provider.budget, provider.workload)
        )
        await run_job(provider, job())
        await provider.wait_settled()  # or its looks at the usage would take the faults
        for fault in ("401", "403", "500", "drop", "1202"):
            endpoint.fault(fault)
            with pytest.raises(ProviderError) as caught:
                await provider.submit(job())
            texts.extend([str(caught.value), repr(caught.value), repr(caught.value.__cause__)])
            endpoint.heal()
        await provider.close()

    with caplog.at_level(logging.DEBUG):
        asyncio.run(main())
        with pytest.raises((ProviderError, SettingsError)) as caught:
            connect(
                Credentials(
                    Secret(TOKEN), instance="no such instance", url="http://127.0.0.1:9/experimental"
                ),
                "",
            )
        texts.extend([str(caught.value), repr(Credentials(Secret(TOKEN))), f"{Secret(TOKEN)}"])
    out, err = capfd.readouterr()
    assert len(caplog.records) > 20, "nothing was logged, so nothing was searched"
    for text in (*texts, caplog.text, out, err):
        assert TOKEN not in text
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Secret(TOKEN))
    assert Secret(TOKEN).redact(f"Bearer {TOKEN}\nmore") == "Bearer <redacted> more"


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        ("abc", 0o644, ("readable only by its owner", "chmod 600")),
        ("", 0o600, ("one key",)),
        ("two words", 0o600, ("one key",)),
        ('{"apikey": ', 0o600, ("malformed JSON",)),
        ('{"name": "x"}', 0o600, ("a valid `apikey`",)),
        ('["two words"]', 0o600, ("one key",)),
        ('"quoted"', 0o600, ("one key",)),
        ('{"apikey": 5}', 0o600, ("a valid `apikey`",)),
        ('{"apikey": "two words"}', 0o600, ("a valid `apikey`",)),
        ('{"apikey": "abc", "instance": ["x"]}', 0o600, ("`instance` must be text (got list)",)),
    ],
)
def test_a_bad_credentials_file_is_one_line_that_shows_nothing_of_it(
    content: str, mode: int, words: tuple[str, ...], tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    file.chmod(mode)
    with pytest.raises(SettingsError) as refused:
        credentials.read(file)
    message = str(refused.value)
    assert all(word in message for word in (*words, "quantum.credentials_file")), message
    assert "\n" not in message
    assert "two words" not in message


def test_keys_are_read_as_ibm_hands_them_out(tmp_path: Path) -> None:
    file = tmp_path / "key"
    for content in (f"{TOKEN}\n", f'{{"name": "n", "apikey": "{TOKEN}", "instance": "crn:v1:x"}}'):
        file.write_text(content)
        file.chmod(0o600)
        assert credentials.read(file).token.reveal() == TOKEN
    assert credentials.read(file).instance == "crn:v1:x"
    with pytest.raises(SettingsError, match="cannot be read"):
        credentials.read(tmp_path / "none")


def test_a_job_is_adopted_by_another_process(endpoint: IbmEndpoint) -> None:
    """As after a crash: nothing is known but the tag, and then nothing but the id."""

    async def main() -> None:
        left_job = job()
        accepted = await endpoint.ibm().submit(left_job)
        after = endpoint.ibm(max_money=1.0)
        (adopted,) = await after.find(left_job.tag)
        assert adopted.job_id == accepted.job_id
        assert (await after.collect(adopted)).samples[0].shots == 100
        await after.wait_settled()
        assert after.budget.expenditure > 0.0
        # QRMI knows no tags, but an id is as good as ever.
        accepted = await endpoint.qrmi().submit(job())
        assert (await endpoint.qrmi().collect(accepted)).samples[0].shots == 100

    asyncio.run(main())


def test_the_budget_records_what_the_endpoint_charges(endpoint: IbmEndpoint) -> None:
    async def main() -> None:
        provider, before = endpoint.ibm(max_money=50.0, price=2.0), endpoint.account["consumed_seconds"]
        for shots in (100, 200, 300):
            await run_job(provider, job(shots))
        await provider.wait_settled()
        charged = endpoint.account["consumed_seconds"] - before
        assert provider.budget.expenditure == pytest.approx(2.0 * charged)
        assert provider.budget.reservation == 0.0
        registry = CollectorRegistry()
        registry.register(ServiceFacts("0", budget=provider.money_left))
        limit, remaining = (
            registry.get_sample_value(f"shotclock_provider_budget_{name}", {"currency": "USD"})
            for name in ("limit", "left")
        )
        assert limit == 50.0
        assert remaining == pytest.approx(50.0 - 2.0 * charged)

    asyncio.run(main())


def test_jobs_that_run_together_are_not_counted_with_the_time_of_each_other(endpoint: IbmEndpoint) -> None:
    """Each waits while the others have the QPU, and is RUNNING meanwhile."""

    async def main() -> None:
        provider, before = endpoint.ibm(max_money=1e6), endpoint.account["consumed_seconds"]
        executions = await asyncio.gather(*(run_job(provider, job(40_000, 500e-6)) for _ in range(3)))
        provisional = sum(execution.qpu_s for execution in executions)
        await provider.wait_settled()
        charged = endpoint.account["consumed_seconds"] - before
        # otherwise 1 + 2 + 3 jobs' time
        assert charged * 0.99 < provisional < 1.5 * charged
        assert provider.charges().settled == 3
        assert provider.charges().settled_s == pytest.approx(charged)

    asyncio.run(main())


def test_a_job_that_was_given_up_is_on_the_bill_with_what_the_endpoint_charged(endpoint: IbmEndpoint) -> None:
    async def main() -> None:
        provider, before = endpoint.ibm(max_money=1e6), endpoint.account["consumed_seconds"]
        accepted = await provider.submit(job(50_000, 500e-6))
        await asyncio.sleep(0.3)  # 12 s of the endpoint's clock: it runs, and is not over
        await provider.cancel(accepted)
        await provider.wait_settled()
        await provider.close()
        billed, charged = provider.charges(), endpoint.account["consumed_seconds"] - before
        assert (billed.abandoned, billed.abandoned_untold) == (1, 0)
        assert billed.abandoned_s == pytest.approx(charged)
        assert billed.abandoned_s > 0.0

    asyncio.run(main())


def test_a_close_asks_once_more_for_the_usage_of_what_was_given_up_last(endpoint: IbmEndpoint) -> None:
    async def main() -> None:
        provider = endpoint.ibm(max_money=1e6)
        accepted = await provider.submit(job(50_000, 500e-6))
        await asyncio.sleep(0.3)
        await provider.cancel(accepted)
        await provider.close()
        charges = provider.charges()
        assert charges.abandoned == 1
        # where the vendor has not made up its bill by then, that is said
        assert (charges.abandoned_s > 0.0) != (charges.abandoned_untold == 1)

    asyncio.run(main())


def test_qrmi_tells_no_usage_of_what_was_given_up(endpoint: IbmEndpoint) -> None:
    async def main() -> None:
        provider = endpoint.qrmi()
        accepted = await provider.submit(job(50_000, 500e-6))
        await provider.cancel(accepted)
        await provider.close()
        assert (provider.charges().abandoned, provider.charges().abandoned_untold) == (1, 1)

    asyncio.run(main())


def test_a_session_that_ended_elsewhere_is_on_the_bill_too(endpoint: IbmEndpoint) -> None:
    async def main() -> None:
        provider = endpoint.ibm(policy=WorkloadPolicy("session", idle_s=60.0))
        await run_job(provider, job())
        lease = await provider.workload.enter()
        provider.workload.leave()
        await asyncio.to_thread(close_elsewhere, f"{endpoint.url}/sessions/{lease.id}/close")
        with pytest.raises(ProviderError):
            await provider.submit(job())
        await run_job(provider, job())
        await provider.close()
        assert provider.charges().sessions == 2

    asyncio.run(main())


@pytest.mark.parametrize("mode", ["batch", "session"])
def test_jobs_share_a_workload_that_ends_with_the_provider(mode: Any, endpoint: IbmEndpoint) -> None:
    async def main() -> None:
        before = len(endpoint.account["charges"])
        provider = endpoint.ibm(max_money=500.0, policy=WorkloadPolicy(mode, max_time_s=20_000, idle_s=60.0))
        await run_job(provider, job())
        await asyncio.sleep(0.1)
        await run_job(provider, job())
        await provider.wait_settled()
        await provider.close()
        charges = endpoint.account["charges"][before:]
        assert {charge["mode"] for charge in charges} == {mode}
        assert len(charges) == (1 if mode == "session" else 2)
        billed = sum(charge["seconds"] for charge in charges)
        assert provider.budget.expenditure == pytest.approx(billed, rel=0.2)
        bills = provider.workload.bills
        assert len(bills) == (1 if mode == "session" else 0)
        # 0.1 s between the jobs are 4 s of the endpoint's clock, and they are paid for
        assert all(bill.idle_s > 3.0 for bill in bills)
        own_charges = provider.charges()
        assert (own_charges.sessions, own_charges.sessions_untold) == (len(bills), 0)
        assert own_charges.sessions_s == sum(bill.usage_s for bill in bills)

    asyncio.run(main())


def test_only_circuits_shots_tag_and_options_leave_for_ibm(endpoint: IbmEndpoint) -> None:
    """Every field of the bytes that the endpoint received; docs/threat-model.md has the same list."""
    sent = job()

    async def main() -> None:
        provider = endpoint.ibm(policy=WorkloadPolicy("session", idle_s=60.0))
        await run_job(provider, sent)
        await provider.close()

    with tampering(endpoint) as proxy:
        asyncio.run(main())
    (body,) = [json.loads(raw) for request, raw in proxy.bodies if request.endswith("/jobs")]
    assert body.keys() == {"program_id", "params", "backend", "log_level", "session_id", "tags"}
    assert (body["program_id"], body["backend"], body["tags"]) == ("executor", "ibm_torino", [sent.tag])
    assert proxy.count(f"PATCH /sessions/{body['session_id']}$") == 1
    params = body["params"]
    assert params.keys() == {"schema_version", "quantum_program", "options"}
    program = params["quantum_program"]
    assert program.keys() == {
        *("shots", "circuits", "items", "semantic_role", "meas_level", "passthrough_data")
    }
    assert program["shots"] == 100
    (item,) = program["items"]
    assert item["circuit_arguments"]["shape"] == [0]  # the angles are in the circuit
    assert program["passthrough_data"].keys() == {"post_processor"}
    assert program["passthrough_data"]["post_processor"]["circuits_metadata"] == [{}]
    (circuit,) = qpy.load(io.BytesIO(zlib.decompress(base64.b64decode(program["circuits"]["b64_data"]))))
    assert (circuit.metadata, circuit.parameters) == ({}, ())
    others = {request.split("/")[-1] for request, _ in proxy.bodies} - {"jobs", body["session_id"]}
    assert others == {"token", "search", "sessions"}
    clients = {headers.get("x-qx-client-application", "") for headers in proxy.headers} - {""}
    assert all("qiskit_ibm_runtime-" in client and "shotclock" not in client for client in clients)
    assert clients
    agents = {headers.get("user-agent", "").split("/")[0] for headers in proxy.headers} - {""}
    assert agents == {"python-urllib3", "ibm-python-sdk-core", "platform-services-python-sdk"}


def test_an_idle_session_is_closed_and_the_next_job_opens_another(endpoint: IbmEndpoint) -> None:
    async def main() -> None:
        provider = endpoint.ibm(policy=WorkloadPolicy("session", idle_s=0.05))
        await run_job(provider, job())
        async with asyncio.timeout(300):
            while not provider.workload.bills:  # noqa: ASYNC110 - another task's
                await asyncio.sleep(0.05)
        await run_job(provider, job())
        await provider.close()
        first, second = provider.workload.bills
        assert first.session_id != second.session_id

    asyncio.run(main())


def test_a_session_that_ibm_closed_is_a_transient_fault_and_is_replaced(endpoint: IbmEndpoint) -> None:
    async def main() -> None:
        provider = endpoint.ibm(policy=WorkloadPolicy("session", idle_s=60.0))
        lease = await provider.workload.enter()
        provider.workload.leave()
        await asyncio.to_thread(close_elsewhere, f"{endpoint.url}/sessions/{lease.id}/close")
        with pytest.raises(ProviderError) as caught:
            await provider.submit(job())
        assert caught.value.kind is FaultKind.TRANSIENT
        assert (await run_job(provider, job())).samples[0].shots == 100
        await provider.close()

    asyncio.run(main())


def close_elsewhere(address: str) -> None:
    requests.delete(address, headers={"Authorization": "Bearer x"}, timeout=300).raise_for_status()


def test_rep_delay_and_shots_are_set_for_each_job(endpoint: IbmEndpoint) -> None:
    async def main() -> None:
        provider, costs = endpoint.ibm(max_money=1e6), []
        for delay_s in (0.0, 250e-6, None, 500e-6):
            before = provider.budget.expenditure
            await run_job(provider, job(2_000, delay_s))
            await provider.wait_settled()
            costs.append(provider.budget.expenditure - before)
        assert costs[0] < costs[1] < costs[3]
        assert costs[1] == pytest.approx(costs[2], rel=0.1)
        with pytest.raises(ProviderError, match="rep_delay: must be") as caught:
            await provider.submit(job(10, 600e-6))
        assert caught.value.kind is FaultKind.PERMANENT

    asyncio.run(main())


def test_the_older_sampler_does_where_the_executor_is_unknown(endpoint: IbmEndpoint) -> None:
    class MissingProgram(Sampler):  # type: ignore[misc]
        """The newer sampler at a service that does not have its program."""

        def run(self, *arguments: Any, **options: Any) -> Any:
            raise RuntimeProgramNotFound("Program not found: executor")

    async def main() -> None:
        provider = endpoint.ibm()
        client: Any = provider._client
        client._sampler = MissingProgram
        for _ in range(2):
            first = job()
            accepted = await provider.submit(first)
            ibm_job = await asyncio.to_thread(client._service.job, accepted.job_id)
            assert (ibm_job.primitive_id, ibm_job.tags) == ("sampler", [first.tag])
            assert (await provider.collect(accepted)).samples[0].shots == 100
        assert client._sampler is MissingProgram

    asyncio.run(main())


def test_the_client_tries_once(endpoint: IbmEndpoint) -> None:
    """IBM's client would repeat a 500 for 15 s; here the second request would already succeed."""

    async def main() -> None:
        provider = endpoint.ibm()
        endpoint.fault("500")
        with pytest.raises(ProviderError) as caught:
            await provider.submit(job())
        assert caught.value.kind is FaultKind.TRANSIENT
        assert endpoint.call("GET", "faults")["struck"][-1] == "500"

    asyncio.run(main())
    assert OneTry().max_retries.total == 0


def test_an_address_where_nobody_is_is_transient_and_all_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    credentials = Credentials(
        Secret(TOKEN), instance="crn:v1:bluemix:public:quantum-computing:us-east:a/x:y::"
    )
    before = dict(os.environ)
    os.environ.update(IAM_URL="http://127.0.0.1:9", QISKIT_IBM_URL="http://127.0.0.1:9/experimental")
    os.environ["QISKIT_FUNCTIONS_EXPERIMENTAL"] = "1"
    logger = logging.getLogger("qiskit_ibm_runtime")
    level = logger.level
    logger.addHandler(caplog.handler)
    try:
        with pytest.raises(ProviderError) as caught:
            connect(credentials, "ibm_torino")
    finally:
        logger.removeHandler(caplog.handler)
        os.environ.clear()
        os.environ.update(before)
    assert caught.value.kind is FaultKind.TRANSIENT
    assert [record for record in caplog.records if record.name.startswith("qiskit_ibm_runtime")] == []
    assert logger.level == level


def test_an_unknown_back_end_names_those_there_are(endpoint: IbmEndpoint) -> None:
    with pytest.raises(SettingsError, match=r"'ibm_nowhere'.*ibm_torino"):
        connect(Credentials(Secret(TOKEN)), "ibm_nowhere")


def test_an_emulation_is_free_unless_money_is_set(endpoint: IbmEndpoint) -> None:
    free, paid = endpoint.ibm(), endpoint.ibm(max_money=1.0)
    assert (free.limits.paid, paid.limits.paid) == (False, True)
    assert free.limits.emulated
    assert free.limits.rep_delay_default_s == 250e-6


def test_the_scheduler_names_the_resource(endpoint: IbmEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_QPU_RESOURCES", "ibm_torino,ibm_other")
    monkeypatch.setenv("SLURM_JOB_QPU_TYPES", "ibm-quantum-compute-service,pasqal-cloud")
    assert qrmi.find_allocated("")[0] == "ibm_torino"
    assert qrmi.find_allocated("")[1].prefix == "QRMI_IBM_QCS"
    with pytest.raises(SettingsError, match="not in this allocation, which has ibm_torino, ibm_other"):
        qrmi.find_allocated("ibm_boston")
    with pytest.raises(SettingsError, match="pasqal-cloud"):
        qrmi.find_allocated("ibm_other")
    monkeypatch.setenv("SLURM_JOB_QPU_TYPES", "ibm-quantum-compute-service")
    with pytest.raises(SettingsError, match="SLURM_JOB_QPU_RESOURCES"):
        qrmi.find_allocated("")
    monkeypatch.delenv("SLURM_JOB_QPU_RESOURCES")
    monkeypatch.delenv("SLURM_JOB_QPU_TYPES")
    assert qrmi.find_allocated("ibm_torino")[1].prefix == "QRMI_IBM_QCS"
    for name in ("", "ibm_nowhere"):
        with pytest.raises(SettingsError, match=r"quantum\.backend"):
            qrmi.find_allocated(name)


def test_qrmi_acquires_and_releases_what_the_scheduler_did_not_give(endpoint: IbmEndpoint) -> None:
    async def main() -> None:
        before = len(endpoint.account["charges"])
        provider = endpoint.qrmi(policy=WorkloadPolicy("session", idle_s=60.0))
        ran = await run_job(provider, job())
        await provider.close()
        assert endpoint.account["charges"][before:][0]["mode"] == "session"
        assert ran.acquisition == endpoint.account["charges"][before:][0]["workload"]
        assert not (await run_job(endpoint.qrmi(), job())).acquisition

    asyncio.run(main())


@pytest.mark.parametrize("suffix", ["QRMI_JOB_ACQUISITION_TOKEN", "QRMI_IBM_QCS_SESSION_ID"])
def test_a_job_in_the_lease_of_the_scheduler_names_it(
    endpoint: IbmEndpoint, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    async def main() -> None:
        opened = endpoint.qrmi(policy=WorkloadPolicy("session", idle_s=60.0))
        session = (await run_job(opened, job())).acquisition
        monkeypatch.setenv(f"ibm_torino_{suffix}", session)
        provider = endpoint.qrmi(policy=WorkloadPolicy("session", idle_s=60.0))
        assert (await run_job(provider, job())).acquisition == session
        await provider.close()
        await opened.close()

    asyncio.run(main())


def test_a_submit_that_qrmi_never_gives_up_holds_no_other_one(
    endpoint: IbmEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On premises QRMI repeats 429 and 423 without bound, inside one blocking call."""

    async def main() -> None:
        provider = endpoint.qrmi()
        client: Any = provider._client
        monkeypatch.setattr(qrmi_client, "TURN_LIMIT_S", 0.05)
        with (
            client._submitting,
            pytest.raises(ProviderError, match="has not accepted the previous submit yet") as caught,
        ):
            await provider.submit(job())
        assert caught.value.kind is FaultKind.TRANSIENT
        assert (await run_job(provider, job())).samples[0].shots == 100

    asyncio.run(main())


def test_looks_come_closer_towards_the_expected_end_and_part_after_it() -> None:
    cadence = Cadence(near_s=0.002, far_s=0.5)
    waits = [cadence.wait_s(waited, 2.0) for waited in (0.0, 1.0, 1.9, 1.99, 2.0, 2.01, 2.5, 60.0)]
    assert waits == pytest.approx([0.2, 0.1, 0.01, 0.002, 0.002, 0.002, 0.05, 0.5])
    assert IMPATIENT.near_s == cadence.near_s


def test_a_budget_counts_each_key_once() -> None:
    budget = MoneyBudget(10.0, Price(2.0, "EUR"))
    budget.reserve("a", 3.0)
    with pytest.raises(ProviderError, match=r"^money: this job needs 6 EUR, with 0 spent and 6 reserved"):
        budget.reserve("b", 3.0)
    budget.spend("a", 1.0)
    assert (budget.expenditure, budget.reservation) == (2.0, 0.0)
    budget.reserve("b", 3.0)
    budget.release("b")
    assert (budget.expenditure, budget.reservation) == (2.0, 0.0)
    unlimited = MoneyBudget(0.0, Price(1.0))
    unlimited.reserve("a", 1e9)


def test_a_remote_estimator_runs_all_its_points_in_one_job_of_the_vendor(endpoint: IbmEndpoint) -> None:
    angle = Parameter("angle")
    circuit = QuantumCircuit(2)
    circuit.ry(angle, 0)
    circuit.cx(0, 1)
    points = np.linspace(-1.0, 1.0, 12)
    charged = len(endpoint.account["charges"])
    with ExitStack() as ending:
        host = WallHost()
        ending.callback(host.close)
        settings = load_settings(None, {"quantum": {"provider": "ibm", "backend": "ibm_torino"}})
        policy = PathPolicy(True, Fallback.NONE, batch_limit=8)
        recorder = PrometheusRecorder(Metrics(), "test")
        path = assemble(host, settings, settings.quantum, endpoint.ibm(), policy, recorder)
        host.run(path.orchestrator.start())
        ending.callback(lambda: host.run(path.orchestrator.stop()))
        server = host.run(serve(path.orchestrator, path.orchestrator, "127.0.0.1:0", Insecure()))
        ending.callback(lambda: host.run(server.stop(0)))
        connection = ending.enter_context(shotclock.connect(f"127.0.0.1:{server.port}"))
        estimator = connection.estimator(precision=0.05, budget="5min")
        result = estimator.run([(circuit, ["ZI"], points[:, None])]).result()[0]
    assert len(result.metadata["jobs"]) == 1
    assert result.metadata["emulated"]
    account = endpoint.account
    assert len(account["charges"]) == charged + 1
    assert account["tags_paid_twice"] == []
    # the device's noise keeps at least a share of each value
    exact, share = np.cos(points), 0.75
    assert (result.data.evs <= exact + 5.0 * result.data.stds + 0.01).all()
    assert (result.data.evs >= share * exact - 5.0 * result.data.stds - 0.01).all()
