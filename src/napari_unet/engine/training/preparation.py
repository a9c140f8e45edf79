"""The preparation of a training run: everything checked before its first step."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_unet.core.annotation.annotations import IGNORED
from napari_unet.core.images.image import channels_of
from napari_unet.core.images.rescaling import common_size, note_of_start
from napari_unet.core.model import ImageRecord, ModelCard
from napari_unet.core.network.blended import reach_of
from napari_unet.core.text import reason
from napari_unet.core.training.common_parts import Part, hold_out_parts
from napari_unet.core.training.folds import Fold, hold_out_fold
from napari_unet.core.training.patches import in_window, patch_size, why_not
from napari_unet.core.training.training_set_updates import held_parts, hold_out_again
from napari_unet.engine.allocator import keep_freed_memory
from napari_unet.engine.device import choose_device, choose_precision
from napari_unet.engine.network.encoder import (
    encoder_note,
    notes_of_encoder,
    take_encoder,
)
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.transfer import take_over
from napari_unet.engine.training.memory import check_patches, check_weights
from napari_unet.engine.training.state import TrainingState
from napari_unet.engine.training.team import ALONE
from napari_unet.io.model_file import load_checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_unet.core.images.image import Field
    from napari_unet.core.images.normalisation import Normalisation
    from napari_unet.core.model import Model
    from napari_unet.core.network.geometry import Layered
    from napari_unet.core.training.training_set import Example, TrainingSet
    from napari_unet.core.training.training_settings import Training
    from napari_unet.engine.device import Precision
    from napari_unet.engine.objectives.objective import Objective, Pair
    from napari_unet.engine.training.sampling import Sampler
    from napari_unet.engine.training.team import Alone


# Side of the central part of an image that is hashed, in pixels.
_HASHED = 4096


@dataclass(frozen=True, slots=True, eq=False)
class RunOptions:
    """What a training begins with, where it computes, and where it is kept."""

    start: Model | None = None  # whose weights it begins with
    resume: Path | None = None  # checkpoint to go on from
    checkpoint: Path | None = None  # where to write checkpoints; None for nowhere
    device: str = "auto"
    team: Alone = ALONE  # processes that train together

    @property
    def start_card(self) -> ModelCard | None:
        """Card of the model that it begins with."""
        return None if self.start is None else self.start.card


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """The initial state of a training run."""

    state: TrainingState
    sampler: Sampler
    training_set: TrainingSet
    objective: Objective
    device: torch.device
    precision: Precision
    team: Alone = ALONE
    start: Model | None = None  # that it began with
    resumed: ModelCard | None = None  # card of the checkpoint that it goes on from


def prepare_training(
    pairs: Sequence[Pair],
    examples: Sequence[Example],
    objective: Objective,
    normalisation: Normalisation,
    options: RunOptions,
    fold: Fold | None,
    parts: Sequence[Part],
) -> Prepared:
    """Check the input and set everything up; arguments as for `TrainingRun`.

    The objective made the examples from the pairs with this normalisation. A ValueError
    says that there is nothing to learn or that inputs do not fit together, a
    MemoryError that the patches of a step, or the weights, do not fit into free memory.
    """
    keep_freed_memory()
    settings, team = objective.settings, options.team
    objective.team, start, resume = team, options.start, options.resume
    where = choose_device(options.device)
    how: Precision = team.broadcast_text(choose_precision(where, settings.precision))  # type: ignore[assignment]
    examples = objective.ready(pairs, examples)
    slices = min(e.field.shape[0] for e in examples)
    architecture = _architecture(settings, examples, objective.outputs, start, slices)
    card = _card(architecture, objective, examples, start).replace(
        normalisation=normalisation, device=where.type, precision=how
    )
    output = patch_size(architecture, settings.patch, slices)
    patches = team.memory_shares(settings.batch, where)
    check_patches(architecture, output, settings, where, how, patches)
    check_weights(architecture, settings, where)
    module = _network(card, start, where, resumed=resume is not None)
    team.synchronise_norms(module)
    state = TrainingState(card, module)
    resumed = None if resume is None else _resume(state, resume)
    parted = _part(state, examples, objective, fold, parts)
    objective.learn(parted, where)
    return Prepared(
        state=state,
        sampler=objective.sampler(
            parted.examples,
            output=output,
            halo=architecture.halo,
            augmentation=settings.augmentation,
            device=where,
            seed=settings.seed,
            team=team,
        ),
        training_set=parted,
        objective=objective,
        device=where,
        precision=how,
        team=team,
        start=start,
        resumed=resumed,
    )


def _card(
    architecture: Layered,
    objective: Objective,
    examples: Sequence[Example],
    start: Model | None,
) -> ModelCard:
    """Return the card of the model before its first step."""
    settings, notes = objective.settings, objective.notes
    spacing = None
    if objective.has_pixel_size:
        spacing, assumed = _common_size(examples, settings)
        notes += assumed
    if start is not None:
        notes += notes_of_encoder(start.card)
        notes += note_of_start(start.card.spacing_um, spacing, settings.scale)
    elif settings.encoder == "imagenet":
        notes += (encoder_note(architecture),)
    return ModelCard(
        architecture=architecture,
        **objective.of_card(architecture.ndim, start.card if start else None),
        spacing_um=spacing,
        notes=notes,
        training=settings,
        images=tuple(record_of(e) for e in examples),
        parent=start.card.name if start else None,
    )


def record_of(example: Example) -> ImageRecord:
    """Return the entry of an example in the model's card."""
    return ImageRecord(
        name=_title(example),
        sha256=fingerprint(example.field),
        annotated=int(np.count_nonzero(example.classes != IGNORED)),
    )


def _part(
    state: TrainingState,
    examples: Sequence[Example],
    objective: Objective,
    fold: Fold | None,
    parts: Sequence[Part],
) -> TrainingSet:
    """Hold out as the resumed run, the fold or the parts say, else by the seed."""
    keys = [r.sha256 for r in state.card.images]
    own = None if fold is None else (fold.number, fold.total)
    if state.record.validation is not None:
        if state.record.fold != own:
            raise ValueError(_other_fold(state.record.fold))
        before, words = state.record.held_out, state.record.validation
        reach = reach_of(state.card.architecture)
        return hold_out_again(examples, keys, before, reach, words)
    if fold is not None:
        parted = hold_out_fold(examples, fold, objective.names)
    elif parts:
        reach = reach_of(state.card.architecture)
        parted = hold_out_parts(examples, parts, reach)
    else:
        parted = objective.hold_out(examples, state.card)
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


def with_network_of(start: Model | None, settings: Training) -> Training:
    """Return the settings with the network of the model to start from.

    A ValueError says that it is another one, that there are several, or that it has
    learnt another task.
    """
    if start is None:
        return settings
    own = start.card.training
    if problem := start.card.refusal_as_start(settings):
        raise ValueError(problem)
    # unet is the default: it may not have been chosen
    if settings.network not in (own.network, "unet"):
        raise ValueError(
            f"the model to start from is of the network {own.network}, the settings "
            f"are for {settings.network}."
        )
    return settings.with_network_of(own)


def _architecture(
    settings: Training,
    examples: Sequence[Example],
    classes: int,
    start: Model | None,
    slices: int,
) -> Layered:
    count = channels_of(example.field.image for example in examples)
    table = None if start is None else start.card.architecture
    if table is not None and table.ndim != settings.ndim:
        raise ValueError(
            f"the model to start from is {table.ndim}-D, "
            f"the training {settings.ndim}-D."
        )
    if problem := why_not(settings, count, classes, slices, table):
        raise ValueError(problem)
    if table is None:
        made = settings.architecture(count, classes, slices)
    else:
        made = table.replace(channels=count, classes=classes)
    return in_window(made, settings, slices)


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


def _resume(state: TrainingState, path: Path) -> ModelCard:
    """Restore the state of a checkpoint; return its card."""
    checkpoint = load_checkpoint(path)
    card = checkpoint.model.card
    other_task = card.training.task != state.card.training.task
    if other_task or card.architecture != state.card.architecture:
        raise ValueError(
            f"{path} belongs to another network; resume with the settings, channels "
            "and classes it was trained with, or start from it with --init."
        )
    # annotated slices come and go: one in common is enough
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
    return card


def _common_size(
    examples: Sequence[Example], settings: Training
) -> tuple[tuple[float, ...] | None, tuple[str, ...]]:
    """Return the pixel size of the model, and notes on what was assumed."""
    images = {id(e.field.image): e.field.image for e in examples}
    ndim = settings.ndim
    sizes = [(i.name, (i.known_um or ())[-ndim:] or None) for i in images.values()]
    if not any(size is not None and len(size) == ndim for _, size in sizes):
        return None, ()
    own, notes = common_size(sizes, mix=settings.mix_pixel_sizes)
    if own is None:
        return None, notes
    return tuple(float(f"{size / settings.scale:.6g}") for size in own), notes


def fingerprint(field: Field) -> str:
    """Hash a field; of a large one only the middle, so that not all of it is read."""
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
