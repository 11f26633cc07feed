"""Its presence puts tests/ on the path, so that a test may import `harness` and its like."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

import topology_trees

if TYPE_CHECKING:
    from postgres_cluster import Cluster

# two threads of a matrix product wait for each other on two busy cores
os.environ.setdefault("OMP_NUM_THREADS", "1")

# templates compiled by tests go to a separate cache, not to the user's: one for all workers, which have their
# environment from the process that starts them
IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
if not IS_WORKER:
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="shotclock-tests-")
_CACHE = Path(os.environ["XDG_CACHE_HOME"])


# mthree has no wheel for Python 3.13
collect_ignore = ["contract/test_primitives_mthree.py"] if sys.version_info >= (3, 13) else []

LONGEST = (
    "test_docs.py",
    "test_platform_engineer_page.py",
    "test_kill.py",
    "test_replicas.py",
    "test_slurm.py",
    "test_ray.py",
    "test_hardware_run.py",
    "test_cli.py",
    "test_workflows.py",
    "test_containers.py",
    "test_browser.py",
    "test_main_job.py",
    "test_alerting.py",
    "test_benchmarks.py",
    "test_primitives_served.py",
    "test_load.py",
    "test_outage.py",
    "test_vendor_answers.py",
    "test_endpoint_estimator.py",
    "test_service_faults.py",
    "test_ibm_provider.py",
    "test_file_fuzz.py",
)
"""Files that take minutes; a worker takes a file at a time, so a long one goes first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts system tests, which wait for processes, among the others, which compute; of both, long ones first.

    Needs `--no-loadscope-reorder`.
    """
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    files = sorted({item.path for item in items}, key=lambda path: (ranks.get(path.name, len(ranks)), path))
    waiting = [path for path in files if path.parent.name == "system"]
    computing = [path for path in files if path.parent.name != "system"]
    places = {path: max(0, number - 1) / len(waiting) for number, path in enumerate(waiting)}
    places |= {path: number / len(computing) for number, path in enumerate(computing, 1)}
    items.sort(key=lambda item: places[item.path])


@pytest.fixture(autouse=True)
def reset_safe_path() -> Iterator[None]:
    """Takes back what `cli.main` sets for its child processes: it would reach those of later tests."""
    before = os.environ.get("PYTHONSAFEPATH")
    yield
    if before is None:
        os.environ.pop("PYTHONSAFEPATH", None)


@pytest.fixture(scope="session")
def shared_machine(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Trees of machines by name, each built once, for tests that only read them."""
    return functools.cache(lambda machine: topology_trees.build(machine, tmp_path_factory.mktemp(machine)))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL server of this process; its databases are the tests' to fill."""
    from postgres_cluster import run_cluster  # imports the driver

    with run_cluster() as cluster:
        yield cluster


def pytest_unconfigure() -> None:
    """Removes the cache with the process that made it."""
    if not IS_WORKER:
        shutil.rmtree(_CACHE, ignore_errors=True)


# a shell starts what goes on in the background with Ctrl-C ignored, and its children inherit that
signal.signal(signal.SIGINT, signal.default_int_handler)

# the same examples everywhere, and none refused because the machine was slow to draw it
settings.register_profile(
    "shotclock", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", settings.get_profile("shotclock"), derandomize=False, max_examples=1_000)
settings.load_profile("shotclock")  # the command line may name the other
