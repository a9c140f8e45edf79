"""Models of milesial/Pytorch-UNet: the ``.pth`` files of its versions 1 to 4.

The network pads with zeros and sees an image at once. With transposed convolutions
(`bilinear=False`, the usual one from version 3 on) it runs here without padding: then
each score that sees no border is that of the original program, to rounding, and tiles
of any size fit together. With interpolation it depends on the size of what it sees, so
that it runs as it is in windows of one size, which are blended.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.images.grey_steps import Fixed, GreySteps
from napari_unet.core.model import Model, ModelCard
from napari_unet.core.network.architecture import Architecture, Level
from napari_unet.core.text import shown
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.model_formats import torch_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_unet.core.annotation.annotations import ClassKind

_SIGNS = ("inc.double_conv.0.weight", "outc.conv.weight")
# Far more than any has.
_DEEPEST = 16
# Side of the window of a network that depends on it, in pixels: most of it sees no
# border.
_WINDOW = 512


def recognises(path: Path) -> bool:
    """Whether a file has the names of its first and last layer."""
    return path.is_file() and torch_file.holds(path, _SIGNS)


def read(path: Path) -> Model:
    """Read a model; as `ModelFormat.read`."""
    state, greys = _parted(torch_file.load(path))
    with torch_file.about(path):
        single = torch_file.shape_of(state, "outc.conv.weight")[:1] == (1,)
        if single:
            _double(state)
        table = _architecture(state)
        weights = torch_file.weights_of(table, _names(table), state)
    classes, of_greys = _classes(table, greys)
    widths = [level.down[-1] for level in table.levels]
    card = ModelCard(
        name=path.stem,
        architecture=table,
        classes=classes,
        normalisation=GreySteps(steps=(Fixed(sd=255.0, above=1.0),)),
        notes=(*_notes(table, single=single), *of_greys),
        training=Training.quick().replace(
            width=min(widths[0], 256),
            depth=min(len(widths) - 1, 7),
            padded=table.padded,
        ),
    )
    return Model(card, weights)


def _parted(found: Mapping[str, Any]) -> tuple[dict[str, Any], object]:
    """Return the tensors of the network, and the values in masks.

    Scripts that train it on put the tensors into a dictionary of a checkpoint, or
    something in front of all names, such as "module." for several GPUs.
    """
    for inside in (found, *(v for v in found.values() if isinstance(v, dict))):
        names = [str(name) for name in inside if str(name).endswith(_SIGNS[0])]
        if len(names) == 1:
            front = names[0].removesuffix(_SIGNS[0])
            state = {str(n).removeprefix(front): v for n, v in inside.items()}
            return state, state.pop("mask_values", found.get("mask_values"))
    return dict(found), None


def _architecture(state: Mapping[str, Any]) -> Architecture:
    """Return the network by the shapes of its weights."""

    def shape(name: str) -> tuple[int, ...]:
        found = torch_file.shape_of(state, f"{name}.weight")
        if len(found) != 4:
            raise ValueError(f"its {name} is no convolution of planes, but of {found}.")
        return found

    def widths(block: str) -> tuple[int, ...]:
        return tuple(shape(f"{block}.{number}")[0] for number in (0, 3))

    there = (f"{_down(d + 1)}.0.weight" in state for d in range(_DEEPEST))
    bottom = sum(takewhile(bool, there))
    transposed = "up1.up.weight" in state
    levels = []
    for d in range(bottom + 1):
        inner = d < bottom
        levels.append(
            Level(
                down=widths(_down(d)),
                up=widths(_up(bottom - d)) if inner else (),
                up_conv=shape(f"up{bottom - d}.up")[1] if inner and transposed else 0,
                kernel=(3, 3),
                pool=(2, 2) if inner else (1, 1),
            )
        )
    return Architecture(
        channels=shape("inc.double_conv.0")[1],
        classes=shape("outc.conv")[0],
        levels=tuple(levels),
        enlarge="transposed" if transposed else "linear_corners",
        norm="batch",
        # versions 1 and 2 have them
        conv_bias="inc.double_conv.0.bias" in state,
        concat="skip_first",
        aligned=transposed,
        padded=not transposed,
        window=None if transposed else (_WINDOW, _WINDOW),
    )


def _names(table: Architecture) -> dict[str, str]:
    """Return the program's name of each of our layers with weights."""
    bottom = len(table.levels) - 1
    found = {"score": "outc.conv"}
    for d in range(bottom + 1):
        for number in (0, 1, 3, 4):
            found[f"down.{d}.{number}"] = f"{_down(d)}.{number}"
            found[f"up.{d}.{number}"] = f"{_up(bottom - d)}.{number}"
        found[f"up_conv.{d}.0"] = f"up{bottom - d}.up"
    return found


def _down(depth: int) -> str:
    return f"down{depth}.maxpool_conv.1.double_conv" if depth else "inc.double_conv"


def _up(number: int) -> str:
    return f"up{number}.conv.double_conv"


def _double(state: dict[str, Any]) -> None:
    """Give a single score, of the foreground, a background whose score is 0.

    The softmax of both is the sigmoid of the one.
    """
    from torch import cat, zeros_like

    for name in ("outc.conv.weight", "outc.conv.bias"):
        if torch_file.shape_of(state, name)[:1] == (1,):
            state[name] = cat((zeros_like(state[name]), state[name]))


def _classes(
    table: Architecture, greys: object
) -> tuple[tuple[ClassInfo, ...], tuple[str, ...]]:
    """Return the classes, named by their values in masks, and what these mean.

    `greys` has them in the order of the scores, the background's first: numbers, or
    three for a colour. Files that were made before December 2022 have none.
    """
    known = greys if isinstance(greys, list) and len(greys) == table.classes else None
    names = [
        f"class {number}" if known is None else f"value {shown(known[number])}"
        for number in range(1, table.classes)
    ]
    kind: ClassKind = "cells" if len(names) == 1 else "regions"
    classes = tuple(ClassInfo(name=name, kind=kind) for name in names)
    notes = [f"Its classes are taken for {kind}."]
    if known is not None:
        notes.append(
            "Classes have their values in the masks that it learnt from; the "
            f"background's is {shown(known[0])}."
        )
    return classes, tuple(notes)


def _notes(table: Architecture, *, single: bool) -> tuple[str, ...]:
    """Say how the network runs here, and what the original program does otherwise."""
    said = ["Of milesial/Pytorch-UNet."]
    if table.aligned:
        # that leaves out what is over of an image, if anything is, at each pooling
        far = table.halo[0] + table.step[0] - 1
        said.append(
            f"It runs unpadded: from {far} pixels off an image's edge on, its scores "
            "are those of the original program; nearer it sees the image mirrored here "
            "and zeros there."
        )
    else:
        said.append(
            f"It runs padded in windows of {_WINDOW} pixels, which are blended, as its "
            "interpolation depends on the size of what it sees; the original program "
            "shows it all of an image at once, so that its scores differ."
        )
    if single:
        said.append("Its only score, by the sigmoid, is that of the foreground.")
    said.append(
        "The original program shrinks images first, by its option --scale, 0.5 unless "
        "another is given, which is not in the file: give it images of the size "
        "that it learnt from."
    )
    return tuple(said)
