"""A vendor of paid jobs in a separate process that outlives its clients: its file decides what was paid.

`python provider_account.py FILE …` prints its port, takes one JSON request a connection, and answers
with one line. A line is in the file before the job's submit is answered.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Request = dict[str, Any]
"""What came over the wire: a verb and its words."""


@dataclass
class PaidJob:
    """A paid job. ended is set once its samples are there, or it was cancelled."""

    tag: str
    widths: list[int]
    shots: int
    fails: bool
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: bool = False


class Vendor:
    """Keeps accounts. Shares in [0, 1] are of submits.

    pay_s: from a submit's arrival to the payment; answer_s: from there to the answer; run_s: of a job, up to;
    lost: take effect and are never answered; refused: take no effect; failing: are paid for and fail.
    """

    def __init__(self, words: argparse.Namespace) -> None:
        self._words = words
        self._rng = random.Random(words.seed)
        self._jobs: dict[str, PaidJob] = {}
        self._numbers = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._file = Path(words.file).open("ab", buffering=0)  # noqa: SIM115 - as long as the process

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request; a connection that is closed without an answer is one whose answer was lost."""
        with suppress(OSError, ValueError):
            answer = await self._answer(json.loads(await reader.readline()))
            if answer is not None:
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        writer.close()

    async def _answer(self, request: Request) -> Request | None:
        match request:
            case {"verb": "submit"}:
                return await self._submit(request)
            case {"verb": "collect", "job_id": job_id}:
                return await self._collect(self._jobs[job_id])
            case {"verb": "find", "tag": tag}:
                # cancelled ones too, as in IBM's list: `limits.lists_jobs` says that it shows every job
                return {"jobs": [job_id for job_id, job in self._jobs.items() if job.tag == tag]}
            case {"verb": "cancel", "job_id": job_id}:
                job = self._jobs[job_id]
                job.cancelled = job.cancelled or not job.ended.is_set()
                job.ended.set()
                return {}
            case _:
                return {}

    async def _submit(self, request: Request) -> Request | None:
        words, rng = self._words, self._rng
        if rng.random() < words.refused:
            return {"error": "transient", "message": "429: too many requests"}
        job = PaidJob(request["tag"], request["widths"], request["shots"], rng.random() < words.failing)
        await asyncio.sleep(rng.random() * words.pay_s)
        job_id = f"paid-{next(self._numbers)}"
        self._jobs[job_id] = job
        at_once = sum(not each.ended.is_set() for each in self._jobs.values())
        line = {"tag": job.tag, "job_id": job_id, "at_once": at_once}
        self._file.write(json.dumps(line).encode() + b"\n")
        running = asyncio.create_task(self._run(job))
        self._tasks.add(running)
        running.add_done_callback(self._tasks.discard)
        await asyncio.sleep(rng.random() * words.answer_s)
        return None if rng.random() < words.lost else {"job_id": job_id}

    async def _run(self, job: PaidJob) -> None:
        await asyncio.sleep(self._rng.random() * self._words.run_s)
        job.ended.set()

    async def _collect(self, job: PaidJob) -> Request:
        await job.ended.wait()
        if job.cancelled or job.fails:
            return {"error": "permanent", "message": "cancelled" if job.cancelled else "the job failed"}
        return {"widths": job.widths, "shots": job.shots}


async def main(words: argparse.Namespace) -> None:
    server = await asyncio.start_server(Vendor(words).serve, "127.0.0.1", words.port)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - the port, for whoever started it
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=0)
    for name in ("pay-s", "answer-s", "run-s", "lost", "refused", "failing"):
        parser.add_argument(f"--{name}", type=float, default=0.0)
    asyncio.run(main(parser.parse_args()))
