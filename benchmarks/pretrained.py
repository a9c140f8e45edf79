"""Train the models that come with the package: `python -m benchmarks.pretrained NAME`.

Only images whose licence allows it are learnt (CC0 and MIT), and none of those that
`benchmarks.accuracy` tests. The model is written into the package.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.accuracy.commands import call, written
from benchmarks.accuracy.tasks import TASKS
from napari_unet.io.model_file import load_model, save_model
from napari_unet.io.pretrained import pretrained_model

_DATA = Path("../shared/data")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a model is trained on and how.

    Attributes
    ----------
    tasks : tuple of str
        Of `benchmarks.accuracy`; all images of their datasets but those tested.
    options : tuple of str
        Of `napari-unet train`.
    """

    tasks: tuple[str, ...]
    options: tuple[str, ...]


MODELS = {
    # nuclei come in many sizes: more zoom than by default
    "nuclei": Recipe(
        ("bbbc039", "dsb2018"),
        ("--steps", "8000", "--augment-scale", "1.6"),
    ),
    # as in the benchmark: by default, since more zoom was worse (docs/recipe.md)
    "phase_contrast": Recipe(("usiigaci",), ("--minutes", "15")),
}


def main() -> None:
    """Export the images, train, and put the model into the package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=MODELS)
    parser.add_argument("--data", type=Path, default=_DATA, help="all datasets")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        export(MODELS[options.name], options.data, place)
        output = place / f"{options.name}.safetensors"
        command = [
            *("train", str(place / "images"), str(place / "labels")),
            *("--output", str(output), "--labels", "instances"),
            *MODELS[options.name].options,
        ]
        print(written(command), flush=True)
        call(command)
        model = load_model(output)
        target = pretrained_model(options.name)
        target.parent.mkdir(exist_ok=True)
        save_model(model, target)


def export(chosen: Recipe, data: Path, place: Path) -> list[str]:
    """Copy images and labels to learn from; return their names."""
    names = []
    for kind in ("images", "labels"):
        (place / kind).mkdir(parents=True)
    for name in chosen.tasks:
        task = TASKS[name]
        tested = {sample.name for sample in task.tested}
        for image in sorted((data / task.folder / "images").glob("*.tif")):
            if image.stem in tested:
                continue
            names.append(image.name)
            for kind in ("images", "labels"):
                source = data / task.folder / kind / image.name
                shutil.copyfile(source, place / kind / image.name)
    return names


if __name__ == "__main__":
    main()
