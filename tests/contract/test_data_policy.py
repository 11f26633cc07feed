"""The data policy: nothing of a call that a rule keeps reaches the provider."""

from __future__ import annotations

import logging

import pytest

from shotclock.app.remote_providers import data_policy
from shotclock.domain.circuit import CircuitSpec
from shotclock.domain.data_policy import DataPolicy, DataRule, Destination
from shotclock.domain.outcome import DATA_POLICY, Degraded, Done, Outcome, Rejection, Shed
from shotclock.providers.scripted import Reply
from shotclock.settings import Settings
from virtual_orchestrator import System, make_scripted, make_subproblem, simulate

IBM = Destination("ibm", "us-east")


@pytest.mark.parametrize(
    ("destinations", "may_leave"),
    [
        (("*",), True),
        (("ibm",), True),
        (("emulated", "ibm/us-east"), True),
        (("ibm/eu-de",), False),
        (("emulated",), False),
        ((), False),
    ],
)
def test_a_rule_names_providers_and_regions(destinations: tuple[str, ...], may_leave: bool) -> None:
    assert DataRule(destinations=destinations).allows(IBM) is may_leave


def test_an_unknown_region_is_none_that_a_rule_names() -> None:
    assert not DataRule(destinations=("ibm/us-east",)).allows(Destination("ibm"))


def test_the_first_rule_about_a_call_decides() -> None:
    rules = (
        DataRule(kernels=("rounding",), destinations=("ibm/us-east",)),
        DataRule(clients=("guest",), destinations=()),
        DataRule(kernels=("user_circuit", "rounding"), destinations=("emulated",)),
    )
    policy = DataPolicy(rules, IBM)
    assert policy.find_refusal("rounding", "guest") == ""
    assert policy.find_refusal("qat_flip", "guest") == "data_policy[1]"
    assert policy.find_refusal("user_circuit", "team") == "data_policy[2]"
    assert policy.find_refusal("qat_flip", "team") == ""


def test_a_kept_call_gets_its_classical_answer_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    policy = DataPolicy((DataRule(clients=("guest",)),), Destination("scripted"))

    async def work(system: System) -> None:
        guests = make_subproblem()
        object.__setattr__(guests, "caller", "guest")
        answer: Outcome = await system.orchestrator.solve(guests)
        assert isinstance(answer, Degraded)
        assert isinstance(answer.cause, Rejection)
        assert str(answer.cause).startswith(
            "data_policy: 1 calls allowed to leave for scripted by data_policy[0] against a limit of 0"
        )
        circuit = CircuitSpec("OPENQASM 3.0;", 10, request_id="c1", budget_ns=10**9, caller="guest")
        refused = await system.orchestrator.execute(circuit)
        assert isinstance(refused, Shed)
        assert refused.rejection.limit == DATA_POLICY
        assert system.value("shotclock_rejections_total", client="guest", limit=DATA_POLICY) == 2
        assert not system.provider.jobs
        assert isinstance(await system.orchestrator.solve(make_subproblem(1)), Done)
        assert len(system.provider.jobs) == 1

    with caplog.at_level(logging.INFO, "shotclock.orchestrator.call_log"):
        simulate(make_scripted(Reply(), data=policy), work)
    logged = [record for record in caplog.records if "data policy" in record.message]
    assert [record.__dict__["request_id"] for record in logged] == ["r0", "c1"]
    assert {record.__dict__["rule"] for record in logged} == {"data_policy[0]"}


def test_the_settings_name_the_region_by_the_instance() -> None:
    text = {"kernels": ["rounding"], "destinations": ["ibm/us-east"]}
    instance = "crn:v1:bluemix:public:quantum-computing:us-east:a/1:2::"
    settings = Settings.model_validate(
        {"data_policy": [text], "quantum": {"provider": "ibm", "instance": instance}}
    )
    policy = data_policy(settings, settings.quantum, "ibm")
    assert policy == DataPolicy((DataRule(("rounding",), destinations=("ibm/us-east",)),), IBM)


@pytest.mark.parametrize("name", ["", "/us-east", "ibm/", "ibm/us/east", "*/us-east"])
def test_a_destination_is_a_provider_or_a_region_of_one(name: str) -> None:
    with pytest.raises(ValueError, match="must be provider, provider/region or"):
        Settings.model_validate({"data_policy": [{"destinations": [name]}]})
