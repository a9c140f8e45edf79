"""`napari-unet predict`: from images and a model to probabilities and cells."""

from __future__ import annotations

import json
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_unet.cli.options import (
    add_settings,
    axes_option,
    given_settings,
    json_option,
    write_json,
)
from napari_unet.cli.progress import ProgressLine, clock, interruptible
from napari_unet.core.image import Image
from napari_unet.core.instances import segment_image
from napari_unet.core.settings import Prediction, Segmentation
from napari_unet.io.atomic import atomic
from napari_unet.io.export import write_labels, write_probabilities
from napari_unet.io.images import check_finite, find, read_image
from napari_unet.io.model_file import load_model
from napari_unet.io.ome_zarr import create_zarr

if TYPE_CHECKING:
    import argparse

    from napari_unet.core.events import PredictionFinished
    from napari_unet.core.model import Model

KINDS = ("probabilities", "classes", "instances")
RECORD = "prediction.json"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("images", nargs="+", help="image files, folders or patterns")
    parser.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        type=Path,
        help="folder to write to, with a subfolder for each kind",
    )
    parser.add_argument(
        "--save",
        default=",".join(KINDS),
        metavar="KINDS",
        help="what to write, with commas between (default: all)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="predict again what is there already"
    )
    add_settings(parser, Prediction, ("averaging", "device", "precision"))
    parser.add_argument(
        "--tile",
        default="auto",
        metavar="N",
        help="output of one tile in pixels, or auto (by free memory)",
    )
    axes_option(parser)
    json_option(parser)
    add_settings(parser.add_argument_group("cells"), Segmentation)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    kinds = saved_kinds(options.save)
    settings = Prediction(
        **{**given_settings(options, Prediction), "tile": _tile(options.tile)}
    )
    model = load_model(options.model)
    segmentation = model.card.segmentation.replace(
        **given_settings(options, Segmentation)
    )
    files = find(options.images)
    _check_names(files)
    _claim(options.output, options.model, settings, segmentation, options.overwrite)
    from napari_unet.engine.network import prepare

    network = prepare(model, settings.device, settings.precision)
    job = PredictionJob(model, network, settings, segmentation, options.output, kinds)
    line = ProgressLine()
    reports = []
    for number, file in enumerate(files, start=1):
        todo = job.missing(file) if not options.overwrite else kinds
        if not todo:
            line.say(f"{file.name}: is there already")
            reports.append({"image": str(file), "skipped": True})
            continue
        report = job.one(file, options.axes, todo, line, f"{number}/{len(files)}")
        line.say(f"{file.name}: done in {clock(report['seconds'])}")
        reports.append(report)
    write_json({"output": str(options.output), "images": reports}, options.json)
    return 0


class PredictionJob:
    """Predicts files one by one with one network and one set of settings."""

    def __init__(
        self,
        model: Model,
        network: Any,
        settings: Prediction,
        segmentation: Segmentation,
        output: Path,
        kinds: tuple[str, ...],
    ) -> None:
        self._model = model
        self._network = network
        self._settings = settings
        self._segmentation = segmentation
        self._output = output
        self._kinds = kinds
        self._cells = tuple(
            k for k, c in enumerate(model.card.classes, start=1) if c.kind == "cells"
        )

    def missing(self, file: Path) -> tuple[str, ...]:
        """Return the kinds of output that are not there yet; a file is complete."""
        return tuple(k for k in self._kinds if not self.target(file, k).exists())

    def target(self, file: Path, kind: str) -> Path:
        """Return where an output of an image is written."""
        suffix = ".zarr" if file.is_dir() else ".tif"
        return self._output / kind / (output_name(file) + suffix)

    def _place(self, file: Path, kind: str) -> Path:
        """Return where to write an output, in a folder that is there."""
        target = self.target(file, kind)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def one(
        self,
        file: Path,
        axes: str | None,
        kinds: tuple[str, ...],
        line: ProgressLine,
        count: str,
    ) -> dict[str, Any]:
        """Predict one file and write what is asked for."""
        image = read_image(file, axes)
        check_finite(image)
        with ExitStack() as stack:
            finished = self._predict(file, image, kinds, line, count, stack)
            found = Image(finished.probabilities, finished.axes, image.spacing_um)
            report = {
                "image": str(file),
                "device": finished.device,
                "precision": finished.precision,
                "tile": list(finished.output),
                "seconds": round(finished.seconds, 3),
            }
            report |= self._write(file, found, kinds)
        return report

    def _predict(
        self,
        file: Path,
        image: Image,
        kinds: tuple[str, ...],
        line: ProgressLine,
        count: str,
        stack: ExitStack,
    ) -> PredictionFinished:
        """Run the network; an OME-Zarr image is predicted on disk, block by block."""
        from napari_unet.core.events import PredictionFinished, TileDone
        from napari_unet.engine.inference import output_shape, predict

        out, axes = None, None
        if file.is_dir() and "probabilities" in kinds:
            axes, shape = output_shape(
                self._network.module.architecture,
                image,
                "".join(a for a in "tczyx" if a in image.axes or a == "c"),
            )
            target = self._place(file, "probabilities")
            out = stack.enter_context(
                create_zarr(target, shape, axes, np.float32, image.spacing_um)
            )
        job = predict(self._network, image, out=out, axes=axes, settings=self._settings)
        began = perf_counter()
        with interruptible(job) as running:
            for event in running:
                if isinstance(event, TileDone):
                    left = (perf_counter() - began) * (1 / event.progress - 1)
                    line.show(f"{count} {file.name}", event.progress, left)
        if not isinstance(event, PredictionFinished):
            raise RuntimeError("prediction ended without a result")
        return event

    def _write(
        self, file: Path, found: Image, kinds: tuple[str, ...]
    ) -> dict[str, Any]:
        """Write the outputs; probabilities in OME-Zarr are on disk already."""
        report: dict[str, Any] = {}
        spacing = found.spacing_um
        if "probabilities" in kinds and not file.is_dir():
            target = self._place(file, "probabilities")
            write_probabilities(target, np.asarray(found.data), found.axes, spacing)
        axes = "".join(a for a in "tzyx" if a in found.axes)
        if "classes" in kinds:
            where = found.axes.index("c")
            classes = np.asarray(found.data[...]).argmax(axis=where).astype(np.uint8)
            write_labels(self._place(file, "classes"), classes, axes, spacing)
        if "instances" in kinds:
            cells = segment_image(
                found,
                self._model.card.architecture.ndim,
                self._segmentation,
                cell_classes=self._cells,
            )
            write_labels(self._place(file, "instances"), cells, axes, spacing)
            report["cells"] = _count(cells, axes)
        return report


def saved_kinds(text: str) -> tuple[str, ...]:
    """Return the kinds of output named in `--save`."""
    named = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [part for part in named if part not in KINDS]
    if unknown or not named:
        raise ValueError(
            f"--save takes {', '.join(KINDS)} with commas between, found {text!r}."
        )
    return tuple(kind for kind in KINDS if kind in named)


def output_name(file: Path) -> str:
    """Return the name of an image without its suffix."""
    return file.stem.removesuffix(".ome")


def _tile(text: str) -> int:
    if text == "auto":
        return 0
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f"--tile is a number of pixels or auto, found {text!r}.")
    return int(text)


def _check_names(files: list[Path]) -> None:
    names = [output_name(file) for file in files]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ValueError(
            f"several images are named {twice[0]!r} and would overwrite each other; "
            "predict them into different folders."
        )


def _claim(
    output: Path,
    model: Path,
    settings: Prediction,
    segmentation: Segmentation,
    overwrite: bool,
) -> None:
    """Note in the folder what makes its predictions, and refuse to mix two makers."""
    maker = {
        "model": model.name,
        "sha256": sha256(model.read_bytes()).hexdigest(),
        "prediction": settings.model_dump(exclude={"device", "tile"}),
        "segmentation": segmentation.model_dump(),
    }
    record = output / RECORD
    if record.exists() and not overwrite:
        before = json.loads(record.read_text(encoding="utf-8"))
        if before != maker:
            raise ValueError(
                f"{output} holds predictions of {before.get('model')} with other "
                "weights or settings; use another folder or --overwrite."
            )
    output.mkdir(parents=True, exist_ok=True)
    with atomic(record) as temporary:
        temporary.write_text(json.dumps(maker, indent=2), encoding="utf-8")


def _count(cells: np.ndarray[Any, Any], axes: str) -> int:
    """Count the cells; each frame has ids of its own."""
    frames = cells if axes.startswith("t") else cells[np.newaxis]
    return int(sum(frame.max(initial=0) for frame in frames))
