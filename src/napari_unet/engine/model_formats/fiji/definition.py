"""What a model of the Fiji plugin is, as `NAME.modeldef.h5` says it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING
from zlib import crc32

import h5py
import numpy as np

from napari_unet.core.annotation.annotations import ClassInfo
from napari_unet.core.images.grey_steps import (
    Fixed,
    GreySteps,
    Maximum,
    MinMax,
    ZScore,
)
from napari_unet.core.images.normalisation import in_words
from napari_unet.core.model import ModelCard
from napari_unet.core.settings import BorderWeights
from napari_unet.core.text import shown
from napari_unet.core.training.training_settings import FIJI, Augmentation, Training
from napari_unet.engine.model_formats.fiji.hdf5 import numbers, put_text, text, texts
from napari_unet.engine.model_formats.fiji.reading_net import CaffeNet, read_net

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_unet.core.images.grey_steps import AnyStep
    from napari_unet.core.network.architecture import Architecture

IMAGE = "data3"
"""Name of the map that a network begins with."""

# By the number that stands for it; of all channels of a plane or volume as one.
NORMALISATIONS: Mapping[int, tuple[AnyStep, ...]] = {
    0: (),
    1: (MinMax(together=True),),
    2: (ZScore(together=True),),
    3: (Maximum(together=True),),
}
# Fields of `BorderWeights` -> names in the file.
_CONSTANTS = {
    "w0": ("borderWeightFactor",),
    "sigma": ("borderWeightSigmaPx", "borderWeightSigma_um"),
    "balance": ("foregroundBackgroundRatio",),
    "near_sigma": ("sigma1Px", "sigma1_um"),
}
# What the plugin finetunes by: so many steps unless others are asked for, and tiles of
# this size, in pixels; in volumes there is no usual one.
_STEPS, _TILE = 1000, {2: 164, 3: 28}
_SOLVER = """type: 'Adam'
base_lr: 0.00001
lr_policy: 'fixed'
momentum: 0.9
momentum2: 0.999
max_iter: 600000
snapshot: 10000
snapshot_format: HDF5
"""


@dataclass(frozen=True, slots=True)
class Definition:
    """What the first file says."""

    title: str
    net: CaffeNet
    # ([z,] y, x)
    spacing_um: tuple[float, ...]
    normalisation: GreySteps
    border: BorderWeights
    # with that of the background; none if the file has none
    classes: tuple[str, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, file: h5py.File) -> Definition:
        """Read it."""
        spacing = numbers(file, "unet_param/element_size_um")
        if len(spacing) not in (2, 3) or not all(0 < s < inf for s in spacing):
            raise ValueError(
                "element_size_um has 2 or 3 positive numbers, found "
                f"{shown(list(spacing))}"
            )
        blob = text(file, "unet_param/input_blob_name")
        net = read_net(text(file, "model_prototxt"), len(spacing), blob or IMAGE)
        kind = numbers(file, "unet_param/normalization_type")
        if len(kind) != 1 or kind[0] not in NORMALISATIONS:
            raise ValueError(
                f"normalization_type is one of {', '.join(map(str, NORMALISATIONS))}, "
                f"found {shown(list(kind))}"
            )
        steps = NORMALISATIONS[int(kind[0])]
        if net.offset:
            steps = (*steps, Fixed(mean=-net.offset))
        border, notes = _border(file, spacing[-1])
        if text(file, "unet_param/padding") == "zero":
            notes += (
                "In Fiji there are zeros beyond the edges of an image, here it is "
                "mirrored: near edges the result differs.",
            )
        return cls(
            text(file, "unet_param/name"),
            net,
            spacing,
            GreySteps(steps=steps, each_slice=len(spacing) == 2),
            border,
            texts(file, "unet_param/classNames"),
            (*notes, *net.notes),
        )

    def card(self, name: str, architecture: Architecture) -> ModelCard:
        """Return it as the card of a model."""
        count, notes = architecture.classes - 1, self.notes
        names = self.classes[1:]
        if len(names) != count or not all(names):
            names = tuple(f"class {k}" for k in range(1, count + 1))
            notes += ("The file does not name its classes.",)
        own = shown(self.title) or "one without a name"
        title = f"The model comes from the Fiji plugin, where it is {own}."
        return ModelCard(
            name=name,
            architecture=architecture,
            classes=tuple(ClassInfo(name=shown(name)) for name in names),
            normalisation=self.normalisation,
            spacing_um=self.spacing_um,
            notes=(title, *notes),
            training=_recipe(architecture, self.border),
        )


def _recipe(architecture: Architecture, border: BorderWeights) -> Training:
    """Return how the plugin goes on to train a network: with Adam, and its weights."""
    levels, ndim = architecture.levels, architecture.ndim
    return Training(
        preset=FIJI,
        ndim=ndim,
        width=min(levels[0].down[0], 256),
        depth=min(max(len(levels) - 1, 1), 7),
        norm="none",
        dropout=levels[-1].dropout,
        optimiser="adamw",
        learning_rate=1e-4,
        momentum=0.9,
        weight_decay=0.0,
        schedule="constant",
        averaging=0.0,
        batch=1,
        patch=_TILE[ndim],
        # pixels of objects are drawn ten times as often as others
        foreground=0.7,
        steps=_STEPS,
        minutes=0.0,
        border=border,
        augmentation=Augmentation(
            mirror=False, scale=1.0, contrast=1.2, gamma=1.0, noise=0.0, blur=0.0
        ),
    )


def _border(file: h5py.File, pixel_um: float) -> tuple[BorderWeights, tuple[str, ...]]:
    """Return the constants of the loss's weights, and say which were assumed.

    Lengths are in pixels, or in micrometres in the plugin's first files.
    """
    found: dict[str, float] = {}
    for field, names in _CONSTANTS.items():
        for name in names:
            if values := numbers(file, f"unet_param/pixelwise_loss_weights/{name}"):
                in_um = name.endswith("_um")
                found[field] = values[0] / (pixel_um if in_um else 1)
                break
    missing = ", ".join(field for field in _CONSTANTS if field not in found)
    note = (
        f"Of the weights of its training, the file does not say {missing}: those that "
        "the plugin has are taken."
    )
    return BorderWeights.fiji().replace(**found), (note,) if missing else ()


def normalisation_of(card: ModelCard) -> tuple[int, float, tuple[str, ...]]:
    """Return the plugin's normalisation, what is added then, and what differs.

    Raises
    ------
    ValueError
        The plugin has none like that of the model.
    """
    rule = card.normalisation
    if not isinstance(rule, GreySteps):
        note = (
            "In Fiji grey values are brought to mean 0, sd 1 of all pixels and "
            f"channels; the model has learnt another rule ({in_words(rule)}), so the "
            "result differs: compare some images."
        )
        return 2, 0.0, (note,)
    steps, offset = rule.steps, 0.0
    last = steps[-1] if steps else None
    if isinstance(last, Fixed) and last == Fixed(mean=last.mean):
        steps, offset = steps[:-1], -last.mean
    if card.architecture.channels == 1:
        # together or alone, it is the same
        steps = tuple(
            step.replace(together=True)
            if "together" in type(step).model_fields
            else step
            for step in steps
        )
    for kind, known in NORMALISATIONS.items():
        if steps == known:
            return kind, offset, ()
    raise ValueError(
        f"it sees grey values by {rule.words}, which the plugin does not have"
    )


def define(
    file: h5py.File,
    card: ModelCard,
    network: Architecture,
    net: str,
    kind: int,
    name: str,
) -> tuple[str, ...]:
    """Write what a model is, and return what had to be assumed.

    `net` is its network, which is that of the card, in Caffe's text, and `kind` its
    normalisation.
    """
    border, spacing = card.training.border, card.spacing_um
    notes: tuple[str, ...] = ()
    if spacing is None:
        spacing = (1.0,) * network.ndim
        notes = (
            "The pixel size of the model is not known: the file says 1 µm, and Fiji "
            "resamples images that say another.",
        )
    given, got = _pads(network)
    said = {
        ".unet-ident": f"napari-unet-{name}-{crc32(net.encode()):08x}",
        "unet_param/name": card.name,
        "unet_param/description": " ".join(card.notes),
        "unet_param/input_blob_name": IMAGE,
        "unet_param/input_dataset_name": "data",
        "unet_param/padding": "mirror",
        "model_prototxt": net,
        "solver_prototxt": _SOLVER,
    }
    for where, value in said.items():
        put_text(file, where, value)
    values = {
        "normalization_type": np.int32(kind),
        "downsampleFactor": np.array(network.step, np.int32),
        "padInput": np.array(given, np.int32),
        "padOutput": np.array(got, np.int32),
        "element_size_um": np.array(spacing, np.float64),
        "diskRadiusPx": np.int32(2),
        "pixelwise_loss_weights/borderWeightFactor": np.float32(border.w0),
        "pixelwise_loss_weights/borderWeightSigmaPx": np.float32(border.sigma),
        "pixelwise_loss_weights/foregroundBackgroundRatio": np.float32(border.balance),
        "pixelwise_loss_weights/sigma1Px": np.float32(border.near_sigma),
    }
    for where, number in values.items():
        file[f"unet_param/{where}"] = number
    names = [n.encode() for n in ("Background", *(c.name for c in card.classes))]
    kept = h5py.string_dtype("utf-8", max(map(len, names)))
    file["unet_param/classNames"] = np.array(names, dtype=kept)
    return notes


def _pads(network: Architecture) -> tuple[list[int], list[int]]:
    """Return what inputs and outputs are beyond multiples of the step, along each axis.

    Those of the bottom level are any number of pixels; each level above has as many
    times the pooling, and what its convolutions take.
    """
    given, got = [], []
    for axis in range(network.ndim):
        above = below = 0
        for level in reversed(network.levels):
            lost = level.kernel[axis] - 1
            above = above * level.pool[axis] + lost * len(level.down) * bool(level.up)
            below = below * level.pool[axis] - lost * len(level.up or level.down)
        given.append(above)
        got.append(below)
    return given, got
