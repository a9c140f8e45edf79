"""The weighted softmax cross-entropy of the paper (Eq. 1), and losses of images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.engine.training.team import ALONE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_unet.engine.training.team import Alone

    Places = Sequence[Sequence[tuple[slice, slice]]]

# Below about its square root the Charbonnier loss is quadratic.
_CHARBONNIER = 1e-6


def weighted_cross_entropy(
    scores: Tensor,
    classes: Tensor,
    border: Tensor,
    table: Tensor,
    team: Alone = ALONE,
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
    team : Alone
        Whose batch it is a part of.

    Returns
    -------
    Tensor
        Scalar; 0 where nothing is annotated. Of a team, the part of each process; they
        add up to the mean over the batch.
    """
    target = classes.long()
    annotated = target != IGNORED
    loss = F.cross_entropy(
        _precise(scores), target, ignore_index=IGNORED, reduction="none"
    )
    weight = table[torch.where(annotated, target, 0)] + border
    weight = torch.where(annotated, weight, 0.0).to(loss.dtype)
    return _mean(loss, weight, team)


def supervised_loss(
    scores: Sequence[Tensor],
    places: Places,
    classes: Tensor,
    border: Tensor,
    table: Tensor,
    team: Alone = ALONE,
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
    classes, border, table, team
        As for `weighted_cross_entropy`.
    """
    return _at_all_scales(
        scores,
        places,
        lambda found, there: weighted_cross_entropy(
            found, classes[:, *there], border[:, *there], table, team
        ),
    )


def image_loss(
    scores: Sequence[Tensor],
    places: Places,
    target: Tensor,
    weight: Tensor,
    kind: Literal["l1", "mse", "charbonnier"],
    team: Alone = ALONE,
) -> Tensor:
    """Mean difference between images, over pixels with a weight; as `supervised_loss`.

    Parameters
    ----------
    scores, places, team
        As for `supervised_loss`, channels in place of classes.
    target : Tensor of float32, shape (batch, channels, [z,] y, x)
        What the network is to give.
    weight : Tensor of float32, shape (batch, [z,] y, x)
        Of each pixel; 0 has no influence.
    kind : str
        Of the difference d: its absolute value, its square, or sqrt(d² + 10⁻⁶)
        (Charbonnier et al. 1994).
    """
    return _at_all_scales(
        scores,
        places,
        lambda found, there: _mean_difference(
            _precise(found) - target[:, :, *there], weight[:, *there], kind, team
        ),
    )


def _mean_difference(
    difference: Tensor, weight: Tensor, kind: str, team: Alone
) -> Tensor:
    if kind == "l1":
        each = difference.abs()
    elif kind == "mse":
        each = difference.square()
    else:
        each = (difference.square() + _CHARBONNIER).sqrt()
    return _mean(each.mean(dim=1), weight, team)


def _precise(scores: Tensor) -> Tensor:
    """Return logits in single precision, unless they are in double."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def _mean(loss: Tensor, weight: Tensor, team: Alone) -> Tensor:
    """Return the contribution of pixels to the weighted mean of a whole batch."""
    return (weight * loss).sum() / team.all_reduce(weight.sum()).clamp_min(1e-12)


def _at_all_scales(
    scores: Sequence[Tensor],
    places: Places,
    loss_of: Callable[[Tensor, tuple[slice, ...]], Tensor],
) -> Tensor:
    """Mean of the loss of each output at the pixels of the finest that it is for."""
    whole = (slice(None),) * (scores[0].ndim - 2)
    loss = loss_of(scores[0], whole)
    share = total = 1.0
    for coarse, place in zip(scores[1:], places, strict=True):
        share /= 2
        total += share
        inside = tuple(inside for inside, _ in place)
        taken = tuple(taken for _, taken in place)
        loss = loss + share * loss_of(coarse[:, :, *inside], taken)
    return loss / total if places else loss
