"""A paragraph on a model for the methods section of a paper.

Each figure in it is read from the card of the model or from the folder of its run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.images.normalisation import in_words
from napari_unet.core.images.rescaling import written
from napari_unet.core.model import Score
from napari_unet.core.network.blended import Blended, geometry_of
from napari_unet.core.network.catalogue import NETWORKS
from napari_unet.core.settings import SURE
from napari_unet.core.text import counted, listed, printable, times
from napari_unet.core.training.patches import patch_size

if TYPE_CHECKING:
    from napari_unet.core.model import ModelCard
    from napari_unet.core.training.training_settings import Training

_DOES = {
    "segment": "Images were segmented",
    "regress": "Images were turned into others",
    "denoise": "Images were denoised (Noise2Void, Krull et al. 2019)",
}
_LOSSES = {
    "l1": "the mean absolute difference",
    "mse": "the mean squared difference",
    "charbonnier": "the Charbonnier loss",
}
_MOST_NAMES = 12


def methods(
    card: ModelCard, seconds: float | None = None, objects: int | None = None
) -> str:
    """Return the paragraph; its sentences are independent, so that any can be left out.

    `seconds` is the time that the training took and `objects` the number of annotated
    objects, where they are known.
    """
    trained = [_network(card), *_data(card, objects), _grey(card)]
    trained += [*_recipe(card, seconds), _validation(card)]
    sentences = [
        # the settings say nothing about a training by another program
        *(trained if card.steps else [_foreign(card), _grey(card)]),
        _use(card),
        *(note.rstrip(".") + "." for note in card.notes),
    ]
    return " ".join(filter(None, sentences))


def _network(card: ModelCard) -> str:
    table, entry = card.architecture, NETWORKS[card.training.network]
    several = (
        f"the mean of {card.members} networks, each a" if card.members > 1 else "a"
    )
    depth, width = card.training.depth, card.training.width
    return (
        f"{_DOES[card.training.task]} with {_program(card)} by {several} "
        f"{table.ndim}-D {entry.title} ({entry.paper}) with "
        f"{counted(table.channels, 'input channel')}, "
        f"{counted(depth, 'downsampling step')}, {width} channels at full resolution "
        f"and {_norm(card.training)}."
    )


def _program(card: ModelCard) -> str:
    """Return program and packages with the versions that trained the model."""
    ours = [v for v in card.versions if v.startswith("napari-unet ")]
    packages = ", ".join(v for v in card.versions if v not in ours)
    return (ours or ["napari-unet"])[0] + (f" ({packages})" if packages else "")


def _norm(settings: Training) -> str:
    return (
        "no normalisation layers"
        if settings.norm == "none"
        else f"{settings.norm} normalisation"
    )


def _data(card: ModelCard, objects: int | None) -> list[str]:
    kind = {2: ("plane", "planes"), 3: ("volume", "volumes")}[card.architecture.ndim]
    if not card.images:
        return []
    count = len(card.images)
    names = listed([printable(i.name) for i in card.images], _MOST_NAMES)
    pixels = counted(sum(i.annotated for i in card.images), "pixel")
    sentence = f"It was trained on {counted(count, *kind)} ({names})"
    if card.training.task == "segment":
        cells = "" if objects is None else f" and {counted(objects, 'object')}"
        classes = ", ".join(printable(c.name) for c in card.classes)
        sentence += (
            f", in which {pixels}{cells} were annotated as background, {classes}"
        )
    elif card.training.task == "regress":
        sentence += " and as many targets"
    size = ""
    if card.spacing_um:
        size = f" Their pixel size was {written(card.spacing_um)}."
    if card.training.scale != 1:
        size += f" They were seen at {card.training.scale:g} of their size."
    return [f"{sentence}.{size}"]


def _grey(card: ModelCard) -> str:
    return f"Grey values were normalised ({in_words(card.normalisation)})."


def _foreign(card: ModelCard) -> str:
    table = card.architecture
    return (
        f"{_DOES[card.training.task]} with {_program(card)} by the {table.ndim}-D "
        f"network {printable(card.name)} with "
        f"{counted(table.channels, 'input channel')}, trained by another program."
    )


def _recipe(card: ModelCard, seconds: float | None) -> list[str]:
    settings, table = card.training, card.architecture
    start = f"the model {printable(card.parent)}" if card.parent else "random weights"
    if card.learnt_share < 1:
        start += (
            f", to which {card.learnt_share:.0%} of the change was added at the end"
        )
    if settings.encoder == "imagenet" and not card.parent:
        start = "VGG's weights of ImageNet"
    # of a thinner volume patches are thinner, which the card does not tell
    patch = times(patch_size(table, settings.patch, settings.patch))
    took = "" if seconds is None else f" in {seconds / 60:.1f} minutes"
    optimiser = {"adamw": "AdamW", "sgd": "SGD"}[settings.optimiser]
    schedule = {"cosine": "a cosine schedule", "constant": "a constant rate"}
    mean = ""
    if settings.averaging:
        mean = f"; the weights kept are a running mean (memory {settings.averaging:g})"
    return [
        f"Training began with {start} and took {counted(card.steps, 'step')}{took} on "
        f"{card.device} ({card.precision}, seed {settings.seed}), each with "
        f"{counted(settings.batch, 'patch', 'patches')} of {patch} pixels of output, "
        f"by {optimiser} (learning rate {settings.learning_rate:g} with "
        f"{schedule[settings.schedule]}, momentum {settings.momentum:g}, weight decay "
        f"{settings.weight_decay:g}){mean}.",
        _loss(card),
        _changes(settings),
    ]


def _loss(card: ModelCard) -> str:
    settings, border = card.training, card.training.border
    if settings.task == "regress":
        return f"The loss was {_LOSSES[settings.loss]}."
    if settings.task == "denoise":
        return "The loss was that of pixels hidden from the network."
    sentence = "The loss was the cross-entropy"
    if card.cell_classes and border.w0:
        kind = {
            "paper": "Ronneberger et al. 2015, Eq. 2",
            "fiji": "the constants of Falk et al. 2019",
        }
        sentence += (
            f", weighted between cells ({kind[border.scheme]}; w0 {border.w0:g}, σ "
            f"{border.sigma:g} pixels)"
        )
    if settings.class_balance:
        sentence += (
            f", and by the frequency of classes to minus {settings.class_balance:g}"
        )
    return f"{sentence}."


def _changes(settings: Training) -> str:
    """Describe the augmentation, as far as there was any."""
    a = settings.augmentation
    done = [
        text
        for happens, text in (
            (a.mirror, "mirrored"),
            (a.rotation, f"turned by up to {a.rotation:g}°"),
            (a.scale > 1, f"scaled by up to {a.scale:g}"),
            (a.elastic, f"deformed (3 × 3 vectors, SD {a.elastic:g} pixels)"),
            (a.brightness, f"shifted by up to {a.brightness:g} SD of the grey values"),
            (a.contrast > 1, f"stretched in contrast by up to {a.contrast:g}"),
            (a.gamma > 1, f"changed by a gamma of up to {a.gamma:g}"),
            (a.noise, f"given noise of up to {a.noise:g} SD"),
            (a.blur, f"blurred by up to {a.blur:g} pixels"),
        )
        if happens
    ]
    return f"At random, patches were {', '.join(done)}." if done else ""


def _validation(card: ModelCard) -> str:
    score = card.score
    if score is None:
        return "No part was held out for validation."
    where = counted(score.pixels, "pixel")
    if card.members > 1:
        return (
            f"Each network was validated on its held-out part: {score.words} in the "
            f"mean, on {where} in all."
        )
    what = "annotated pixels" if isinstance(score, Score) else "pixels"
    return f"On {where} held out of the {what}, the model reached {score.words}."


def _use(card: ModelCard) -> str:
    blended = isinstance(geometry_of(card.architecture), Blended)
    tiles = "blended windows" if blended else "overlapping tiles with mirrored borders"
    sentence = f"Images are predicted in {tiles}"
    if not card.cell_classes:
        return f"{sentence}."
    s = card.segmentation
    unsure = ""
    if s.unsure_size > s.min_size:
        unsure = (
            f", below {s.unsure_size} pixels where their mean probability is at least "
            f"{SURE:g}"
        )
    return (
        f"{sentence}; cells are parts above a probability of {s.threshold:g}, split at "
        f"waists (by {s.min_distance:g} pixels and {s.neck:g} of the half width) and "
        f"kept from {s.min_size} pixels on{unsure}."
    )
