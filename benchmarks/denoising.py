"""How much noise is removed from one image by nothing but itself.

``python -m benchmarks.denoising --minutes 1.5`` takes an image of nuclei of the
samples, adds the noise of few photons (20 at its bright end) and of a camera (standard
deviation 0.1 of it), learns to denoise it, and prints the PSNR beside that of the best
Gaussian filter. That filter is chosen by the clean image, which nobody has; it and the
result are first brought to the clean image's brightness and contrast. With ``--beside
careamics`` that program learns the same image for the same minutes, in an environment
of its own.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter

from benchmarks.accuracy.commands import read_json
from benchmarks.accuracy.peers.catalogue import CAREAMICS
from benchmarks.accuracy.peers.environment import CORES, python_of, run_peer
from benchmarks.accuracy.peers.hand_over import REPORT, Given
from napari_unet.core.events import PredictionFinished, TrainingFinished
from napari_unet.core.metrics.restoration import psnr
from napari_unet.core.settings import Prediction
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.training.train import train
from napari_unet.io import samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_PHOTONS, _CAMERA = 20, 0.1
_SIGMAS = np.arange(0.5, 4, 0.25)
_OUTPUT = Path("benchmark-output")


def scene(seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a clean image, 520 × 696 with its bright end at 1, and a noisy one."""
    images, _ = zip(*samples.nuclei(), strict=True)
    clean = np.asarray(images[0].data, np.float32)
    clean = clean / np.float32(np.percentile(clean, 99.9))
    rng = np.random.default_rng(seed)
    noisy = rng.poisson(clean * _PHOTONS) / _PHOTONS
    noisy = noisy + rng.normal(0, _CAMERA, clean.shape)
    return clean, noisy.astype(np.float32)


def fitted_psnr(found: NDArray[np.float32], clean: NDArray[np.float32]) -> float:
    """Return the PSNR after the best change of brightness and contrast, in dB."""
    slope, offset = np.polyfit(found.ravel(), clean.ravel(), 1)
    return psnr([slope * found + offset], [clean])


def denoised(
    noisy: NDArray[np.float32], settings: Training, prediction: Prediction
) -> tuple[NDArray[np.float32], int]:
    """Return an image without its noise, and the steps that were learnt."""
    *_, trained = train([noisy], settings=settings, device=prediction.device)
    if not isinstance(trained, TrainingFinished):
        raise RuntimeError("training ended without a model")
    *_, last = predict(trained.model, noisy, settings=prediction)
    if not isinstance(last, PredictionFinished):
        raise RuntimeError("prediction ended without an image")
    return last.probabilities[0], trained.steps


def by_careamics(
    noisy: NDArray[np.float32], minutes: float
) -> tuple[NDArray[np.float32], int]:
    """Return the same of CAREamics; the minutes begin with its process.

    Raises
    ------
    RuntimeError
        It cannot be installed, or failed.
    """
    python = python_of(CAREAMICS, _OUTPUT / "peers")
    folder = (_OUTPUT / "denoising").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    images = folder / "images"
    images.mkdir(parents=True)
    tifffile.imwrite(images / "noisy.tif", noisy)
    given = Given(
        learnt=str(folder),
        tested=str(images),
        output=str(folder),
        kind="image",
        began=time(),
        minutes=minutes,
        seed=0,
        threads=CORES,
    )
    run_peer(CAREAMICS, python, given)
    image: NDArray[np.float32] = tifffile.imread(folder / "image" / "noisy.tif")
    return image, read_json(folder / REPORT)["steps"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Learn, and print what it gave."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.5)
    parser.add_argument("--steps", type=int, default=0, help="in place of minutes")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--side", type=int, help="of a part of the image, in pixels")
    parser.add_argument(
        "--beside", choices=(CAREAMICS.name,), help="another program, for the minutes"
    )
    options = parser.parse_args(arguments)
    clean, noisy = (image[: options.side, : options.side] for image in scene())
    recipe = Training.quick().with_task("denoise")
    minutes = 0 if options.steps else options.minutes
    recipe = recipe.replace(minutes=minutes, steps=options.steps)
    rows = {
        "noisy": fitted_psnr(noisy, clean),
        "best Gaussian": max(
            fitted_psnr(gaussian_filter(noisy, s), clean) for s in _SIGMAS
        ),
    }
    prediction = Prediction(averaging="dihedral", device=options.device)
    image, steps = denoised(noisy, recipe, prediction)
    rows[f"learnt in {steps} steps"] = fitted_psnr(image, clean)
    if options.beside:
        image, steps = by_careamics(noisy, options.minutes)
        rows[f"{CAREAMICS.title} in {steps} steps"] = fitted_psnr(image, clean)
    for name, value in rows.items():
        print(f"{name:26} {value:6.2f} dB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
