"""Probabilities of scores, with the same bits whatever the number of threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def softmax(scores: Tensor, dim: int) -> Tensor:
    """Return exp(scores) over their sum along an axis.

    `torch.softmax` rounds the pixels beside whole vectors, at the end of the share of
    each thread, otherwise than the rest: on CPUs its last bit depends on the number of
    threads. A worker of a cluster has another number than the command alone.
    """
    each = (scores - scores.amax(dim, keepdim=True)).exp_()
    return each.div_(each.sum(dim, keepdim=True))
