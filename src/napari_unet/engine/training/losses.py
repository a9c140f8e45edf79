"""The weighted softmax cross-entropy of the paper (Eq. 1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from napari_unet.core.annotation.annotations import IGNORED


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
