"""The event-loop thread after its close, and in a process that was forked from its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from shotclock.domain.errors import MachineError
from shotclock.runtime.loop_thread import LoopThread

FORK = """
import asyncio, os
from shotclock.domain.errors import MachineError
from shotclock.runtime.loop_thread import LoopThread

thread = LoopThread()
child = os.fork()
if child == 0:
    try:
        thread.run(asyncio.sleep(0))
    except MachineError as error:
        print(error, flush=True)
        thread.close()
        os._exit(7)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
thread.run(asyncio.sleep(0))
thread.close()
"""


def test_what_is_asked_of_a_closed_loop_is_refused_in_a_line() -> None:
    thread = LoopThread()
    thread.run(asyncio.sleep(0))
    thread.close()
    with pytest.raises(MachineError, match="orchestrator is closed; make another one"):
        thread.run(asyncio.sleep(0))


def test_a_forked_process_is_refused_and_does_not_wait_for_a_thread_that_it_lacks() -> None:
    command = [sys.executable, "-c", FORK]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "from which this one was forked; make one here" in ended.stdout
