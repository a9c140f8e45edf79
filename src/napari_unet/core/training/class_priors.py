"""How frequent each class is in images of which little is labelled.

Who paints strokes paints about as much of every class, however rare it is. A network
that learnt from them finds the rare class too often: where it is not sure, it goes by
what it saw. The shares of the classes in the images follow from its own outputs.

Reference: Saerens, Latinne and Decaestecker, Adjusting the Outputs of a Classifier to
New a Priori Probabilities, Neural Computation 14:21-41, 2002.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUNDS, _SETTLED = 200, 1e-4
# What is learnt from a few strokes is not to be turned upside down.
_MOST = 10.0


def estimate_shares(
    probabilities: NDArray[np.floating],
    learnt: NDArray[np.float64],
    labelled: NDArray[np.integer],
) -> NDArray[np.float64]:
    """Find how frequent the classes are in all pixels, by expectation maximisation.

    `probabilities`, (classes, pixels), are what a network says of pixels without a
    label. Pixels at which it is sure of none of these classes, but of one that was
    never annotated, tell nothing. `learnt` are the shares of the classes in what it
    learnt, all above 0, `labelled` the pixels of each class among the labelled ones of
    the same images. Those learnt are returned if there is nothing to tell the shares
    from.
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
    """Return what is added to the scores of a network for images of other shares.

    `shares` are those of the classes in the images, `learnt` those in what the network
    learnt, above 0. The result are logarithms of their ratios, those of any two classes
    at most log 10 apart.
    """
    ratios = np.log(np.maximum(shares, 1e-9) / learnt)
    ratios -= (ratios.max() + ratios.min()) / 2
    bound = np.log(_MOST) / 2
    limited: NDArray[np.float64] = np.clip(ratios, -bound, bound)
    return limited
