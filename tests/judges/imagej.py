"""Whether ImageJ sees in our ROIs the pixels that we wrote, and we in its ROIs its own.

``python tests/judges/imagej.py /usr/share/java/ij.jar``, on a machine with ImageJ, Java
and a screen in memory (``apt-get install libij-java default-jre xvfb``). It ends with
an error if a pixel is wrong, or a ROI on a wrong slice.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from napari_unet.core.cells.objects import ObjectClass, Objects
from napari_unet.core.images.image import Image
from napari_unet.io.export import write_labels, write_probabilities
from napari_unet.io.images import read_labels
from napari_unet.io.objects.catalogue import FORMATS

SIZES = {"t": 2, "z": 3, "y": 30, "x": 40}


def labels(axes: str) -> np.ndarray:
    """Blocks of ids in several pieces, with holes, diagonal touches and lone pixels."""
    rng = np.random.default_rng(len(axes))
    ids = rng.integers(0, 12, [SIZES[a] // (2 if a in "yx" else 1) for a in axes])
    ids = ids.repeat(2, axis=-1).repeat(2, axis=-2)
    ids[rng.random(ids.shape) < 0.1] = 0
    ids[..., 2:9, 3:11] = 400  # an outline without holes
    return np.where(ids == 7, 300, ids)


def wide() -> np.ndarray:
    """Objects where 16 bits do not reach, with holes and without."""
    ids = np.zeros((6, 70_000), np.int64)
    for label, left in enumerate((32_700, 32_800, 60_500, 60_600, 65_530, 69_990)):
        ids[:, left : left + 10] = label + 1
        ids[2, left + 3] *= label % 2
    return ids


def imagej(jar: str, *arguments: str | Path) -> str:
    source = Path(__file__).with_name("ImageJ.java")
    command = ["xvfb-run", "--auto-servernum", "java", "-cp", jar, source, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip().rpartition("\n")[2]


def written(
    jar: str, folder: Path, ids: np.ndarray, axes: str, channels: int = 1
) -> bool:
    """Whether ImageJ finds no pixel of our ROIs wrong."""
    image, rois = folder / "image.tif", folder / "_RoiSet.zip"
    if channels > 1:
        write_probabilities(image, np.stack([ids] * channels), "c" + axes)
    else:
        write_labels(image, ids, axes)
    classes = (ObjectClass("é\\b", "#ff0010"), ObjectClass("c#1/2"))
    objects = Objects(Image(ids, axes), classes, {3: 1, 5: 2}, channels=channels)
    FORMATS["rois"].write(rois, objects)
    said = imagej(jar, "compare", image, rois)
    print(axes, said, sep=": ")
    return " 0 of " in said and said.endswith(" 0 on a wrong slice")


def read(jar: str, folder: Path) -> bool:
    """Whether its own ROIs have the same pixels for us."""
    image, rois = folder / "made.tif", folder / "made.zip"
    imagej(jar, "make", image, rois)
    truth = read_labels(image)
    found = FORMATS["rois"].read(rois, truth).labels.read()
    names = ("rectangle", "oval", "circle", "ellipse", "turned rectangle", "polygon")
    for label, name in enumerate((*names, "composite with curves"), start=1):
        wrong = np.count_nonzero((found == label) != (truth.read() == label))
        print(f"{name}: {wrong} of {np.sum(truth.read() == label)} pixels differ")
    return bool((found == truth.read()).all())


def main(jar: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        results = [
            written(jar, Path(folder), labels(axes), axes, channels)
            for axes in ("yx", "zyx", "tyx", "tzyx")
            for channels in (1, 2)
        ]
        results.append(written(jar, Path(folder), wide(), "yx"))
        results.append(read(jar, Path(folder)))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
