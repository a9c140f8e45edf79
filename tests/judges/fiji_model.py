"""Whether the Fiji plugin's library finds in our models what we wrote, and we in its.

``python tests/judges/fiji_model.py ROOT``, with Java and Debian's packages
libsis-jhdf5-java and libsis-jhdf5-jni and what they depend on; ROOT is where they are
installed, / or a folder that they were unpacked into. It ends with an error where
something differs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

from example_models import random_model
from fiji_pairs import NET, make_pair
from napari_unet.core.model import Model
from napari_unet.core.network.architecture import u_shape
from napari_unet.engine.model_formats.catalogue import MODEL_FORMATS, card_of

ROOT = Path(sys.argv[1] if len(sys.argv) > 1 else "/")
JARS = ":".join(map(str, sorted((ROOT / "usr/share/java").glob("*.jar"))))
NATIVE = [ROOT / "usr/lib/jni", ROOT / "usr/lib/x86_64-linux-gnu"]
SOURCE = Path(__file__).with_name("FijiModel.java")


def java(*arguments: str | Path) -> list[str]:
    paths = ":".join(map(str, NATIVE))
    command = [
        "java",
        f"-Djava.library.path={paths}",
        "-Dfile.encoding=UTF-8",
        "-cp",
        f"{JARS}:{CLASSES}",
    ]
    done = subprocess.run(
        [*command, "FijiModel", *map(str, arguments)],
        env={**os.environ, "LD_LIBRARY_PATH": paths, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.splitlines()


def check(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise SystemExit(f"{what}: found {found!r}, expected {expected!r}")


def written(folder: Path) -> None:
    """It reads of our files what h5py does."""
    table = u_shape(ndim=3, channels=2, classes=3, width=3, depth=2, flat=(1, 0, 0))
    model = random_model(table)
    card = model.card.replace(spacing_um=(2.0, 0.5, 0.5), notes=("A µ note.",))
    MODEL_FORMATS["fiji"].write(Model(card, model.weights), folder / "ours.modeldef.h5")
    told = dict(
        line.split(" ", 1) for line in java("definition", folder / "ours.modeldef.h5")
    )
    with h5py.File(folder / "ours.modeldef.h5") as file:
        names = (".unet-ident", "model_prototxt", "solver_prototxt")
        at = "unet_param/"
        more = (
            "name",
            "description",
            "input_blob_name",
            "padding",
            "input_dataset_name",
        )
        for name in (*names, *(at + n for n in more)):
            text = file[name][()].decode().replace("\n", "|")
            check(name, told[f"/{name}"], text)
        for name in ("downsampleFactor", "padInput", "padOutput", "element_size_um"):
            check(name, told[name], str(file[at + name][()].tolist()))
        for name in ("normalization_type", "diskRadiusPx"):
            check(name, int(told[name]), int(file[at + name][()]))
        constants = file[at + "pixelwise_loss_weights"]
        for name in constants:
            check(name, np.float32(told[name]), constants[name][()])
    check("classNames", told["classNames"], "[Background, class 1, class 2]")
    print(f"{len(told)} values of our definition are as JHDF5 reads them")
    lines = java("weights", folder / "ours.caffemodel.h5")
    with h5py.File(folder / "ours.caffemodel.h5") as file:
        blobs = [f"/data/{n}/{k}" for n in file["data"] for k in file["data"][n]]
        check("blobs", sorted(line.split(" ")[0] for line in lines), sorted(blobs))
        for line in lines:
            path, rest = line.split(" ", 1)
            shape, total = rest.rsplit(" ", 1)
            values = file[path][()]
            check(path, shape, str(list(values.shape)))
            by = np.arange(values.size) % 97 + 1
            exact = float((by * values.ravel().astype(float)).sum())
            check(path, abs(float(total) - exact) < 1e-9 * by.sum(), True)
    print(f"{len(lines)} blobs of our weights are as JHDF5 reads them")


def read(folder: Path) -> None:
    """We read of its file what it was told to write."""
    make_pair(folder)
    (folder / "net.txt").write_text(NET)
    java("write", folder / "small.modeldef.h5", folder / "net.txt")
    card = card_of(folder / "small.modeldef.h5")
    check("spacing", card.spacing_um, (0.5, 0.25))
    check("classes", [c.name for c in card.classes], ["Zelle é", "b"])
    check("title", "where it is µ net." in card.notes[0], True)
    border = card.training.border
    found = border.w0, border.sigma, border.balance, border.near_sigma
    check("weights", found, (40, 5, 0.25, 9))
    check("network", len(card.architecture.levels), 2)
    print("we read a definition of JHDF5 as it was written")


with tempfile.TemporaryDirectory() as made:
    CLASSES = made
    subprocess.run(["javac", "-cp", JARS, "-d", made, str(SOURCE)], check=True)
    written(Path(made))
    read(Path(made))
