"""The input files of a training: images with their labels or targets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from napari_unet.cli.labels import (
    known_kind,
    meaning_of,
    note_of_classes,
    read_objects,
)
from napari_unet.cli.notes import notes_of
from napari_unet.cli.pairing import Pairing, pair_files
from napari_unet.core.annotation.object_classes import classes_of
from napari_unet.core.text import counted, listed
from napari_unet.io.images import check_finite, find, left_out, read_input
from napari_unet.io.label_files import is_objects, without_classes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_unet.core.annotation.annotations import Kind
    from napari_unet.core.cells.objects import Objects
    from napari_unet.core.images.image import Image
    from napari_unet.core.training.training_settings import Training


_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class TrainingInputs:
    """The contents of the files."""

    images: list[Image]
    # labels, objects with classes or targets, one for each image; none to denoise
    known: Sequence[Image | Objects]
    kind: Kind | None  # what labels mean
    notes: list[str]  # assumptions, in sentences


def check_given(options: argparse.Namespace, settings: Training) -> None:
    """ValueError for options that the task does not use, or if required ones miss."""
    partner = settings.objective.partner
    if partner and options.labels is None:
        raise ValueError(
            f"to {settings.objective.title}, {partner} are needed beside the images: "
            f"name them after {options.images}."
        )
    if not partner and options.labels is not None:
        raise ValueError(
            "to denoise, nothing but the images is needed, found also "
            f"{options.labels}; put several into a pattern in quotes or a folder."
        )
    for option, given, task in (
        ("--labels", options.kind, "segment"),
        ("--regions", options.regions, "segment"),
        ("--loss", options.loss, "regress"),
        ("--structured-noise", options.structured_noise, "denoise"),
    ):
        if given is not None and settings.task != task:
            raise ValueError(
                f"{option} is for --task {task} alone, the task is {settings.task}."
            )


def find_inputs(options: argparse.Namespace, settings: Training) -> Pairing:
    """Find the files and pair them; for denoising, the images alone."""
    if not settings.objective.partner:
        files = tuple(find([options.images]))
        names = listed([file.name for file in files])
        sentence = f"{counted(len(files), 'image')}: {names}."
        sentence = f"{sentence} {left_out([options.images])}".rstrip()
        return Pairing((), files, files, sentence)
    what = settings.objective.partner
    one = what.removesuffix("s")
    pairing = pair_files([options.images], [options.labels], options.pair_by, one)
    for image, partner in pairing.pairs:
        is_drawn_on = what == "labels" and is_objects(partner)
        if image.resolve() == partner.resolve() and not is_drawn_on:
            raise ValueError(
                f"{image}: is named as image and as {what}; name the {what} alone, as "
                f"in 'folder/*_{'mask' if one == 'label' else one}*'."
            )
    return pairing


def read_inputs(
    options: argparse.Namespace, settings: Training, pairing: Pairing
) -> TrainingInputs:
    """Read the images, and their labels or targets."""
    if not settings.objective.partner:
        images = _each(pairing.files, lambda file: read_seen(file, options))
        return TrainingInputs(images, [], None, [pairing.sentence, *notes_of(images)])
    # neither labels nor targets need have the channels of the images
    axes = options.axes.replace("c", "") if options.axes else None
    images = _each([f for f, _ in pairing.pairs], lambda file: read_seen(file, options))
    partners = [file for _, file in pairing.pairs]
    if settings.task == "regress":
        targets = _each(partners, lambda f: replace(read_input(f, axes), name=str(f)))
        notes = [pairing.sentence, *notes_of([*images, *targets])]
        return TrainingInputs(images, targets, None, notes)
    of = dict(zip(partners, images, strict=True))
    objects = _each(partners, lambda file: read_objects(file, axes, of[file]))
    own = known_kind(partners, objects)
    several = len(classes_of(objects)) > 1
    more = several or any(o.unknown is not None for o in objects)
    whole = bool(own and options.kind is None and more)
    labels = [o.labels if whole else without_classes(o) for o in objects]
    kind, found = meaning_of(labels, options.kind or own)
    notes = [pairing.sentence, *found, *notes_of([*images, *labels])]
    if whole and several:
        notes.append(note_of_classes(objects))
    return TrainingInputs(images, objects if whole else labels, kind, notes)


def report_of(
    pairing: Pairing, inputs: TrainingInputs, settings: Training
) -> dict[str, Any]:
    """Return a report on the inputs as JSON can hold it."""
    report: dict[str, Any] = {"notes": inputs.notes}
    if not settings.objective.partner:
        return {"images": [str(file) for file in pairing.files]} | report
    if settings.task == "regress":
        return {"pairs": pairing.record("image", "target")} | report
    return {
        "pairs": pairing.record("image", "labels"),
        "without_labels": [str(file) for file in pairing.alone],
        "labels": inputs.kind,
    } | report


def _each(files: Sequence[Path], read: Callable[[Path], _Found]) -> list[_Found]:
    """Read files; an error that several have says which they are."""
    found: list[_Found] = []
    errors: list[Exception] = []
    for file in files:
        try:
            found.append(read(file))
        except (ValueError, OSError) as error:
            errors.append(error)
    if len(errors) > 1:
        each = listed([str(error) for error in errors], most=5, between=" ")
        raise ValueError(f"{len(errors)} files cannot be used. {each}")
    if errors:
        raise errors[0]
    return found


def read_seen(file: Path, options: argparse.Namespace) -> Image:
    """Read an image as the network sees it; a ValueError if it is not finite."""
    image = read_input(file, options.axes)
    # errors have the path, as files of several folders may share a name
    named = replace(image, name=str(file))
    if options.channel is not None:
        named = named.channel(options.channel)
    check_finite(named)
    return replace(named, name=image.name)
