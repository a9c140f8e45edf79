"""A contracting path that begins with what VGG learnt of ImageNet."""

from __future__ import annotations

from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any
from zipfile import is_zipfile

import torch

from napari_unet.core.network.vgg import convolutions, encoder_of, refusal_of_channels
from napari_unet.core.text import reason, times
from napari_unet.io.encoder_weights import (
    PUBLISHED,
    check_published,
    find_weights,
    keep_weights,
    kept_file,
    read_kept,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from napari_unet.core.model import ModelCard
    from napari_unet.core.network.geometry import Layered
    from napari_unet.core.network.vgg import Convolution, Encoder
    from napari_unet.engine.network.layered import LayeredNetwork

# How a card says with what a network began.
_NOTE = "encoder: "
_SLOWER = 0.1


def encoder_note(network: Layered) -> str:
    """Return what a card says of a network that begins with ImageNet's weights.

    A ValueError says if there are none for this network or number of channels.
    """
    return f"{_NOTE}{PUBLISHED[_encoder(network)[0]].title} ImageNet"


def notes_of_encoder(card: ModelCard) -> tuple[str, ...]:
    """Return the note of a model that began with an encoder; nothing of any other."""
    return tuple(note for note in card.notes if note.startswith(_NOTE))


def take_encoder(module: LayeredNetwork) -> None:
    """Copy ImageNet's weights into the contracting path; fetch nothing.

    For a grey image the first kernels are summed over red, green and blue: they answer
    as to an RGB image of this grey. Scores begin at 0, as those of Long et al. do:
    what VGG answers is not of the size that random weights are made for. What is not
    on this computer is a FileNotFoundError, what is damaged a ValueError.
    """
    encoder, convs = _encoder(module.architecture)
    weights = read_encoder(encoder, find_weights(encoder))
    first = convs[0].feature + ".weight"
    if module.architecture.channels == 1:
        weights[first] = weights[first].sum(dim=1, keepdim=True)
    new = module.state_dict()
    for conv in convs:
        for part in ("weight", "bias"):
            new[f"{conv.name}.{part}"].copy_(weights[f"{conv.feature}.{part}"])
    for name, weight in new.items():
        if name.startswith("score"):
            weight.zero_()


def learning_groups(
    module: LayeredNetwork, *, pretrained: bool
) -> list[dict[str, Any]]:
    """Return the parameters in their order, as groups for an optimiser.

    The `share` of each is that of the learning rate: full steps would undo what an
    encoder has learnt before the rest has learnt to read it.
    """
    parameters = list(module.parameters())
    found = encoder_of(module.architecture) if pretrained else None
    # weight and bias of each; the contracting path comes first
    count = 2 * len(found[1]) if found else 0
    groups = ((parameters[:count], _SLOWER), (parameters[count:], 1.0))
    return [{"params": some, "share": share} for some, share in groups if some]


def read_encoder(encoder: Encoder, file: Path) -> dict[str, Tensor]:
    """Read the convolutions of a VGG out of a published or a kept file.

    Nothing in it is run. A ValueError says if it is another file, or damaged.
    """
    if file.suffix == kept_file(encoder).suffix:
        found = {n: torch.from_numpy(w) for n, w in read_kept(encoder, file).items()}
    else:
        check_published(encoder, file)
        found = _unpickled(file)
    return _convolutions_in(found, encoder, file)


def keep_encoder(encoder: Encoder, file: Path) -> Path:
    """Keep the convolutions of a published file in our folder; return where."""
    origin = check_published(encoder, file)
    weights = _convolutions_in(_unpickled(file), encoder, file)
    arrays = {name: weight.numpy().copy() for name, weight in weights.items()}
    return keep_weights(encoder, arrays, origin)


def _convolutions_in(
    found: Mapping[str, object], encoder: Encoder, file: Path
) -> dict[str, Tensor]:
    weights = {}
    for conv in convolutions(encoder):
        kernels = (conv.width, conv.channels, 3, 3)
        for part, shape in (("weight", kernels), ("bias", kernels[:1])):
            name = f"{conv.feature}.{part}"
            weight = found.get(name)
            if (
                not isinstance(weight, torch.Tensor)
                or weight.shape != shape
                or not weight.isfinite().all()
            ):
                raise ValueError(
                    f"{file}: does not hold the weights of {PUBLISHED[encoder].title}: "
                    f"{name} is missing, or is not {times(shape)} finite numbers."
                )
            weights[name] = weight.float()
    return weights


def _encoder(network: Layered) -> tuple[Encoder, tuple[Convolution, ...]]:
    found = encoder_of(network)
    if found is None:
        raise ValueError(
            "there are no ImageNet weights for this network: choose the network "
            "ternaus or fcn8, or begin with random weights (encoder none)."
        )
    if refusal := refusal_of_channels(network.channels):
        raise ValueError(refusal)
    return found


def _unpickled(file: Path) -> dict[str, Tensor]:
    """Read a file of torch's, of which nothing is run.

    Most of it are VGG's last layers: they stay on the disk where the format lets them.
    """
    try:
        found = torch.load(
            file, map_location="cpu", weights_only=True, mmap=is_zipfile(file)
        )
    except (UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise ValueError(f"{file}: cannot be read ({reason(error)}).") from error
    return found if isinstance(found, dict) else {}
