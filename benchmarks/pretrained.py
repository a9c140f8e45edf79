"""Train the models that come with the package: `python -m benchmarks.pretrained NAME`.

Only images whose licence allows it are learnt (CC0 and MIT), and none of those that
`benchmarks.accuracy` tests. The model is written into the package, or to `--output`.
With `--without COLLECTION` it learns nothing of a collection, which can then judge it.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from skimage.io import imsave
from skimage.transform import resize
from skimage.util import img_as_ubyte

from benchmarks.accuracy.commands import call, written
from benchmarks.accuracy.tasks import TASKS
from napari_unet.io import samples
from napari_unet.io.model_file import load_model, save_model
from napari_unet.io.pretrained import pretrained_model

if TYPE_CHECKING:
    from collections.abc import Sequence

_DATA = Path("../shared/data")

# Folders of a collection's images: what is left of the sets that are tested, and what
# was put aside for these models.
COLLECTIONS = {
    "bbbc039": ("bbbc039", "starter_pool/bbbc039"),
    "bbbc038": ("dsb2018_fluo", "starter_pool/bbbc038_fluorescence"),
    "bbbc038_histology": ("starter_pool/bbbc038_histology",),
    "bbbc038_smear": ("starter_pool/bbbc038_smear",),
    "usiigaci": ("usiigaci_phase", "starter_pool/usiigaci_phase"),
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a model is trained on and how.

    Attributes
    ----------
    collections : tuple of str
        Whose images are learnt, but those that are tested.
    trainings : tuple of tuple of str
        Options of `napari-unet train`; each training goes on from the one before.
    pictured : int
        Side of the part of the sample that the model's picture shows, in pixels.
    """

    collections: tuple[str, ...]
    trainings: tuple[tuple[str, ...], ...]
    pictured: int


def _of(steps: int, scale: float, *others: str) -> tuple[str, ...]:
    """Return the options of a training for cells enlarged and shrunk by up to `scale`.

    Images of other laboratories come in other magnifications.
    """
    return ("--steps", str(steps), "--augment-scale", f"{scale:g}", *others)


# Steps of a training that goes on.
_SMALLER = ("--learning-rate", "2e-3")

MODELS = {
    "nuclei": Recipe(
        ("bbbc039", "bbbc038"),
        (_of(7000, 2), _of(8500, 1.5, *_SMALLER)),
        120,
    ),
    "histology": Recipe(
        ("bbbc038_histology",),
        (_of(4000, 2), *2 * [_of(9000, 1.5, *_SMALLER)]),
        100,
    ),
    # more zoom was worse for these (docs/recipe.md)
    "smear": Recipe(
        ("bbbc038_smear",), (_of(4500, 1.25), _of(7000, 1.25, *_SMALLER)), 300
    ),
    # the size that Automatic chooses for six of these images
    "phase_contrast": Recipe(
        ("usiigaci",),
        (_of(9000, 1.25, "--scale", "0.65"), _of(9000, 1.25, *_SMALLER)),
        320,
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Export the images, train, and put the model into its place."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=MODELS)
    parser.add_argument("--data", type=Path, default=_DATA, help="all datasets")
    parser.add_argument("--without", choices=COLLECTIONS, help="not to be learnt")
    parser.add_argument("--output", type=Path, help="in place of the package")
    parser.add_argument(
        "--options",
        nargs=argparse.REMAINDER,
        help="what follows are those of one training, in place of the recipe's",
    )
    options = parser.parse_args(arguments)
    if options.without and not options.output:
        parser.error("a model that lacks a collection needs --output.")
    recipe = MODELS[options.name]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        export(recipe, options.data, place, options.without)
        start: tuple[str, ...] = ()
        steps = 0
        trainings = (options.options,) if options.options else recipe.trainings
        for number, training in enumerate(trainings):
            output = place / str(number) / f"{options.name}.safetensors"
            output.parent.mkdir()
            command = [
                *("train", str(place / "images"), str(place / "labels")),
                *("--output", str(output), "--labels", "instances"),
                *training,
                *start,
            ]
            print(written(command), flush=True)
            call(command)
            start = ("--init", str(output))
            model = load_model(output)
            steps += model.card.steps
            # of several trainings, as if they were one
            model = replace(model, card=model.card.replace(parent=None, steps=steps))
            save_model(model, output)
        target = options.output or pretrained_model(options.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        save_model(model, target)
    if not options.output:
        draw(options.name, target.with_suffix(".png"))


def draw(name: str, file: Path) -> None:
    """Draw what a model is for, in 64 × 64 pixels, from the sample of its kind."""
    recipe = MODELS[name]
    pixels = np.asarray(getattr(samples, name)()[0][0].data).astype(np.float32)
    middle = [(n - recipe.pictured) // 2 for n in pixels.shape[:2]]
    part = pixels[tuple(slice(m, m + recipe.pictured) for m in middle)]
    low, high = np.percentile(part, (0.5, 99.5))
    small = resize(part, (64, 64, *part.shape[2:]), anti_aliasing=True)
    imsave(file, img_as_ubyte(np.clip((small - low) / (high - low), 0, 1)))


def export(
    chosen: Recipe, data: Path, place: Path, without: str | None = None
) -> list[str]:
    """Copy images and labels to learn from; return their names.

    Raises
    ------
    FileNotFoundError
        A folder of the collections is not there.
    ValueError
        The model learns from the one collection alone that it is to be without.
    """
    tested = {
        (task.folder, sample.image) for task in TASKS.values() for sample in task.tested
    }
    names = []
    for kind in ("images", "labels"):
        (place / kind).mkdir(parents=True)
    for collection in chosen.collections:
        for folder in () if collection == without else COLLECTIONS[collection]:
            images = sorted((data / folder / "images").glob("*.tif"))
            if not images:
                raise FileNotFoundError(f"there is no image in {data / folder}.")
            for image in images:
                if (folder, f"images/{image.name}") in tested:
                    continue
                names.append(image.name)
                for kind in ("images", "labels"):
                    source = data / folder / kind / image.name
                    shutil.copyfile(source, place / kind / image.name)
    if not names:
        raise ValueError(f"without {without} nothing is left to learn.")
    return names


if __name__ == "__main__":
    main()
