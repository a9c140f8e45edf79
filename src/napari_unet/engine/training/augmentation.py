"""Random deformations and grey-value changes, on the device that trains.

The amounts are drawn by numpy from a generator that the caller owns; the pixels are
moved by torch. Image, labels and weights are resampled by the same map.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import ceil, cos, log, radians, sin
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from napari_unet.engine.device import single

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_unet.core.training.training_settings import Augmentation

_GRID = 3
# Standard deviation of a Gaussian that changes nothing, in pixels.
_SHARP = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Deformation:
    """Where each pixel of a patch comes from."""

    # float64, (ndim, ndim); turn, mirror and scale, from patch to image
    matrix: NDArray[np.float64]
    # float64, (ndim, 3, ..., 3); shift of the 3 × 3 (× 3) grid points, in pixels
    displacements: NDArray[np.float64]


def coordinates(
    deformations: Sequence[Deformation],
    size: Sequence[int],
    centres: Sequence[Sequence[float]],
    device: torch.device,
) -> Tensor:
    """Return image coordinates of each pixel of some patches of one size in pixels.

    Float32, (patches, ndim, *size). There is a deformation for each patch, and a centre
    in image coordinates.
    """
    ndim = len(size)
    axes = [torch.arange(n, device=device) - (n - 1) / 2 for n in size]
    pixels = torch.stack(torch.meshgrid(*axes, indexing="ij")).expand(
        len(deformations), ndim, *size
    )
    displacements = np.stack([d.displacements for d in deformations])
    if displacements.any():
        field = single(displacements, device)
        for axis, n in enumerate(size, start=2):
            # one axis of grid points becomes one of pixels
            field = (field.movedim(axis, -1) @ _bicubic(n, device).T).movedim(-1, axis)
        pixels = pixels + field
    matrix = single([d.matrix for d in deformations], device)
    origin = single(centres, device)
    moved: Tensor = matrix @ pixels.flatten(2) + origin[:, :, None]
    return moved.view(len(deformations), ndim, *size)


def draw_deformation(
    settings: Augmentation, spacing: Sequence[float], rng: np.random.Generator
) -> Deformation:
    """Draw turn, mirroring, scale and elastic displacements (paper, sec. 3.1).

    The spacing is the pixel size along each axis relative to the finest; thick slices
    are displaced by as much less.
    """
    ndim = len(spacing)
    angle = radians(rng.uniform(-settings.rotation, settings.rotation))
    zoom = np.exp(rng.uniform(-1, 1, size=2) * log(settings.scale))
    matrix = np.eye(ndim)
    matrix[-2:, -2:] = [[cos(angle), -sin(angle)], [sin(angle), cos(angle)]]
    matrix *= zoom[0]
    if ndim == 3:
        # slices are seldom as fine as pixels: the z axis keeps its own, milder scale
        matrix[0, 0] = zoom[1] ** 0.5
    if settings.mirror:
        matrix = matrix @ np.diag(rng.choice([-1.0, 1.0], size=ndim))
    shape = (ndim, *(_GRID,) * ndim)
    displacements = rng.normal(size=shape) * settings.elastic
    displacements /= np.reshape(spacing, (-1, *(1,) * ndim))
    return Deformation(matrix, displacements)


def sample(pixels: Tensor, coordinates: Tensor, *, nearest: bool = False) -> Tensor:
    """Return pixels at fractional coordinates: float32, (channels, *size).

    The pixels are float32, (channels, [z,] y, x); the coordinates, in pixels, (ndim,
    *size) with ([z,] y, x) first. `nearest` is for labels; linear otherwise.
    """
    size = torch.tensor(pixels.shape[1:], device=pixels.device)
    scale = 2 / (size - 1).clamp_min(1)
    ndim = coordinates.shape[0]
    grid = coordinates * scale.view(-1, *(1,) * ndim) - 1
    grid = grid.flip(0).movedim(0, -1)  # (*size, ndim) as x, y[, z]
    return F.grid_sample(
        pixels[None],
        grid[None],
        mode="nearest" if nearest else "bilinear",
        padding_mode="border",
        align_corners=True,
    )[0]


def change_greys(
    images: Tensor,
    settings: Augmentation,
    rng: np.random.Generator,
    sd: Tensor | None = None,
    share: tuple[int, slice] | None = None,
) -> Tensor:
    """Change brightness, contrast and gamma, blur, and add noise.

    The images are float32, (patches, channels, [z,] y, x), normalised to sd 1, or to
    `sd`, (patches, channels, [1,] 1, 1). With `share` they are a part of a larger batch
    and change as they would in the whole of it.
    """
    whole, own = share or (len(images), slice(None))

    def draw(low: float, high: float, channels: int = images.shape[1]) -> Tensor:
        shape = (whole, channels, *(1,) * (images.ndim - 2))
        amounts = rng.uniform(low, high, size=shape)[own]
        return single(amounts, images.device)

    if settings.gamma > 1:
        dims = tuple(range(2, images.ndim))
        low = images.amin(dim=dims, keepdim=True)
        span = (images.amax(dim=dims, keepdim=True) - low).clamp_min(1e-6)
        exponent = torch.exp(draw(-log(settings.gamma), log(settings.gamma)))
        images = ((images - low) / span).clamp_min(1e-6) ** exponent * span + low
    contrast = torch.exp(draw(-log(settings.contrast), log(settings.contrast)))
    brightness = draw(-settings.brightness, settings.brightness)
    images = images * contrast + (brightness if sd is None else brightness * sd)
    if settings.blur:
        sigma = draw(0, settings.blur, channels=1)
        images = _blur(images, sigma, settings.blur)
    if settings.noise:
        generator = torch.Generator(images.device)
        generator.manual_seed(int(rng.integers(2**63)))
        noise = images.new_empty((whole, *images.shape[1:]))
        noise = noise.normal_(generator=generator)[own]
        amount = draw(0, settings.noise, channels=1)
        images = images + (amount if sd is None else amount * sd) * noise
    return images


@cache
def _bicubic(size: int, device: torch.device) -> Tensor:
    """Return weights that spread three grid points over `size` pixels.

    Cubic convolution (Keys 1981, a = -0.75) with the outermost points repeated, the
    points on the first, middle and last pixel.
    """
    at = torch.linspace(0, _GRID - 1, size)
    weights = torch.zeros(size, _GRID)
    for tap in range(-1, _GRID + 1):
        distance = (at - tap).abs()
        weights[:, min(max(tap, 0), _GRID - 1)] += _cubic(distance)
    return weights.to(device)


def _cubic(d: Tensor) -> Tensor:
    a = -0.75
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((d - 5) * d + 8) * d * a - 4 * a
    return torch.where(d <= 1, near, torch.where(d < 2, far, 0.0))


def _blur(images: Tensor, sigma: Tensor, most: float) -> Tensor:
    """Blur y and x of each patch with a Gaussian.

    It ends at four times `most`, the largest standard deviation; at the edges it is cut
    off and normalised again. `sigma` holds standard deviations in pixels,
    (patches, 1, [1,] 1, 1).
    """
    sigma = sigma.clamp_min(_SHARP)
    weights = [torch.exp(d**2 / (-2 * sigma**2)) for d in range(ceil(4 * most) + 1)]
    for axis in (-2, -1):
        shape = [*sigma.shape]
        n = shape[axis] = images.shape[axis]
        # adding shifted images takes a tenth of the time of a matrix or a convolution
        ones = sigma.new_ones(shape)
        total, share = images.clone(), ones.clone()
        for d, weight in enumerate(weights[1:n], start=1):
            for to, of in ((0, d), (d, 0)):
                for summed, added in ((total, images), (share, ones)):
                    part = added.narrow(axis, of, n - d)
                    summed.narrow(axis, to, n - d).addcmul_(part, weight)
        images = total / share
    return images
