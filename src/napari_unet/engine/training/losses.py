"""The weighted softmax cross-entropy of the paper (Eq. 1), at one or more scales."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_unet.core.annotation.annotations import IGNORED

if TYPE_CHECKING:
    from collections.abc import Sequence


def weighted_cross_entropy(
    scores: Tensor, classes: Tensor, border: Tensor, table: Tensor
) -> Tensor:
    """Mean cross-entropy with the weights of Eq. 2, over annotated pixels.

    The paper sums over pixels; the mean, in units of weight, keeps the learning rate
    independent of the size of patches and of how much of them is annotated.

    Parameters
    ----------
    scores : Tensor, shape (batch, classes, [z,] y, x)
        Before the softmax.
    classes : Tensor of uint8 or int64, shape (batch, [z,] y, x)
        Class of each pixel; `IGNORED` has no influence.
    border : Tensor of float32, shape (batch, [z,] y, x)
        Second term of Eq. 2, added to the class weight.
    table : Tensor of float32, shape (classes,)
        First term w_c of Eq. 2: weight of each class.

    Returns
    -------
    Tensor
        Scalar; 0 where nothing is annotated.
    """
    target = classes.long()
    annotated = target != IGNORED
    loss = F.cross_entropy(
        scores.float(), target, ignore_index=IGNORED, reduction="none"
    )
    weight = table[torch.where(annotated, target, 0)] + border
    weight = torch.where(annotated, weight, 0.0)
    return (weight * loss).sum() / weight.sum().clamp_min(1e-12)


def supervised_loss(
    scores: Sequence[Tensor],
    places: Sequence[Sequence[tuple[slice, slice]]],
    classes: Tensor,
    border: Tensor,
    table: Tensor,
) -> Tensor:
    """Mean of the losses of a network and of its coarser outputs (deep supervision).

    Each output counts half of the finer one before it, as in nnU-Net (Isensee et al.
    2021). A coarse pixel is judged by the one in its middle, with its border weight:
    no border is invented, and no class by interpolation.

    Parameters
    ----------
    scores : sequence of Tensor, each of shape (batch, classes, [z,] y, x)
        From fine to coarse; the first is on the grid of the classes.
    places : sequence
        Of each coarser output where it lies, see `Trace.targets`.
    classes, border, table
        As for `weighted_cross_entropy`.
    """
    loss = weighted_cross_entropy(scores[0], classes, border, table)
    share = total = 1.0
    for coarse, place in zip(scores[1:], places, strict=True):
        share /= 2
        total += share
        every = slice(None)
        here = (every, every, *(inside for inside, _ in place))
        there = (every, *(taken for _, taken in place))
        loss = loss + share * weighted_cross_entropy(
            coarse[here], classes[there], border[there], table
        )
    return loss / total if places else loss
