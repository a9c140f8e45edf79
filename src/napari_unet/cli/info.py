"""`napari-unet info`: about this installation, or about a model."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from napari_unet import DISTRIBUTION, __version__
from napari_unet.cli.options import MODEL_HELP, json_option, write_json
from napari_unet.core.images.normalisation import in_words
from napari_unet.core.network.architecture import Architecture
from napari_unet.core.network.blended import Blended, geometry_of, note_of_window
from napari_unet.core.text import counted, printable, times
from napari_unet.io.installation import namesake_problem
from napari_unet.io.pretrained import model_path
from napari_unet.io.readers.catalogue import READERS, has_bioio

if TYPE_CHECKING:
    import argparse

    from napari_unet.core.model import ModelCard
    from napari_unet.core.network.geometry import Layered

_PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "numba", "zarr", "tifffile")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", nargs="?", type=model_path, help=MODEL_HELP)
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    if options.model is None:
        report = installation()
    else:
        from napari_unet.engine.model_formats.catalogue import card_of

        card = card_of(options.model)
        report = card.model_dump(mode="json") if options.json else summary(card)
    if options.json != "-":
        width = max(len(name) for name in report)
        for name, value in report.items():
            print(f"{name:{width}}  {printable(value)}")
    write_json(report, options.json)
    return 0


def installation() -> dict[str, Any]:
    """Return versions, devices and precision of this installation."""
    from napari_unet.engine.device import (
        choose_device,
        choose_precision,
        describe,
        free_memory,
        why_not_gpu,
    )

    device = choose_device()
    namesake = namesake_problem()
    return {
        "napari-unet": __version__,
        "package": DISTRIBUTION,
        **({"problem": namesake} if namesake else {}),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        **{name: version(name) for name in _PACKAGES},
        "readers": _readers(),
        "device": describe(device),
        "cuda": why_not_gpu(),
        "precision": choose_precision(device),
        "free memory": f"{free_memory(device) / 2**30:.1f} GiB",
    }


def _readers() -> str:
    """Return which microscope formats can be read, and why others cannot."""
    problems = {reader.name: reader.problem() for reader in READERS}
    there = ", ".join(name for name, problem in problems.items() if not problem)
    missing = "".join(f"; {problem}" for problem in problems.values() if problem)
    return f"{there or 'none'}{', bioio' if has_bioio() else ''}{missing}"


def summary(card: ModelCard) -> dict[str, Any]:
    """Return a summary of a model card, line by line."""
    table, training = card.architecture, card.training
    budget = f"{training.minutes} minutes"
    if training.steps:
        budget = counted(training.steps, "step")
    score = card.score
    return {
        "name": card.name,
        "network": f"{table.ndim}-D {card.network_title}{_levels(table)}",
        "members": f"the mean of {card.members} such networks"
        if card.members > 1
        else "one network",
        "windows": _windows(table),
        "channels": table.channels,
        **_learnt(card),
        "pixel size": card.spacing_um or "unknown",
        "image size": "as it is"
        if training.scale == 1
        else f"{training.scale:g} of its own, results are as large as the image",
        "assumed": " ".join(card.notes) or "nothing",
        "normalisation": in_words(card.normalisation),
        "trained": f"{counted(card.steps, 'step')}, preset {training.preset}, "
        f"budget {budget}, seed {training.seed}, on {card.device} in {card.precision}"
        if card.steps
        else "by another program",
        "chosen": " ".join(map(str, training.decisions))
        or ("by the preset" if card.steps else "unknown"),
        "started from": card.parent or ("scratch" if card.steps else "unknown"),
        "validation": f"{score.words} on {score.pixels} pixels" if score else "none",
        "images": ", ".join(record.name for record in card.images),
        "versions": ", ".join(card.versions),
    }


def _learnt(card: ModelCard) -> dict[str, str]:
    """Return what a network predicts, in words."""
    if card.outputs is None:
        names = ("background", *(f"{c.name} ({c.kind})" for c in card.classes))
        return {"classes": ", ".join(names)}
    made = counted(card.architecture.classes, "channel")
    return {"makes": f"an image of {made}, learnt to {card.training.objective.title}"}


def _windows(table: Layered) -> str:
    """Return the input windows of a network, in words."""
    sizes = geometry_of(table)
    if isinstance(sizes, Blended):
        way = "blended" if max(table.overlap) > 1 else "side by side"
        words = f"{times(sizes.window)} pixels, one each {times(sizes.step)}, {way}"
        return ". ".join(filter(None, (words, note_of_window(table))))
    return (
        f"{times(sizes.min_input)} pixels and larger by {times(sizes.step)}, of which "
        f"{times(sizes.halo)} on each side are context"
    )


def _levels(table: Layered) -> str:
    """Describe the levels of a network that is a table of them."""
    if not isinstance(table, Architecture):
        return ""
    widths = ", ".join(str(level.down[-1]) for level in table.levels)
    kind = "pooling" if table.reduce == "max" else "stride"
    return f", {counted(len(table.levels) - 1, kind)}, widths {widths}"
