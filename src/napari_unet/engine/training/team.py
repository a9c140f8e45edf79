"""The processes that train one network together, each a part of every batch.

All draw the same random numbers and work out their own part of a batch. Gradients, the
weight that a loss is divided by, and the statistics of batch norms are those of the
whole batch, so that the network is the one that a single process would have trained, up
to the order of sums. What the clock decides, the first process decides for all.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import timedelta
from hashlib import sha256
from importlib import import_module
from socket import gethostname
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from napari_unet.core.text import reason
from napari_unet.engine.device import as_usual, describe
from napari_unet.engine.training.exchange import all_gather, all_reduce, broadcast
from napari_unet.engine.training.synchronised_norm import synchronise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from napari_unet.core.torchrun import Member
    from napari_unet.core.training.training_settings import Training

# The others wait while the first one validates; that all start takes no longer than the
# second.
_PATIENCE, _MEETING = timedelta(hours=2), timedelta(minutes=10)


class Alone:
    """A training in one process; the base of `Team`."""

    rank, size = 0, 1

    @property
    def is_first(self) -> bool:
        """Whether it is the process that validates, writes and decides by the clock."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """Return which patches of a batch of this size the process computes."""
        return slice(
            self.rank * count // self.size, (self.rank + 1) * count // self.size
        )

    def all_reduce(self, value: Tensor) -> Tensor:
        """Return the sum of a value over all processes, without gradient."""
        return value

    def broadcast_number(self, number: float) -> float:
        """Return the number that the first process has."""
        return number

    def broadcast_text(self, text: str) -> str:
        """Return the text that the first process has."""
        return text

    def synchronise_norms(self, module: nn.Module) -> None:
        """Make the batch norms of a module use the statistics of the whole batch."""

    def all_reduce_gradients(self, module: nn.Module) -> None:
        """Replace the gradients of a module by their sums over all processes."""

    def check(self, settings: Training) -> None:
        """ValueError if several processes cannot train with these settings."""

    def check_alike(self, seen: bytes) -> None:
        """ValueError unless all processes begin with the same data."""

    def memory_shares(self, count: int, device: torch.device) -> int:
        """Return how many patches of a batch share the memory of a device."""
        return count

    def describe(self, device: torch.device) -> str:
        """Describe the device or devices, for people."""
        return describe(device)

    @contextmanager
    def connection_errors(self) -> Iterator[None]:
        """ConnectionError in place of torch's error if another process has ended."""
        yield


ALONE = Alone()


class Team(Alone):
    """One of several processes; made by `joined`."""

    def __init__(self, member: Member) -> None:
        self.rank, self.size, self._here = member.rank, member.size, member.local_size

    def all_reduce(self, value: Tensor) -> Tensor:
        """As `Alone.all_reduce`."""
        with self.connection_errors():
            return all_reduce(value)

    def broadcast_number(self, number: float) -> float:
        """As `Alone.broadcast_number`."""
        record = torch.tensor([number], dtype=torch.float64)
        with self.connection_errors():
            return float(broadcast(record))

    def broadcast_text(self, text: str) -> str:
        """As `Alone.broadcast_text`."""
        data = text.encode()
        length = int(self.broadcast_number(len(data)))
        record = torch.zeros(length, dtype=torch.uint8)
        if self.is_first:
            record = torch.tensor(list(data), dtype=torch.uint8)
        with self.connection_errors():
            return bytes(broadcast(record).tolist()).decode()

    def synchronise_norms(self, module: nn.Module) -> None:
        """As `Alone.synchronise_norms`."""
        synchronise(module)

    def all_reduce_gradients(self, module: nn.Module) -> None:
        """As `Alone.all_reduce_gradients`: at once, as networks are small."""
        grads = [p.grad for p in module.parameters() if p.grad is not None]
        whole = self.all_reduce(torch.cat([grad.reshape(-1) for grad in grads]))
        parts = whole.split([grad.numel() for grad in grads])
        for grad, part in zip(grads, parts, strict=True):
            grad.copy_(part.view(grad.shape))

    def check(self, settings: Training) -> None:
        """As `Alone.check`."""
        if settings.folds > 1 or settings.try_both:
            asked = "--try-both" if settings.try_both else f"--folds {settings.folds}"
            raise ValueError(
                f"{asked} trains several networks one after the other, which "
                f"{self.size} processes cannot share: train each in one process, or "
                "one network in several."
            )
        if settings.batch < self.size:
            raise ValueError(
                f"a batch of {settings.batch} cannot be shared out among {self.size} "
                f"processes: take --batch {self.size} or more, or start fewer."
            )

    def check_alike(self, seen: bytes) -> None:
        """As `Alone.check_alike`."""
        own = torch.tensor(list(sha256(seen).digest()), dtype=torch.uint8)
        with self.connection_errors():
            rows = all_gather(own)
        other = [k for k, row in enumerate(rows) if not torch.equal(row, rows[0])]
        if other:
            raise ValueError(
                f"process {other[0]} of {self.size} has other images, labels, settings "
                "or versions than the first, or another checkpoint: all must see the "
                "same files."
            )

    def memory_shares(self, count: int, device: torch.device) -> int:
        """As `Alone.memory_shares`; processes of one machine share its memory."""
        most = -(-count // self.size)
        return most * self._here if device.type == "cpu" else most

    def describe(self, device: torch.device) -> str:
        """As `Alone.describe`."""
        return f"{self.size} processes, each with {describe(device)},"

    @contextmanager
    def connection_errors(self) -> Iterator[None]:
        """As `Alone.connection_errors`."""
        try:
            yield
        except RuntimeError as error:
            if not isinstance(error, dist.DistError) and "gloo" not in str(error):
                raise
            raise ConnectionError(
                f"another of the {self.size} processes has ended, so process "
                f"{self.rank} on {gethostname()} ends, too."
            ) from error


@contextmanager
def joined(member: Member | None, device: str) -> Iterator[tuple[Alone, str]]:
    """Join the processes that torchrun started; yield the team and the own device.

    `member` is which of them this is, None if it is alone; `device` is as for `train`.

    Raises
    ------
    ValueError
        The devices do not suffice for so many processes.
    ConnectionError
        Not all of them come.
    """
    if member is None:
        yield ALONE, device
        return
    own = _own_device(member, device)
    backend = "gloo"
    if own.startswith("cuda"):
        torch.cuda.set_device(torch.device(own))
        if dist.is_nccl_available():
            backend = "cpu:gloo,cuda:nccl"
    # An optimiser imports it, and it keeps the group that it then finds, whose threads
    # abort a process that ends before them (torch 2.13).
    import_module("torch._dynamo")
    try:
        store = _store(member)
        _meet(store, member)
        dist.init_process_group(
            backend,
            store=store,
            rank=member.rank,
            world_size=member.size,
            timeout=_PATIENCE,
        )
    except RuntimeError as error:
        raise ConnectionError(
            f"the {member.size} processes do not all come together at "
            f"{os.environ['MASTER_ADDR']}: {reason(error)}."
        ) from error
    try:
        yield Team(member), own
    finally:
        dist.destroy_process_group()


def _store(member: Member) -> Any:
    """Return the store in which the processes find each other.

    torchrun keeps it over restarts, with the addresses of the processes before. On one
    machine all know the number of restarts, and use keys of their own.
    """
    found = next(rendezvous("env://", timeout=_MEETING))[0]
    if member.size > member.local_size:
        return found
    prefix = f"start {member.restarts}"
    return dist.PrefixStore(prefix, found)  # type: ignore[attr-defined]


def _meet(store: Any, member: Member) -> None:
    """Wait until all are there."""
    store.set(f"here {member.rank}", "yes")
    store.wait([f"here {rank}" for rank in range(member.size)], _MEETING)


def _own_device(member: Member, wanted: str) -> str:
    """Return the device of one of several processes: a GPU each, or the CPU."""
    wanted = as_usual(wanted)
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "mps":
        raise ValueError(
            f"{member.size} processes cannot share the GPU of a Mac: train in one."
        )
    if wanted != "cuda" and not (wanted.startswith("cuda:") and member.local_size > 1):
        return wanted
    there = torch.cuda.device_count()
    if wanted != "cuda" or member.local_size > there:
        raise ValueError(
            f"each of the {member.local_size} processes here needs a GPU of its own, "
            f"found {there} and --device {wanted}: start one for each with "
            "--nproc-per-node, or train on the CPU with --device cpu."
        )
    return f"cuda:{member.local_rank}"
