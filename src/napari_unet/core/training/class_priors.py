"""Class priors: how frequent each class is in images with few labels.

People paint strokes of about equal length for every class, however rare it is. A
network trained on them predicts a rare class too often where it is uncertain. The true
shares of the classes follow from its own outputs.

Reference: Saerens, Latinne and Decaestecker, Adjusting the Outputs of a Classifier to
New a Priori Probabilities, Neural Computation 14:21-41, 2002.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUNDS, _SETTLED = 200, 1e-4
# The correction is limited, so that it does not outweigh what was learnt.
_MOST = 10.0


def estimate_shares(
    probabilities: NDArray[np.floating],
    learnt: NDArray[np.float64],
    labelled: NDArray[np.integer],
) -> NDArray[np.float64]:
    """Estimate how frequent the classes are in all pixels, by expectation maximisation.

    `probabilities`, (classes, pixels), are those of pixels without a label; pixels of a
    class that was never annotated are ignored. `learnt` are the shares of the classes
    in the training data, all above 0, `labelled` the labelled pixels of each class in
    the same images. `learnt` is returned if there is nothing to estimate from.
    """
    given = probabilities.astype(np.float64)
    sums = given.sum(axis=0)
    given = given[:, sums > 0] / sums[sums > 0]
    shares = learnt
    for _ in range(_ROUNDS if given.size else 0):
        now = given * (shares / learnt)[:, None]
        found = (now / now.sum(axis=0)).mean(axis=1)
        change = np.abs(found - shares).max()
        shares = found
        if change < _SETTLED:
            break
    both = labelled + shares * given.shape[1]
    if not both.sum():
        return learnt
    total: NDArray[np.float64] = both / both.sum()
    return total


def correction(
    shares: NDArray[np.float64], learnt: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the offsets of the logits for images with other shares of the classes.

    `shares` are those in the images, `learnt` those in the training data, above 0. The
    offsets are logarithms of their ratios, at most log 10 apart.
    """
    ratios = np.log(np.maximum(shares, 1e-9) / learnt)
    ratios -= (ratios.max() + ratios.min()) / 2
    bound = np.log(_MOST) / 2
    limited: NDArray[np.float64] = np.clip(ratios, -bound, bound)
    return limited
