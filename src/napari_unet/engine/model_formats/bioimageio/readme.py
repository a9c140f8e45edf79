"""What people are told of a model in a bioimage.io package of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet import __version__
from napari_unet.core.images.grey_steps import GreySteps
from napari_unet.core.images.rescaling import written
from napari_unet.core.network.catalogue import NETWORKS
from napari_unet.core.text import counted, times
from napari_unet.engine.model_formats.bioimageio.grey_values import (
    in_package_words,
    measured_on_all,
)
from napari_unet.engine.model_formats.plain_form import SameSize

if TYPE_CHECKING:
    from napari_unet.core.model import ModelCard
    from napari_unet.core.publication import Publication

_MEASURED = (
    "Other programs bring all pixels of an image to mean 0 and sd 1; napari-unet "
    "leaves out a few very bright ones and, by the rule of newer models, most of what "
    "is empty: where that is much, results differ."
)
_MIDDLES = (
    "Other programs set the middle halves of windows side by side, where napari-unet "
    "blends windows: results differ a little, most where two windows meet."
)


def differences(card: ModelCard) -> tuple[str, ...]:
    """Say what other programs do otherwise."""
    rule = card.normalisation
    found = [] if isinstance(rule, GreySteps) else [_MEASURED]
    if isinstance(rule, GreySteps) and measured_on_all(rule) != rule:
        found.append(
            f"Grey values: {rule.words}; other programs do this with every image."
        )
    return (*found, _MIDDLES) if card.architecture.padded else tuple(found)


def readme(card: ModelCard, publication: Publication) -> str:
    """Return what users of the model elsewhere should know."""
    sizes, training = SameSize.of(card.architecture), card.training
    pixel = written(card.spacing_um) if card.spacing_um else "not known"
    space = "zyx"[-card.architecture.ndim :]
    steps = in_package_words(card.normalisation, space)
    grey = " → ".join(step["id"] for step in steps)
    trained = f"{counted(card.steps, 'step')} on {counted(len(card.images), 'image')}"
    members = f"The mean of {card.members} networks. " if card.members > 1 else ""
    otherwise = "".join(f" {one}" for one in differences(card))
    taken = f"Sizes are multiples of {times(sizes.step)} pixels, at least"
    if card.architecture.padded:
        taken = "Its size is"
    score = (
        f"On {card.score.pixels} pixels that were held out: {card.score.words}."
        if card.score
        else "No pixels were held out for validation."
    )
    return f"""# {card.name}

{publication.description or summary(card)}

{members}{NETWORKS[training.network].title} ({NETWORKS[training.network].paper}), made
with napari-unet {__version__}. Authors: {", ".join(publication.authors)}. Licence:
{publication.licence}.

## Use

The output has the size of the input. {taken} {times(sizes.smallest)} pixels; the
outermost {times(sizes.context)} pixels on each side are context and no result: programs
that follow the `halo` of the yaml leave them out.

Pixel size: {pixel}. Images of another one have to be resampled.

Grey values: {grey}.{otherwise}

## Training

{trained}, preset {training.preset}, seed {training.seed}.

## Validation

{score}
"""


def summary(card: ModelCard) -> str:
    """Say in a sentence what a network gives."""
    table = card.architecture
    kind = f"{table.ndim}-D {card.network_title}"
    if card.outputs is not None:
        return f"{kind} that makes an image of {counted(table.classes, 'channel')}."
    names = ", ".join(c.name for c in card.classes)
    return f"{kind} that gives probabilities of background and {names}."
