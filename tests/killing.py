"""SIGKILL of `shotclock serve` again and again under load, and the judge: the vendor's account.

`run_with_kills` takes any number of kills: CI does 20, a soak 200.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from harness import random_subproblem
from paid_provider import PORT, ProviderAccount
from served import ServiceProcess, free_port
from shotclock.domain.budget import NS_PER_S
from shotclock.domain.ledger import TERMINAL, JobRecord, LedgerState
from shotclock.domain.outcome import Decision, Done, Outcome
from shotclock.domain.ports import Dispatcher
from shotclock.domain.subproblem_batch import SubproblemBatch
from shotclock.orchestrator.ledger.places import find_place
from shotclock.orchestrator.ledger.transitions import Transition
from shotclock.wire.channels import ChannelLimits, connect
from shotclock.wire.client import GrpcDispatcher
from shotclock.wire.tls import Insecure

N = 6
BUDGET_S = 1.0
GRACE_S = 120.0
"""A call that has not ended so long after its deadline hangs; loop stalls are shorter."""
CALLERS = 6
PAUSE_S, IDLE_S = 0.05, 0.2
"""Of a caller: after samples, and after none; without them a service that starts gets no processor time."""
PARKED_S = 1.0
"""The vendor lists a job as soon as it is paid for."""
BUSY = 4
"""Answers and paid jobs that a process gives before it is killed."""
HANG_S = 300.0
"""Only a hang takes so long."""
OPEN = {LedgerState.INTENT, LedgerState.SUBMITTED}
HAS_SAMPLES = {LedgerState.RESULT, LedgerState.APPLIED, LedgerState.STALE}


@dataclass(frozen=True)
class Place:
    """Where the service of a test lives: its settings, port and ledger."""

    config: Path
    ledger: Path
    target: str
    account: ProviderAccount

    @classmethod
    def at(cls, folder: Path, account: ProviderAccount, ledger: Path | None = None) -> Place:
        port, ledger = free_port(), ledger or folder / "ledger.db"
        config = folder / "settings.toml"
        config.write_text(f"""
[quantum]
provider = "paid_provider:connect"
max_money_per_run = 1e9
shots = 64
budget_ms = {BUDGET_S * 1e3}
[orchestrator]
batch_limit = 4
[circuits]
template_store = "{folder / "templates"}"
[serve]
listen = "127.0.0.1:{port}"
metrics = "127.0.0.1:0"
insecure = true
sizes = [{N}]
ledger = "{ledger}"
parked_grace_s = {PARKED_S}
drain_s = 5
""")
        return cls(config, ledger, f"127.0.0.1:{port}", account)

    @property
    def environment(self) -> dict[str, str]:
        """What the service needs in its own."""
        return {PORT: str(self.account.port)}

    def largest_file(self) -> int:
        """Bytes of the ledger's largest file, its log included."""
        return max(file.stat().st_size for file in self.ledger.parent.glob(f"{self.ledger.name}*"))

    async def start(self, *, lean: bool) -> ServiceProcess:
        return await ServiceProcess.start(self.config, lean=lean, environment=self.environment)


@dataclass
class Verdict:
    """The ledger beside the vendor's account, when all is over."""

    records: tuple[JobRecord, ...]
    histories: dict[str, tuple[Transition, ...]]
    paid: list[tuple[str, str]]

    @classmethod
    def of(cls, ledger: Path | str, account: ProviderAccount) -> Verdict:
        place = find_place(str(ledger))
        records = place.read_jobs()
        histories = {record.tag: place.read_history(record.tag) for record in records}
        return cls(records, histories, account.list_paid())

    def find_lost_jobs(self) -> set[str]:
        """Paid for, and not in the ledger."""
        return {tag for tag, _ in self.paid} - {record.tag for record in self.records}

    def find_paid_twice(self) -> set[str]:
        """Intents and calls with more than one paid job."""
        requests = {record.tag: record.requests for record in self.records}
        calls = (name for tag, _ in self.paid for name in requests.get(tag, ()) if name)
        counts = Counter(tag for tag, _ in self.paid) + Counter(calls)
        return {name for name, count in counts.items() if count > 1}

    def find_unfinished(self) -> list[JobRecord]:
        return [record for record in self.records if record.state not in TERMINAL]

    def find_contradictions(self) -> list[JobRecord]:
        """The ledger knows samples or an id that the vendor does not, or denies a job that was paid for."""
        paid = dict(self.paid)
        return [
            record
            for record in self.records
            if ((record.job_id or record.state in HAS_SAMPLES) and paid.get(record.tag) != record.job_id)
            or (record.state is LedgerState.FAILED and not record.job_id and record.tag in paid)
        ]

    def explain_contradictions(self) -> str:
        """Each record with its history and the vendor's job, a line each."""
        paid = dict(self.paid)
        return "\n".join(
            f"{record.tag}: paid as {paid.get(record.tag)}, recorded {record.job_id!r}: "
            + "; ".join(
                f"{move.at_unix_s:.3f} {move.after} {move.job_id} {move.note}".rstrip()
                for move in self.histories[record.tag]
            )
            for record in self.find_contradictions()
        )

    def find_disordered(self) -> list[str]:
        """Records whose history does not go from the intent step by step to where they are."""
        return [
            record.tag
            for record in self.records
            if (history := self.histories[record.tag])[0].after is not LedgerState.INTENT
            or any(later.before is not earlier.after for earlier, later in pairwise(history))
            or history[-1].after is not record.state
        ]

    def count_adopted(self) -> int:
        """Records that a later process found by their tag."""
        return sum(
            "adopted by its tag after a stop" in step.note
            for steps in self.histories.values()
            for step in steps
        )

    def count_never_submitted(self) -> int:
        """Records that a search closed: the vendor never listed a job."""
        return sum(record.note.startswith("never submitted") for record in self.records)

    def states(self) -> Counter[LedgerState]:
        return Counter(record.state for record in self.records)


@dataclass
class Calls:
    """How the clients' calls ended, by kind, and how late the latest was, seconds after its deadline."""

    endings: Counter[str] = field(default_factory=Counter)
    latest_s: float = 0.0


async def run_callers(target: str, over: asyncio.Event, seed: int, calls: Calls) -> None:
    """CALLERS clients of one service, until it is over."""
    channels = connect(target, Insecure(), ChannelLimits(reconnect_s=0.2))
    await call_repeatedly(GrpcDispatcher(channels), over, seed, calls)
    await channels.close()


async def call_repeatedly(
    dispatcher: Dispatcher, over: asyncio.Event, seed: int, calls: Calls, *, pairs: int = 0
) -> None:
    """CALLERS clients, each with one call after the other, until it is over; each call ends by itself.

    pairs: so many of the clients ask in batches of two.
    """
    rng = random.Random(seed)
    loop = asyncio.get_running_loop()

    async def client(number: int) -> None:
        budget_ns = round(BUDGET_S * NS_PER_S)
        # each call must be a job, not a cached answer
        subproblem = replace(random_subproblem(N, number), budget_ns=budget_ns, fresh=True)
        count = 0
        while not over.is_set():
            count += 1
            began = loop.time()
            names = [f"{number}-{count}-{part}" for part in range(1 + (number < pairs))]
            subproblems = [replace(subproblem, request_id=name) for name in names]
            outcomes: dict[int, Outcome] = {}
            async with asyncio.timeout(BUDGET_S + GRACE_S):
                if len(subproblems) > 1:
                    await dispatcher.solve_batch(SubproblemBatch(tuple(subproblems)), outcomes.__setitem__)
                else:
                    outcomes[0] = await dispatcher.solve(subproblems[0])
            calls.latest_s = max(calls.latest_s, loop.time() - began - BUDGET_S)
            for name, (_, outcome) in zip(names, sorted(outcomes.items()), strict=True):
                calls.endings[type(outcome).__name__] += 1
                if isinstance(outcome, Done) and rng.random() < 0.7:
                    await dispatcher.record_decision(name, rng.choice((Decision.APPLIED, Decision.DROPPED)))
            await asyncio.sleep(PAUSE_S if isinstance(outcome, Done) else IDLE_S)

    async with asyncio.TaskGroup() as group:
        for number in range(CALLERS):
            group.create_task(client(number))


async def wait_busy(place: Place, calls: Calls, ending: str = "Done") -> None:
    """Until BUSY more calls have ended so; where that is with samples, until BUSY more jobs are paid for too.

    A kill after so much work and not after so much time means the same on a slow machine.
    """
    ended = calls.endings[ending] + BUSY
    paid = len(place.account.list_paid()) + BUSY if ending == "Done" else 0
    async with asyncio.timeout(HANG_S):
        while calls.endings[ending] < ended or len(place.account.list_paid()) < paid:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)


async def run_with_kills(
    place: Place, *, kills: int, seed: int, lean: bool = True, room: int | None = None
) -> tuple[Calls, int, str]:
    """Load over so many killed processes and a last one that drains; its exit code and stderr.

    room: each process but the last meets a full disk within so many more bytes of its ledger, at random;
    every other one is killed only after that.
    """
    rng, over, calls = random.Random(seed), asyncio.Event(), Calls()
    load = asyncio.create_task(run_callers(place.target, over, seed, calls))
    serving = spare = await place.start(lean=lean)
    try:
        for number in range(kills):
            serving, spare = spare, await place.start(lean=True) if lean else spare
            serving.go()
            if number % 5 == 4:  # while it starts and recovers
                await asyncio.sleep(rng.uniform(0.0, 0.5))
            else:
                await serving.wait_for_event("ready")
                await wait_busy(place, calls)
                if room is not None:
                    serving.files_up_to(place.largest_file() + rng.randrange(room))
                    if number % 2:
                        await serving.wait_for_event("trouble")
                        await wait_busy(place, calls, "Degraded")
                await asyncio.sleep(rng.uniform(0.0, 0.5))
            await serving.kill()
            if not lean:
                spare = await place.start(lean=False)
        spare.go()
        await spare.wait_for_event("ready")
        await asyncio.sleep(1.0)
        over.set()
        await load
        await wait_settled(place.ledger)
        spare.process.send_signal(signal.SIGTERM)
        code, _, complaints = await spare.wait_ended()
    finally:
        load.cancel()
        for process in (serving, spare):
            await process.kill()
    return calls, code, complaints


async def wait_settled(ledger: Path) -> None:
    """Waits until nothing is with the vendor any more, and no job is searched for."""
    async with asyncio.timeout(HANG_S):
        while any(map(is_open, read_records(ledger))):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)


def is_open(record: JobRecord) -> bool:
    """Whether a running service still changes the record by itself."""
    return record.state in OPEN or (record.state is LedgerState.PARKED and not record.job_id)


def read_records(ledger: Path) -> tuple[JobRecord, ...]:
    return find_place(str(ledger)).read_jobs()
