"""One model on several ranks: rank zero makes calls and decides, all apply the same deltas at the same step.

At each step boundary rank zero broadcasts one int64, the number of deltas it has just written. If it is not
zero, the deltas follow, and then a checksum of every parameter, which must be equal on all ranks. All of it
uses a separate gloo group between hosts, so that it neither waits for a device nor interferes with DDP's
collectives, whatever backend they use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol

import torch
from torch import Tensor, nn
from torch import distributed as dist

from shotclock.domain.delta import Delta
from shotclock.domain.errors import RunError, SettingsError
from shotclock.domain.outcome import Decision
from shotclock.domain.ports import Pending
from shotclock.domain.subproblem import Subproblem
from shotclock.training.observe import rank

DEFAULT_TIMEOUT_S = 600.0
"""Longer than rank zero takes to start an orchestrator or to evaluate; a dead rank is noticed at once."""

CHUNK = 1 << 15
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.int64}
_GOLDEN = -7046029254386353131
"""2⁶⁴ ÷ the golden ratio as an odd int64: its multiples are far apart (Knuth's multiplicative hash)."""


class Ranks(Protocol):
    """The processes that train one model; all of them call every method at the same step."""

    rank: int

    def share(self, deltas: Sequence[Delta]) -> Sequence[Delta]:
        """The deltas rank zero wrote since the last boundary, which the other ranks must apply."""

    def check_same(self, model: nn.Module, when: str) -> None:
        """Raises RunError on every rank if a parameter differs between them; it names the first one."""

    def close(self) -> None:
        """Ends the exchange; no more boundaries follow."""


class SingleProcess:
    """The Ranks of a single process: shares nothing."""

    rank = 0

    def share(self, deltas: Sequence[Delta]) -> Sequence[Delta]:
        """See `Ranks.share`."""
        return deltas

    def check_same(self, model: nn.Module, when: str) -> None:
        """See `Ranks.check_same`."""

    def close(self) -> None:
        """See `Ranks.close`."""


SINGLE_PROCESS = SingleProcess()


class GlooRanks:
    """The ranks of torch.distributed's default group, on a separate gloo group.

    names: all names of the model's parameters, in the same order on all ranks; a delta is sent with the index
        of its name.
    timeout_s: how long a rank waits for another rank that is alive, seconds.
    Raises RunError if a rank is lost.
    """

    def __init__(self, rank: int, names: Sequence[str], timeout_s: float) -> None:
        self.rank = rank
        self._names = list(names)
        with _translate_rank_loss("attach"):
            self._group = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout_s))

    def share(self, deltas: Sequence[Delta]) -> Sequence[Delta]:
        """See `Ranks.share`."""
        with _translate_rank_loss("a step boundary"):
            count = int(self._broadcast(torch.tensor([len(deltas)], device="cpu"))[0])
            if self.rank == 0:
                for delta in deltas:
                    self._send(delta)
                return deltas
            return [self._receive() for _ in range(count)]

    def check_same(self, model: nn.Module, when: str) -> None:
        """See `Ranks.check_same`."""
        checksums = torch.stack([checksum(value) for _, value in model.named_parameters()])
        # One collective finds both maximum and minimum: the maximum of ~x is ~ of the minimum of x.
        ends = torch.cat([checksums, ~checksums])
        with _translate_rank_loss(when):
            dist.all_reduce(ends, op=dist.ReduceOp.MAX, group=self._group)
        differing = (ends[: len(checksums)] != ~ends[len(checksums) :]).nonzero().flatten()
        if len(differing):
            name = [name for name, _ in model.named_parameters()][int(differing[0])]
            raise RunError(
                f"distributed: at {when}, parameter '{name}' differs between ranks ({len(differing)} of "
                f"{len(checksums)} do); start from one state on every rank, and let only Shotclock and DDP "
                f"change it"
            )

    def close(self) -> None:
        """See `Ranks.close`."""
        if dist.is_initialized():  # the loop may have destroyed the default group, and with it all others
            dist.destroy_process_group(self._group)

    def _send(self, delta: Delta) -> None:
        head = [delta.base_version, self._names.index(delta.parameter), len(delta.indices)]
        self._broadcast(torch.tensor(head, device="cpu"))
        self._broadcast(torch.from_numpy(delta.indices).to(torch.int64))
        self._broadcast(torch.from_numpy(delta.values).to(torch.float64))

    def _receive(self) -> Delta:
        version, place, size = self._broadcast(torch.zeros(3, dtype=torch.int64, device="cpu")).tolist()
        indices = self._broadcast(torch.zeros(size, dtype=torch.int64, device="cpu"))
        values = self._broadcast(torch.zeros(size, dtype=torch.float64, device="cpu"))
        return Delta(version, self._names[place], indices.numpy(), values.numpy())

    def _broadcast(self, tensor: Tensor) -> Tensor:
        """Rank zero's tensor."""
        dist.broadcast(tensor, src=0, group=self._group)
        return tensor


class RefusingCaller:
    """The Caller of a rank that makes no calls."""

    def ask(self, subproblem: Subproblem) -> Pending:
        """See `Caller.ask`; a call here is a programming error."""
        raise RuntimeError(f"{subproblem.request_id}: only rank zero makes calls")

    def record_decision(self, request_id: str, decision: Decision, *, stale: bool = False) -> None:
        """See `Caller.record_decision`."""


def is_calling_rank(environ: Mapping[str, str]) -> bool:
    """Whether this process makes the calls: rank zero, or the only process."""
    return rank(environ) == 0 or _size(environ) == 1


def join_ranks(model: nn.Module, environ: Mapping[str, str], timeout_s: float = DEFAULT_TIMEOUT_S) -> Ranks:
    """The ranks that torchrun names in RANK and WORLD_SIZE. Collective: every rank must call it.

    Raises SettingsError if several ranks have no process group, and RunError if they do not start from the
    same parameters.
    """
    size = _size(environ)
    if size == 1:
        return SINGLE_PROCESS
    if not (dist.is_available() and dist.is_initialized()):
        raise SettingsError(
            f"attach: WORLD_SIZE is {size}, but no process group exists; call "
            f"torch.distributed.init_process_group before attach, on every rank"
        )
    # With duplicates, because a kernel may use any name of a tied parameter.
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    ranks = GlooRanks(rank(environ), names, timeout_s)
    ranks.check_same(model, "attach")
    return ranks


def _size(environ: Mapping[str, str]) -> int:
    value = environ.get("WORLD_SIZE", "1")
    if not (value.isdecimal() and int(value) > 0):
        raise SettingsError(
            f"environment: WORLD_SIZE: must be a positive number (got '{value}'); torchrun sets it"
        )
    return int(value)


@torch.no_grad()
def checksum(value: Tensor) -> Tensor:
    """An int64 checksum of a tensor's bits, computed on its device and returned on the host.

    Σ bits_i·m_i mod 2⁶⁴ with every m_i odd: one changed entry always changes the sum, as odd numbers have
    inverses mod 2⁶⁴, and its value does not depend on the order of summing.
    """
    bits = value.detach().contiguous().flatten().view(_BITS[value.element_size()])
    odd = torch.arange(min(len(bits), CHUNK), device=bits.device) * _GOLDEN * 2 + 1
    total = torch.zeros((), dtype=torch.int64, device=bits.device)
    # In parts whose int64s fit a cache; m is the product of the part's and the position's odd numbers.
    for number, part in enumerate(torch.split(bits, CHUNK)):
        total += (part * odd[: len(part)]).sum() * (4 * number + 1)
    return total.cpu()


@contextmanager
def _translate_rank_loss(when: str) -> Iterator[None]:
    """Translates torch's RuntimeError, its only error about connections, into a one-line RunError."""
    try:
        yield
    except RuntimeError as error:
        words = " ".join(str(error).split())
        raise RunError(f"distributed: at {when}, another rank is lost or hangs: {words}") from error
