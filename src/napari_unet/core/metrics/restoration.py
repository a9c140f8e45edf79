"""How near an image is to the one that it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Arrays = Sequence[NDArray[Any]]

# Window of SSIM: standard deviation of a Gaussian, in pixels, and where it is cut off,
# in standard deviations.
_SIGMA, _TRUNCATE = 1.5, 3.5
_WINDOW = 11


def psnr(found: Arrays, truths: Arrays) -> float:
    """Return the peak signal-to-noise ratio in dB, over all pixels of some images.

    The peak is the range of the true values in all of them. The values are compared as
    they are, without fitting one to the other: an offset is an error. Infinite where
    all are equal.
    """
    pixels = sum(t.size for t in truths)
    pairs = zip(found, truths, strict=True)
    error = sum(float(np.square(f.astype(float) - t).sum()) for f, t in pairs) / pixels
    if error == 0:
        return float("inf")
    span = _span(truths)
    return 10 * float(np.log10(span**2 / error)) if span > 0 else float("-inf")


def pearson(found: Arrays, truths: Arrays) -> float:
    """Return Pearson's correlation over all pixels; 0 where either is constant."""
    one, other = (
        np.concatenate([a.ravel() for a in arrays]).astype(float)
        for arrays in (found, truths)
    )
    one, other = one - one.mean(), other - other.mean()
    norm = np.sqrt(np.square(one).sum() * np.square(other).sum())
    return float(one @ other / norm) if norm > 0 else 0.0


def ssim(found: Arrays, truths: Arrays) -> float | None:
    """Return the mean structural similarity of planes (Wang et al. 2004), 0 to 1.

    Each image is one plane (y, x) or several along the first axes. The window is the
    paper's, a Gaussian of 1.5 pixels over 11; planes that are smaller are left out, and
    the result is None if all are.
    """
    from skimage.metrics import structural_similarity  # takes a while to load

    span = _span(truths)
    values = []
    for image, truth in zip(found, truths, strict=True):
        if min(truth.shape[-2:]) < _WINDOW or span == 0:
            continue
        planes = (a.reshape(-1, *a.shape[-2:]).astype(float) for a in (image, truth))
        values += [
            structural_similarity(
                one,
                other,
                data_range=span,
                gaussian_weights=True,
                sigma=_SIGMA,
                truncate=_TRUNCATE,
                use_sample_covariance=False,
            )
            for one, other in zip(*planes, strict=True)
        ]
    return float(np.mean(values)) if values else None


def _span(images: Arrays) -> float:
    return float(max(i.max() for i in images)) - float(min(i.min() for i in images))
