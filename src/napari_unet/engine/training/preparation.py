"""Everything a training run needs, made and checked before its first step."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.cells.segmentation_tuning import usual_settings
from napari_unet.core.images.rescaling import common_size
from napari_unet.core.model import ImageRecord, ModelCard
from napari_unet.core.network.blended import reach_of, usual_window
from napari_unet.core.network.catalogue import NETWORKS, too_thin
from napari_unet.core.text import printable, reason, times
from napari_unet.core.training.folds import Fold, hold_out_fold
from napari_unet.core.training.loss_weights import class_weights
from napari_unet.core.training.training_set import count_classes, hold_out, typical_cell
from napari_unet.core.training.training_set_updates import held_parts, hold_out_again
from napari_unet.engine.allocator import keep_freed_memory
from napari_unet.engine.device import (
    choose_device,
    choose_precision,
    dtype,
    free_memory,
)
from napari_unet.engine.network.encoder import (
    encoder_note,
    notes_of_encoder,
    take_encoder,
)
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.network import count_weights
from napari_unet.engine.network.transfer import take_over
from napari_unet.engine.training.divergence import no_memory
from napari_unet.engine.training.sampling import Sampler
from napari_unet.engine.training.state import TrainingState
from napari_unet.io.model_file import load_checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.core.annotation.annotations import Annotation
    from napari_unet.core.images.image import Field
    from napari_unet.core.images.normalisation import Normalisation
    from napari_unet.core.model import Model
    from napari_unet.core.network.geometry import Layered
    from napari_unet.core.training.training_set import Example, TrainingSet
    from napari_unet.core.training.training_settings import Training
    from napari_unet.engine.device import Precision


# Side of the part of an image that its fingerprint is made of, in pixels.
_HASHED = 4096
# Of the weights, at the least: themselves, their gradients, their mean, the mean that
# was good last, and what the optimiser remembers.
_COPIES = 5


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What a training run begins with."""

    state: TrainingState
    sampler: Sampler
    training_set: TrainingSet
    # int64, (classes,); pixels of each class that are learnt from
    counts: NDArray[np.int64]
    # float32, (classes,); weight of each class (w_c of Eq. 2).
    table: NDArray[np.float32]
    device: torch.device
    precision: Precision


def prepare_training(
    pairs: Sequence[tuple[Field, Annotation]],
    examples: Sequence[Example],
    settings: Training,
    normalisation: Normalisation,
    *,
    start: Model | None,
    resume: str | Path | None,
    device: str,
    fold: Fold | None = None,
) -> Prepared:
    """Check the input and set everything up; arguments as for `TrainingRun`.

    The examples were made of the pairs with this rule of normalisation. A ValueError
    says that there is nothing to learn, or that what is given does not go together, a
    MemoryError that the patches of a step, or the weights, do not fit into free memory.
    """
    keep_freed_memory()
    where = choose_device(device)
    how = choose_precision(where, settings.precision)
    if not pairs:
        raise ValueError("nothing is annotated: paint some cells and background.")
    classes = pairs[0][1].classes
    settings = _with_network_of(start, settings)
    slices = min(e.field.shape[0] for e in examples)
    architecture = in_window(
        _architecture(settings, examples, len(classes) + 1, start), settings, slices
    )
    spacing, notes = _common_size(examples, settings)
    if start is not None:
        notes += notes_of_encoder(start.card)
    elif settings.encoder == "imagenet":
        notes += (encoder_note(architecture),)
    records = tuple(record_of(e) for e in examples)
    card = ModelCard(
        architecture=architecture,
        classes=classes,
        normalisation=normalisation,
        spacing_um=spacing,
        notes=notes,
        training=settings,
        segmentation=usual_settings(
            typical_cell(a for _, a in pairs), architecture.ndim
        ),
        images=records,
        device=where.type,
        precision=how,
        parent=start.card.name if start else None,
    )
    output = patch_size(architecture, settings.patch, slices)
    _check_statistics(architecture, output, settings)
    _check_patches(architecture, output, settings, where, how)
    _check_weights(architecture, settings, where)
    module = _network(card, start, where, resumed=resume is not None)
    state = TrainingState(card, module)
    if resume is not None:
        _resume(state, resume)
    parted = _part(state, examples, fold)
    counts = count_classes(parted.examples, architecture.classes)
    _check_counts(counts, [c.name for c in classes])
    return Prepared(
        state=state,
        sampler=Sampler(
            parted.examples,
            output=output,
            halo=architecture.halo,
            foreground=settings.foreground,
            by_cell=all(c.kind == "cells" for c in classes),
            augmentation=settings.augmentation,
            device=where,
            seed=settings.seed,
        ),
        training_set=parted,
        counts=counts,
        table=class_weights(counts, settings.border, settings.class_balance),
        device=where,
        precision=how,
    )


def record_of(example: Example) -> ImageRecord:
    """Return what a model's card says of an example."""
    return ImageRecord(
        name=_title(example),
        sha256=_fingerprint(example.field),
        annotated=int(np.count_nonzero(example.classes != IGNORED)),
    )


def _part(
    state: TrainingState, examples: Sequence[Example], fold: Fold | None
) -> TrainingSet:
    """Hold a part out: of the run resumed, of the fold, or one drawn by the seed."""
    settings, table = state.card.training, state.card.architecture
    keys = [r.sha256 for r in state.card.images]
    own = None if fold is None else (fold.number, fold.total)
    if state.record.validation is not None:
        if state.record.fold != own:
            raise ValueError(_other_fold(state.record.fold))
        parts, words = state.record.held_out, state.record.validation
        return hold_out_again(examples, keys, parts, reach_of(table), words)
    if fold is not None:
        names = ("background", *(c.name for c in state.card.classes))
        parted = hold_out_fold(examples, fold, names)
    else:
        rng = np.random.default_rng([settings.seed, 2])
        parted = hold_out(
            examples, settings.validation, reach_of(table), table.classes, rng
        )
    by_example = dict(zip(map(id, examples), keys, strict=True))
    held = [by_example[id(part.example)] for part in parted.held_out]
    state.record = state.record.replace(
        held_out=held_parts(parted, held), validation=parted.validation, fold=own
    )
    return parted


def _other_fold(found: tuple[int, int] | None) -> str:
    if found is None:
        return (
            "the checkpoint is that of a network that is trained alone: go on without "
            "--folds."
        )
    return f"the checkpoint is that of {Fold(*found).name}: go on with --folds."


def _with_network_of(start: Model | None, settings: Training) -> Training:
    """Return the settings with the network of the model to start from."""
    if start is None:
        return settings
    own = start.card.training
    if start.card.members > 1:
        raise ValueError(
            f"the model to start from is the mean of {start.card.members} networks, "
            "and training goes on from one: start from another model, or from scratch."
        )
    # the default asks for none
    if settings.network not in (own.network, "unet"):
        raise ValueError(
            f"the model to start from is of the network {own.network}, the training "
            f"asks for {settings.network}."
        )
    return settings.with_network_of(own)


def _architecture(
    settings: Training, examples: Sequence[Example], classes: int, start: Model | None
) -> Layered:
    channels = {e.field.image.channels: e.field.image.name for e in examples}
    if len(channels) > 1:
        found = (
            f"{count} ({printable(channels[count])})" for count in sorted(channels)
        )
        raise ValueError(
            f"the images must have one number of channels, found {' and '.join(found)}."
        )
    if start is None:
        slices = min(e.field.image.size("z") for e in examples)
        made = settings.architecture(next(iter(channels)), classes, slices)
        if problem := too_thin(made, slices):
            title = NETWORKS[settings.network].title
            raise ValueError(f"{title} cannot learn from these images. {problem}")
        return made
    table = start.card.architecture
    if table.ndim != settings.ndim:
        raise ValueError(
            f"the model to start from is {table.ndim}-D, "
            f"the training {settings.ndim}-D."
        )
    return table.replace(channels=next(iter(channels)), classes=classes)


def in_window(network: Layered, settings: Training, slices: int) -> Layered:
    """Have a network that depends on its window see what it learns from: a patch."""
    if network.window is not None or not network.sees_window:
        return network
    patch = patch_size(network, settings.patch, slices)
    return network.replace(window=usual_window(network, patch))


def _check_statistics(
    network: Layered, output: tuple[int, ...], settings: Training
) -> None:
    """Refuse patches of which a norm would see but one pixel."""
    trace = network.trace
    for number, layer in enumerate(trace.layers):
        pixels = prod(trace.size(number, output))
        if layer.kind == "batch":
            pixels *= settings.batch
        elif layer.kind != "instance":
            continue
        if pixels < 2:
            raise ValueError(
                f"of patches of {times(output)} pixels one pixel is left at the "
                "coarsest level, too few for a normalisation: choose a larger patch, "
                "more patches per step, or a smaller depth."
            )


def _check_patches(
    network: Layered,
    output: tuple[int, ...],
    settings: Training,
    device: torch.device,
    precision: Precision,
) -> None:
    """Refuse patches that do not fit: the system would end the process, or swap."""
    smallest, advice = (
        network.min_output,
        "width or depth, a padded network, or another",
    )
    if network.window is not None:
        smallest, advice = output, "width, depth or patch, or another network"
    needed = memory_of_patches(network, smallest, 1, precision)
    free = free_memory(device)
    if needed > free:
        raise MemoryError(
            f"the network sees at least {times(network.input_size(smallest))} pixels "
            f"at a time, and to learn from them takes {needed / 1e9:.1f} GB, "
            f"{free / 1e9:.1f} GB are free on {device}: choose a smaller {advice}."
        )
    if memory_of_patches(network, output, settings.batch, precision) > free:
        raise no_memory(device, settings)


def _check_weights(
    architecture: Layered, settings: Training, device: torch.device
) -> None:
    """Refuse a network whose weights do not fit before any memory is used for them."""
    needed, free = memory_of_weights(architecture), free_memory(device)
    if needed > free:
        millions = count_weights(architecture) / 1e6
        raise MemoryError(
            f"a network of {millions:.0f} million weights takes "
            f"{needed / 1e9:.1f} GB to be trained, {free / 1e9:.1f} GB are free on "
            f"{device}: choose a smaller width than {settings.width}, or a smaller "
            f"depth than {settings.depth}."
        )


def _network(
    card: ModelCard, start: Model | None, device: torch.device, *, resumed: bool
) -> LayeredNetwork:
    # a generator of its own would not reach torch's initialisers
    with torch.random.fork_rng([]):
        torch.manual_seed(card.training.seed)
        module = LayeredNetwork(card.architecture)
    if start is not None:
        take_over(module, start, [c.name for c in card.classes])
    elif card.training.encoder == "imagenet" and not resumed:
        take_encoder(module)
    return module.to(device)


def _resume(state: TrainingState, path: str | Path) -> None:
    checkpoint = load_checkpoint(path)
    card = checkpoint.model.card
    if card.architecture != state.card.architecture:
        raise ValueError(
            f"{path} belongs to another network; resume with the settings, channels "
            "and classes it was trained with, or start from it with --init."
        )
    # while people annotate, slices come and go: it is the same work if one is left
    if not {r.sha256 for r in card.images} & {r.sha256 for r in state.card.images}:
        names = ", ".join(r.name for r in card.images)
        raise ValueError(
            f"{path} was trained on other images ({names}); "
            "give the same, or start from it with --init."
        )
    try:
        state.restore(checkpoint)
    except (IndexError, KeyError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"{path}: the state of its training is damaged ({reason(error)}); start "
            "from it with --init."
        ) from error


def patch_size(architecture: Layered, patch: int, slices: int) -> tuple[int, ...]:
    """Return the output size of a patch, no thicker than the thinnest stack.

    A network with a window of fixed size learns from such windows.
    """
    if architecture.window is not None:
        return architecture.output_covering(architecture.window)
    size = [patch] * architecture.ndim
    if architecture.ndim == 3:
        size[0] = min(patch, slices)
    return architecture.output_covering(tuple(size))


def memory_of_patches(
    network: Layered, output: tuple[int, ...], patches: int, precision: Precision
) -> int:
    """Return the bytes that a step keeps of patches of an output, at the least."""
    kept = network.trace.kept_values(output)
    return patches * kept * dtype(precision).itemsize


def memory_of_weights(network: Layered) -> int:
    """Return the bytes that a run takes for weights, at the least."""
    return _COPIES * torch.float32.itemsize * count_weights(network)


def _check_counts(counts: NDArray[np.int64], names: Sequence[str]) -> None:
    if not counts.sum():
        raise ValueError("nothing is annotated: the labels mark no pixel.")
    there = [n for n, c in zip(("background", *names), counts, strict=True) if c]
    if len(there) == 1:
        raise ValueError(
            f"only {there[0]} is annotated: the network needs at least two classes to "
            "tell apart, such as cells and background."
        )


def _common_size(
    examples: Sequence[Example], settings: Training
) -> tuple[tuple[float, ...] | None, tuple[str, ...]]:
    """Return the pixel size of the model, and what was assumed for it."""
    images = {id(e.field.image): e.field.image for e in examples}
    sizes = [(i.name, i.pixel_size(settings.ndim)) for i in images.values()]
    return common_size(sizes, mix=settings.mix_pixel_sizes)


def _fingerprint(field: Field) -> str:
    """Hash a field; of a very large one the middle, or all of it would be read."""
    middle = []
    for n in field.shape:
        side = min(n, _HASHED)
        middle.append(slice((n - side) // 2, (n + side) // 2))
    pixels = np.ascontiguousarray(field.read(tuple(middle)))
    return sha256(pixels.tobytes()).hexdigest()


def _title(example: Example) -> str:
    field, image = example.field, example.field.image
    title = image.name
    if image.size("t") > 1:
        title += f" t={field.t}"
    if field.z is not None and image.size("z") > 1:
        title += f" z={field.z}"
    return title
