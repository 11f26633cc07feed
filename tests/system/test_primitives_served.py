"""Qiskit's primitives through a paid `shotclock serve` over the emulated IBM endpoint, which is also killed.

The device is Heron without noise, so that the figures must be those of the state vector.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from qiskit.primitives import BaseEstimatorV2, PrimitiveResult

import shotclock
from qiskit_peers import (
    HYDROGEN,
    Counting,
    check_classifier,
    check_sampled_network,
    check_subspace,
    make_hydrogen,
    make_layer,
    make_network,
    minimise,
)
from served import free_port
from served_primitives import PaidService, start_paid_service
from shotclock.domain.errors import CallFailedError
from shotclock.domain.ledger import TERMINAL, LedgerState
from shotclock.orchestrator.ledger.places import find_place
from shotclock.primitives import Estimator, Sampler

PRECISION = 0.0625
HANG_S = 300.0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PaidService]:
    with start_paid_service(tmp_path_factory.mktemp("primitives")) as started:
        yield started


def wait_for(condition: Any) -> None:
    until = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < until, "it hangs"
        time.sleep(0.02)


def test_peers_get_exact_figures_and_pay_for_few_jobs(service: PaidService) -> None:
    before = len(service.endpoint.account["charges"])
    with service.connect() as connection:
        counting = Counting(connection.caller)
        estimator = Estimator(counting, default_precision=PRECISION)
        check_classifier(estimator, PRECISION, steps=1)
        check_sampled_network(Sampler(counting, default_shots=256), 256)
        minimise(estimator, make_hydrogen(), HYDROGEN, 3)
        check_subspace(Sampler(counting), 500)
    charges = service.endpoint.account["charges"][before:]
    # forward and backward of two networks, a step of COBYLA each, and the samples
    assert len(counting.jobs) == 2 + 2 + 3 + 1
    assert {charge["workload"] for charge in charges} == counting.jobs
    # before its usage is final a job counts with its running time, which on a busy machine is a little longer
    assert counting.qpu_s >= 0.99 * sum(charge["seconds"] for charge in charges)


def test_a_paid_provider_in_this_process_runs_circuits_side_by_side_and_says_what_it_was_charged(
    service: PaidService, tmp_path: Path
) -> None:
    settings, before = tmp_path / "settings.toml", service.endpoint.account["consumed_seconds"]
    settings.write_text(f"""
[quantum]
provider = "ibm"
device = "{service.device}"
profile = "colocated"
max_money_per_run = 100.0
[circuits]
side_by_side = 4
[cost]
qpu_second = 2.0
[serve]
ledger = "{tmp_path / "ledger.db"}"
""")
    with shotclock.connect(settings=settings) as connection:
        sampler = connection.sampler(shots=500)
        check_sampled_network(sampler, 500)
        assert sampler.counts.answered == 2
        wait_for(lambda: connection.summary().charges.settled == 2)
    charged = service.endpoint.account["consumed_seconds"] - before
    spent = connection.summary()
    assert spent.charges.settled_s == pytest.approx(charged)
    assert spent.money_left is not None
    assert spent.money_left.remaining == pytest.approx(100.0 - 2.0 * charged)
    assert "QPU s in 2 jobs whose usage is final; " in str(spent)
    assert repr(connection) == "<Connection: ibm in this process, EMULATED>"
    records = find_place(str(tmp_path / "ledger.db")).read_jobs()
    charges = service.endpoint.account["charges"][-2:]
    assert {record.job_id for record in records} == {charge["workload"] for charge in charges}
    assert {record.state for record in records} == {LedgerState.APPLIED}


def test_of_several_targets_one_that_answers_is_called(service: PaidService) -> None:
    with shotclock.connect(f"127.0.0.1:{free_port()},{service.target}") as connection:
        check_subspace(connection.sampler(), 500)


class Killing(BaseEstimatorV2):  # type: ignore[misc] # Qiskit has no types
    """An estimator during whose third call the service is killed, once its job is paid for."""

    def __init__(self, inner: BaseEstimatorV2, service: PaidService) -> None:
        self.inner = inner
        self.service = service
        self.calls = 0
        self.degraded: list[bool] = []

    def run(self, pubs: Any, *, precision: float | None = None) -> Any:
        self.calls += 1
        killer = Thread(target=self._kill) if self.calls == 3 else None
        if precision is not None:
            precision /= 4.0  # sixteen times the shots, so that the job still runs when its record was read
        job = self.inner.run(pubs, precision=precision)
        if killer is not None:
            killer.start()
        result: PrimitiveResult = job.result()
        if killer is not None:
            killer.join()
        self.degraded.append(any(each.metadata["degraded"] for each in result))
        return job

    def _kill(self) -> None:
        def is_paid() -> bool:
            return any(record.state is LedgerState.SUBMITTED for record in self.service.records())

        wait_for(is_paid)
        self.service.kill()


def check_paid_once(service: PaidService, before: int) -> None:
    """Of the endpoint's account since `before`: every charge has a record, and no call has two."""
    account = service.endpoint.account
    assert account["tags_paid_twice"] == []
    paid = Counter(tag for charge in account["charges"][before:] for tag in charge["tags"])
    records = {record.tag: record for record in service.records()}
    assert paid.keys() <= records.keys()
    calls = Counter(request for tag in paid for request in records[tag].requests)
    assert max(calls.values()) == 1


def train(estimator: BaseEstimatorV2, steps: int) -> list[float]:
    layer = make_layer(estimator, 0.03125)
    inputs = torch.tensor([[0.2, 1.1], [-0.8, 0.3]])
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.3)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = layer(inputs).sum()
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("fallback", ["local", "last"])
def test_training_goes_on_through_a_kill_and_pays_for_no_job_twice(
    service: PaidService, fallback: Any
) -> None:
    before = len(service.endpoint.account["charges"])
    with service.connect() as connection:
        estimator = Killing(connection.estimator(fallback=fallback), service)
        losses = train(estimator, 3)
        assert estimator.degraded[:2] == [False, False]
        assert estimator.degraded[2:] == [True] * 4  # the call that was killed, and those of a lost service
        if fallback == "last":
            assert (
                losses == [losses[0]] * 3
            )  # of the first forward call; the first gradient moved the parameters
        else:
            assert losses[2] < losses[0]
        service.start()
        pub = (make_network(), "ZZ", np.zeros(4), PRECISION)
        strict = connection.estimator(fallback="local")
        wait_for(lambda: not strict.run([pub]).result()[0].metadata["degraded"])
    check_paid_once(service, before)


def test_training_stops_at_a_kill_where_nothing_else_may_answer(service: PaidService) -> None:
    before = len(service.endpoint.account["charges"])
    with service.connect() as connection:
        estimator = Killing(connection.estimator(), service)
        with pytest.raises(CallFailedError, match="orchestrator"):
            train(estimator, 3)
    assert estimator.calls == 3
    service.start()
    wait_for(lambda: all(record.state in TERMINAL for record in service.records()))
    check_paid_once(service, before)
