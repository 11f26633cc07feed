"""Which host does the work of a quantum call: placement by RTT against random and round-robin.

Three `shotclock serve` in three network namespaces, each behind a proxy that delays every byte; the caller's
arrivals are fixed beforehand, and latency counts from the scheduled instant. Then the delays change places,
and then the chosen host is killed under load. Needs root and the EMULATED provider.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import _extras
from _options import make_parser
from _site_graph import SiteGraph, measure_site

if TYPE_CHECKING:
    from _delay_proxy import DelayedLinks
    from _isolation_service import Site as Certificates
    from shotclock.app.placed import PlacedDispatcher, PlacementName
    from shotclock.domain.subproblem import Subproblem

RTTS_MS = {"near": 2.0, "far": 60.0, "farther": 150.0}
CALLER = "trainer"
RATE_PER_S, BUDGET_S = 4.0, 2.0
PLACEMENTS: tuple[PlacementName, ...] = ("rtt", "round-robin", "random")
ACCELERATORS, RACKS = 72, 100
FEWEST_P95 = 130


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured.

    rounds: how often each placement has its turn.
    window_s: seconds of a turn.
    decisions: of the large site.
    """

    rounds: int
    window_s: float
    decisions: int


QUICK, FULL = Effort(1, 10.0, 300), Effort(3, 20.0, 3000)


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured.

    latencies_s: by placement.
    followed_s: from the change of the delays until the calls went to the new nearest host.
    failover_s: from the kill until the first answer with samples from another host.
    without_samples: calls around the kill that had none, of how many.
    decision_ms: p50 and p99 of a decision in a large site.
    graph_mib: the states that it decides by.
    site: the topology of that site; None where it was not measured.
    """

    latencies_s: dict[str, list[float]]
    followed_s: float
    failover_s: float
    without_samples: tuple[int, int]
    decision_ms: tuple[float, float]
    graph_mib: float
    site: SiteGraph | None = None

    def p95_s(self, placement: str) -> float:
        """By nearest rank."""
        ordered = sorted(self.latencies_s[placement])
        return ordered[max(0, -(-95 * len(ordered) // 100) - 1)]

    def figures(self) -> dict[str, float]:
        """Metric → number."""
        return {
            "p95_gain_vs_random": self.p95_s("random") / self.p95_s("rtt"),
            "p95_gain_vs_round_robin": self.p95_s("round-robin") / self.p95_s("rtt"),
            **{f"{name.replace('-', '_')}_p95_ms": 1e3 * self.p95_s(name) for name in PLACEMENTS},
            "calls_per_placement": min(map(len, self.latencies_s.values())),
            "rtt_change_followed_s": self.followed_s,
            "failover_s": self.failover_s,
            "failover_calls_without_samples": self.without_samples[0],
            "decision_p50_ms_7200": self.decision_ms[0],
            "decision_p99_ms_7200": self.decision_ms[1],
            "graph_mib_7200": self.graph_mib,
            **(self.site.figures() if self.site is not None else {}),
        }


def main() -> None:
    """Measures, then prints JSON or markdown on stdout."""
    arguments = make_parser(__doc__, "about a minute; too few calls for a p95").parse_args()
    if os.geteuid() != 0:
        sys.exit("error: placement.py makes network namespaces, which needs root")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    measured = measure(QUICK if arguments.quick else FULL)
    if arguments.json:
        print(json.dumps({key: round(value, 5) for key, value in measured.figures().items()}, indent=2))
    else:
        print("\n".join(markdown(measured)))


def measure(effort: Effort) -> Measured:
    """The decision first, while the machine is idle; then the services."""
    from _delay_proxy import delay_links  # noqa: PLC0415
    from _isolation_service import Site  # noqa: PLC0415

    decision_ms, graph_mib = decide_at_scale(effort.decisions)
    topology = measure_site()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as cleanup:
        certificates = Site.of(Path(folder), (CALLER,))
        services, targets = {}, {}
        for number, name in enumerate(RTTS_MS):
            address = cleanup.enter_context(namespace(number))
            running = cleanup.enter_context(service_at(certificates, name, number, address))
            services[name], targets[name] = running, (address, running[1])
        links = cleanup.enter_context(delay_links(targets, RTTS_MS))
        calls = _measure_calls(effort, certificates, links, services, decision_ms, graph_mib)
        return replace(asyncio.run(calls), site=topology)


@contextmanager
def namespace(number: int) -> Iterator[str]:
    """A network namespace joined to this one; its address there."""
    name, ours, theirs = f"shotclock-{number}", f"sc{number}", f"scn{number}"
    near, far = f"10.231.{number}.1", f"10.231.{number}.2"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        _ip("addr", "add", f"{near}/30", "dev", ours)
        _ip("link", "set", ours, "up")
        _ip("-n", name, "addr", "add", f"{far}/30", "dev", theirs)
        _ip("-n", name, "link", "set", theirs, "up")
        _ip("-n", name, "link", "set", "lo", "up")
        yield far
    finally:
        _ip("netns", "del", name)


def _ip(*words: str) -> None:
    ended = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"error: ip {' '.join(words)}: {ended.stderr.strip()}")


@contextmanager
def service_at(
    certificates: Certificates, name: str, number: int, address: str
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A service in the namespace, ready, and its port."""
    from _isolation_service import SERVER, write_profile  # noqa: PLC0415

    files, config = certificates.issue(SERVER), certificates.folder / f"{name}.toml"
    config.write_text(
        f"""[quantum]
profile = "{write_profile(certificates.folder)}"
[circuits]
template_store = "{certificates.folder / name}"
[serve]
listen = "{address}:0"
metrics = "127.0.0.1:0"
certificate = "{files.certificate}"
private_key = "{files.private_key}"
authorities = "{files.authorities}"
trainers = ["{CALLER}"]
"""
    )
    command = ["ip", "netns", "exec", f"shotclock-{number}", sys.executable, "-m", "shotclock", "serve"]
    with (certificates.folder / f"{name}.err").open("w") as errors:
        process = subprocess.Popen(
            [*command, "--json", "--config", str(config)], stdout=subprocess.PIPE, stderr=errors, text=True
        )
    port = 0
    try:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            port = event.get("grpc_port", port)
            if event["event"] == "ready":
                break
        else:
            sys.exit(f"error: the service did not start: {(certificates.folder / f'{name}.err').read_text()}")
        yield process, port
    finally:
        process.kill()
        process.communicate()


async def _measure_calls(
    effort: Effort,
    certificates: Certificates,
    links: DelayedLinks,
    services: dict[str, tuple[subprocess.Popen[str], int]],
    decision_ms: tuple[float, float],
    graph_mib: float,
) -> Measured:
    name_of = {f"127.0.0.1:{port}": name for name, port in links.ports.items()}
    latencies_s: dict[str, list[float]] = {name: [] for name in PLACEMENTS}
    for turn in range(effort.rounds):
        for placement in PLACEMENTS:
            dispatcher = await _connect(certificates, list(name_of), placement)
            await _observe(dispatcher, 2.0, 0)
            latencies_s[placement] += [
                took for took, _ in await _observe(dispatcher, effort.window_s, turn + 1)
            ]
            await dispatcher.close()
            print(f"round {turn + 1}: {placement} {dispatcher.calls}", file=sys.stderr)
    dispatcher = await _connect(certificates, list(name_of), "rtt")
    await _observe(dispatcher, 5.0, 0)
    followed_s = await _follow(dispatcher, links, name_of)
    failover_s, without = await _fail_over(dispatcher, services, name_of)
    await dispatcher.close()
    return Measured(latencies_s, followed_s, failover_s, without, decision_ms, graph_mib)


async def _connect(
    certificates: Certificates, targets: list[str], placement: PlacementName
) -> PlacedDispatcher:
    from _isolation_service import SERVER  # noqa: PLC0415
    from shotclock.app.placed import connect_hosts  # noqa: PLC0415
    from shotclock.wire.tls import ClientTls  # noqa: PLC0415

    dispatcher = await connect_hosts(targets, ClientTls(certificates.issue(CALLER), SERVER), placement)
    await asyncio.sleep(3.0)  # some round trips of each host
    return dispatcher


def _problem(number: int) -> Subproblem:
    from _orchestrator_system import instances  # noqa: PLC0415

    problems = instances(16, round(BUDGET_S * 1e9))
    return replace(problems[number % 16], request_id=f"call-{number}-{time.monotonic_ns()}", fresh=True)


async def _observe(dispatcher: PlacedDispatcher, seconds: float, seed: int) -> list[tuple[float, bool]]:
    """Latency from the scheduled instant of each call, and whether it had samples; without, its budget."""
    import numpy as np  # noqa: PLC0415

    rng = np.random.default_rng(seed)
    instants = np.cumsum(rng.exponential(1.0 / RATE_PER_S, size=round(4 * seconds * RATE_PER_S) + 50))
    began = time.monotonic() + 0.1
    calls = [_call_at(dispatcher, began + float(at), n) for n, at in enumerate(instants) if at < seconds]
    return list(await asyncio.gather(*calls))


async def _call_at(dispatcher: PlacedDispatcher, at: float, number: int) -> tuple[float, bool]:
    from shotclock.domain.outcome import Done  # noqa: PLC0415

    await asyncio.sleep(max(0.0, at - time.monotonic()))
    outcome = await dispatcher.solve(_problem(number))
    has_samples = isinstance(outcome, Done) and outcome.samples.shots > 0
    return (time.monotonic() - at if has_samples else BUDGET_S), has_samples


async def _follow(dispatcher: PlacedDispatcher, links: DelayedLinks, name_of: dict[str, str]) -> float:
    """The nearest and the farthest host change places; until a call goes to the one that is nearest now."""
    links.set_rtt("near", RTTS_MS["farther"])
    links.set_rtt("farther", RTTS_MS["near"])
    began, number = time.monotonic(), 0
    while time.monotonic() - began < 60.0:
        before = dict(dispatcher.calls)
        await dispatcher.solve(_problem(number))
        (chosen,) = [target for target, calls in dispatcher.calls.items() if calls > before[target]]
        if name_of[chosen] == "farther":
            return time.monotonic() - began
        number += 1
        await asyncio.sleep(0.1)
    sys.exit("error: the changed delays were not followed within a minute")


async def _fail_over(
    dispatcher: PlacedDispatcher,
    services: dict[str, tuple[subprocess.Popen[str], int]],
    name_of: dict[str, str],
) -> tuple[float, tuple[int, int]]:
    """The chosen host is killed; until another one's samples, and how many calls had none."""
    from shotclock.domain.outcome import Done  # noqa: PLC0415

    services["farther"][0].kill()
    killed, number, without = time.monotonic(), 0, 0
    while time.monotonic() - killed < 60.0:
        outcome = await dispatcher.solve(_problem(number))
        number += 1
        if isinstance(outcome, Done):
            return time.monotonic() - killed, (without, number)
        without += 1
        await asyncio.sleep(0.1)
    sys.exit(f"error: no host answered within a minute of the kill, of {', '.join(name_of.values())}")


def decide_at_scale(decisions: int) -> tuple[tuple[float, float], float]:
    """p50 and p99 of a decision among 7,200 hosts, milliseconds, and the size of their states, MiB."""
    import numpy as np  # noqa: PLC0415

    from shotclock.domain.hosts import Endpoint, HostState, Rtt  # noqa: PLC0415
    from shotclock.placement.policy import Site  # noqa: PLC0415

    rng, endpoint = np.random.default_rng(0), Endpoint("QPU", frozenset({"cxl 7"}))
    tracemalloc.start()
    site = Site()
    states = []
    for rack in range(RACKS):
        for number in range(ACCELERATORS):
            fabrics = {f"ualink pod-{rack}/1", "rdma a"} | ({"cxl 7"} if rack < 3 else set())
            rtt_ms = 0.2 + float(rng.exponential(0.1))
            rtts = {"QPU": Rtt(rtt_ms, 1.5 * rtt_ms, 100, 1.0)}
            free, load = int(rng.integers(2**30, 2**38)), float(rng.random())
            states.append(HostState(f"rack-{rack}-{number}", frozenset(fabrics), rtts, free, load))
            site.update(states[-1], 0.0)
    graph_mib = tracemalloc.get_traced_memory()[0] / 2**20
    tracemalloc.stop()
    took_ms = []
    for number in range(decisions):
        began = time.perf_counter()
        site.choose(endpoint, now_s=1.0, key=str(number))
        took_ms.append(1e3 * (time.perf_counter() - began))
    p50, p99 = np.percentile(took_ms, [50, 99], method="inverted_cdf")
    return (float(p50), float(p99)), graph_mib


def markdown(measured: Measured) -> list[str]:
    """The section of docs/benchmarks.md."""
    figures, calls = measured.figures(), min(map(len, measured.latencies_s.values()))
    few = "" if calls >= FEWEST_P95 else f" Fewer than {FEWEST_P95} calls: no p95 to rely on."
    rtts = ", ".join(f"{rtt_ms:g}" for rtt_ms in RTTS_MS.values())
    return [
        "## Placement over several hosts (EMULATED)",
        "",
        f"Three services in network namespaces, round trips of {rtts} ms by a delaying proxy, {RATE_PER_S:g} "
        f"calls a second with arrivals fixed beforehand; the placements take turns.{few}",
        "",
        "| placement | calls | p95, ms | p95 ÷ placement by RTT |",
        "|---|---|---|---|",
        *(
            f"| {name} | {len(measured.latencies_s[name])} | {1e3 * measured.p95_s(name):.0f} | "
            f"{measured.p95_s(name) / measured.p95_s('rtt'):.2f} |"
            for name in PLACEMENTS
        ),
        "",
        f"The nearest and the farthest host change places: calls go to the new nearest after "
        f"{measured.followed_s:.1f} s. The chosen host is killed: the first samples of another one "
        f"come after {measured.failover_s:.2f} s; of {measured.without_samples[1]} calls "
        f"{measured.without_samples[0]} had none.",
        "",
        f"A decision among {ACCELERATORS} accelerators × {RACKS} racks, a host each: p50 "
        f"{figures['decision_p50_ms_7200']:.2f} ms, p99 {figures['decision_p99_ms_7200']:.2f} ms; the "
        f"states of all take {figures['graph_mib_7200']:.0f} MiB.",
        "",
        *([] if measured.site is None else [measured.site.sentence(), ""]),
    ]


if __name__ == "__main__":
    _extras.run(main)
