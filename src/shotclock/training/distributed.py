"""One model on several ranks: rank zero asks and decides, all apply the same deltas at the same step.

At each step boundary rank zero broadcasts how many deltas it has just written: one int64, and nothing more
where there are none. The deltas follow where there are, and then a checksum of every parameter, which must be
the same on all ranks. Everything goes over a gloo group of Shotclock's own, between hosts: it neither waits
for a device nor stands in the way of DDP's own collectives, whatever backend those run on.
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
"""Longer than rank zero takes to start an orchestrator or to evaluate alone; one that died shows at once."""

CHUNK = 1 << 15
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.int64}
_GOLDEN = -7046029254386353131
"""2⁶⁴ ÷ the golden ratio as an odd int64: its multiples lie far apart (Knuth's multiplicative hash)."""


class Ranks(Protocol):
    """The processes that train one model together; every method is called by all of them at the same step."""

    rank: int

    def share(self, written: Sequence[Delta]) -> Sequence[Delta]:
        """What rank zero wrote since the last boundary: its argument there, everywhere else to be written."""

    def same(self, model: nn.Module, when: str) -> None:
        """RunError on every rank where a parameter differs between them; it names the first one."""

    def close(self) -> None:
        """No more boundaries come."""


class Alone:
    """One process: nobody to tell."""

    rank = 0

    def share(self, written: Sequence[Delta]) -> Sequence[Delta]:
        """See `Ranks.share`."""
        return written

    def same(self, model: nn.Module, when: str) -> None:
        """See `Ranks.same`."""

    def close(self) -> None:
        """See `Ranks.close`."""


ALONE = Alone()


class Together:
    """The ranks of torch.distributed's default group, on a gloo group of their own.

    names: all names of the model's parameters, in one order on all ranks; deltas travel by
    the place of their name. timeout_s:
    how long a rank waits for another one that is alive. Raises RunError where a rank is lost.
    """

    def __init__(self, rank: int, names: Sequence[str], timeout_s: float) -> None:
        self.rank = rank
        self._names = list(names)
        with _losing_a_rank("attach"):
            self._group = dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout_s))

    def share(self, written: Sequence[Delta]) -> Sequence[Delta]:
        """See `Ranks.share`."""
        with _losing_a_rank("a step boundary"):
            count = int(self._broadcast(torch.tensor([len(written)], device="cpu"))[0])
            if self.rank == 0:
                for delta in written:
                    self._tell(delta)
                return written
            return [self._receive() for _ in range(count)]

    def same(self, model: nn.Module, when: str) -> None:
        """See `Ranks.same`."""
        found = torch.stack([checksum(value) for _, value in model.named_parameters()])
        # one collective for both ends: the greatest of ~x is ~ of the least x
        ends = torch.cat([found, ~found])
        with _losing_a_rank(when):
            dist.all_reduce(ends, op=dist.ReduceOp.MAX, group=self._group)
        differing = (ends[: len(found)] != ~ends[len(found) :]).nonzero().flatten()
        if len(differing):
            name = [name for name, _ in model.named_parameters()][int(differing[0])]
            raise RunError(
                f"distributed: at {when}, parameter '{name}' differs between ranks ({len(differing)} of "
                f"{len(found)} do); start from one state on every rank and let only Shotclock and DDP move it"
            )

    def close(self) -> None:
        """See `Ranks.close`."""
        if dist.is_initialized():  # the loop may have ended the default group, and all others with it
            dist.destroy_process_group(self._group)

    def _tell(self, delta: Delta) -> None:
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


class Unasked:
    """The Caller of a rank that never asks."""

    def ask(self, subproblem: Subproblem) -> Pending:
        """See `Caller.ask`; a call here is a programming error."""
        raise RuntimeError(f"{subproblem.request_id}: rank zero alone asks")

    def record_decision(self, request_id: str, decision: Decision) -> None:
        """See `Caller.record_decision`."""


def asks(environ: Mapping[str, str]) -> bool:
    """Whether this process is the one that asks: rank zero, or the only one there is."""
    return rank(environ) == 0 or _size(environ) == 1


def join_ranks(model: nn.Module, environ: Mapping[str, str], timeout_s: float = DEFAULT_TIMEOUT_S) -> Ranks:
    """The ranks that torchrun tells of in RANK and WORLD_SIZE. Collective: all of them come here.

    Raises SettingsError under several ranks without a process group, and RunError where the ranks do not
    start from the same parameters.
    """
    size = _size(environ)
    if size == 1:
        return ALONE
    if not (dist.is_available() and dist.is_initialized()):
        raise SettingsError(
            f"attach: WORLD_SIZE is {size} and there is no process group; call "
            f"torch.distributed.init_process_group before attach, on every rank"
        )
    # a kernel may use any name of a tied parameter
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    together = Together(rank(environ), names, timeout_s)
    together.same(model, "attach")
    return together


def _size(environ: Mapping[str, str]) -> int:
    told = environ.get("WORLD_SIZE", "1")
    if not (told.isdecimal() and int(told) > 0):
        raise SettingsError(f"environment: WORLD_SIZE: '{told}' is no number of ranks; torchrun sets it")
    return int(told)


@torch.no_grad()
def checksum(value: Tensor) -> Tensor:
    """An int64 of a tensor's bits, computed where it lies, on the host when returned.

    Σ bits_i·m_i mod 2⁶⁴ with every m_i odd: one changed entry always changes the sum, as odd numbers have
    inverses mod 2⁶⁴, and its value does not depend on the order of summing.
    """
    bits = value.detach().contiguous().flatten().view(_BITS[value.element_size()])
    odd = torch.arange(min(len(bits), CHUNK), device=bits.device) * _GOLDEN * 2 + 1
    total = torch.zeros((), dtype=torch.int64, device=bits.device)
    # in parts, whose int64s stay in a cache; m is the product of the part's odd number and the place's
    for number, part in enumerate(torch.split(bits, CHUNK)):
        total += (part * odd[: len(part)]).sum() * (4 * number + 1)
    return total.cpu()


@contextmanager
def _losing_a_rank(when: str) -> Iterator[None]:
    """torch says RuntimeError whatever happened to a connection: one line, with its own words in it."""
    try:
        yield
    except RuntimeError as error:
        words = " ".join(str(error).split())
        raise RunError(f"distributed: at {when}, another rank is lost or hangs: {words}") from error
