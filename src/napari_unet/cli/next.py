"""`napari-unet next`: which parts of which images to annotate next."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from napari_unet.cli.labels import known_kind, meaning_of, read_named
from napari_unet.cli.notes import notes_of
from napari_unet.cli.options import (
    MODEL_HELP,
    add_settings,
    axes_option,
    channel_option,
    given_settings,
    json_option,
    labels_option,
    write_json,
)
from napari_unet.cli.pairing import pair_files, pairing_option
from napari_unet.cli.progress import ProgressLine, interruptible
from napari_unet.cli.training_inputs import read_seen
from napari_unet.core.annotation.pairing import annotated_fields
from napari_unet.core.events import TileSeen, TilesSuggested
from napari_unet.core.settings import Prediction
from napari_unet.core.suggestions.known import KnownParts
from napari_unet.core.suggestions.sampling import sample_frames
from napari_unet.core.text import counted, place_words, printable, sentence
from napari_unet.io.images import find, left_out
from napari_unet.io.pretrained import model_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from napari_unet.core.annotation.annotations import Annotation
    from napari_unet.core.events import Event
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.images.image import Image
    from napari_unet.core.suggestions.reasons import Suggestion

_COUNT = 6


class _Read(NamedTuple):
    """An image, and its labels if there are any."""

    file: Path
    image: Image
    partner: Path | None
    labels: Image | None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("images", help="image file, folder or pattern in quotes")
    parser.add_argument(
        "known",
        nargs="?",
        metavar="labels",
        help="labels of those images that are annotated: file, folder or pattern",
    )
    parser.add_argument(
        "--model",
        type=model_path,
        help=f"{MODEL_HELP}; the reasons then say what it is unsure of",
    )
    parser.add_argument(
        "--count",
        type=int,
        default=_COUNT,
        metavar="N",
        help="tiles to suggest (default: %(default)s)",
    )
    labels_option(parser)
    pairing_option(parser)
    add_settings(parser, Prediction, ("rescale", "device", "precision"))
    axes_option(parser)
    channel_option(parser)
    json_option(parser)


def run(options: argparse.Namespace) -> int:
    """Carry out the command."""
    if options.count < 1:
        raise ValueError(f"--count is 1 or more, found {options.count}.")
    settings = Prediction(**given_settings(options, Prediction))
    files, partners, said = _files(options)
    line = ProgressLine()
    read, problems = _read_all(files, partners, options)
    if not read:
        write_json({"looked_at": "", "tiles": [], "problems": problems}, options.json)
        return line.fail(problems)
    images, names = [one.image for one in read], [str(one.file) for one in read]
    known, notes = _known(read, options)
    for note in (*said, *notes, *notes_of(images)):
        line.say(note)
    found = _follow(_events(options, settings, images, known), line)
    print(found.sentence, file=sys.stderr)
    if options.json != "-":
        for number, one in enumerate(found.suggestions, start=1):
            print(_line(number, one, images[one.place.image], names))
    rows = [_row(one, names) for one in found.suggestions]
    report = {"looked_at": found.sentence, "tiles": rows, "problems": problems}
    write_json(report, options.json)
    return line.fail(problems)


def _files(
    options: argparse.Namespace,
) -> tuple[list[Path], list[Path | None], list[str]]:
    """Return the images, the labels of those that have any, and notes.

    Of very many images without labels, evenly spaced ones are taken.
    """
    if options.known is None:
        labelled, alone, said = [], find([options.images]), []
    else:
        pairing = pair_files([options.images], [options.known], options.pair_by)
        labelled, alone = list(pairing.pairs), list(pairing.alone)
        every = len(labelled) + len(alone)
        have = "has" if every == 1 else "have"
        said = [f"{len(labelled)} of {counted(every, 'image')} {have} labels."]
    if note := left_out([options.images, *([options.known] if options.known else [])]):
        said.append(note)
    chosen = [
        file
        for file, times in zip(alone, sample_frames([1] * len(alone)), strict=True)
        if times
    ]
    if len(chosen) < len(alone):
        said.append(
            f"{len(chosen)} of {counted(len(alone), 'image')} without labels are "
            "looked at, spread over the list."
        )
    files = [*(image for image, _ in labelled), *chosen]
    return files, [*(one for _, one in labelled), *(None for _ in chosen)], said


def _read_all(
    files: Sequence[Path], partners: Sequence[Path | None], options: argparse.Namespace
) -> tuple[list[_Read], list[str]]:
    """Read images and their labels, and say what is wrong with those that fail."""
    axes = options.axes.replace("c", "") if options.axes else None
    found: list[_Read] = []
    problems: list[str] = []
    for file, partner in zip(files, partners, strict=True):
        try:
            image = read_seen(file, options)
            labels = None if partner is None else read_named(partner, axes, image)
        except (ValueError, OSError) as error:
            problems.append(sentence(error))
        else:
            found.append(_Read(file, image, partner, labels))
    return found, problems


def _known(
    read: Sequence[_Read], options: argparse.Namespace
) -> tuple[list[KnownParts | None], list[str]]:
    """Tell what is annotated, and what the labels were taken for."""
    both = [(one.image, one.labels) for one in read if one.labels is not None]
    if not both:
        return [None] * len(read), []
    labels = [mask for _, mask in both]
    own = known_kind([one.partner for one in read if one.partner is not None])
    kind, notes = meaning_of(labels, options.kind or own)
    planes: dict[int, dict[tuple[int, int], Annotation]] = {}
    for field, annotation in annotated_fields(
        [image for image, _ in both], labels, 2, kind
    ):
        here = planes.setdefault(id(field.image), {})
        here[field.t, cast("int", field.z)] = annotation
    return [
        _parts(planes[id(one.image)]) if id(one.image) in planes else None
        for one in read
    ], [*notes, *notes_of(labels)]


def _parts(planes: dict[tuple[int, int], Annotation]) -> KnownParts:
    def read(t: int, z: int, box: Box) -> Annotation:
        return planes[t, z].crop(box)

    return KnownParts(planes, read)


def _events(
    options: argparse.Namespace,
    settings: Prediction,
    images: Sequence[Image],
    known: Sequence[KnownParts | None],
) -> Iterator[Event]:
    from napari_unet.engine.suggesting import suggest

    model = None
    if options.model is not None:
        from napari_unet.engine.model_formats.catalogue import read_model
        from napari_unet.engine.network.network import prepare

        read = read_model(options.model)
        network = prepare(read, settings.device, settings.precision, file=options.model)
        model = network, read.card
        # in colour, or grey three times
        wanted = read.card.architecture.channels
        images = [image.with_channels(wanted) for image in images]
    frames = sample_frames([image.size("t") for image in images])
    for event in suggest(images, frames, known, model, options.count, settings):
        if event is not None:
            yield event


def _follow(events: Iterator[Event], line: ProgressLine) -> TilesSuggested:
    """Show the progress; return the result."""
    last: Event | None = None
    with interruptible(events) as running:
        for event in running:
            last = event
            if isinstance(event, TileSeen):
                line.show("looking at tiles", event.progress)
    return cast("TilesSuggested", last)


def _line(
    number: int, suggestion: Suggestion, image: Image, names: Sequence[str]
) -> str:
    place = suggestion.place
    y, x = (f"{part.start}:{part.stop}" for part in place.box)
    where = place_words(image.axes, place.t, place.z)
    parts = [printable(names[place.image]), *where, f"y {y}", f"x {x}"]
    return f"{number}. {', '.join(parts)}: {'; '.join(suggestion.reasons)}."


def _row(suggestion: Suggestion, names: Sequence[str]) -> dict[str, Any]:
    place = suggestion.place
    y, x = ([part.start, part.stop] for part in place.box)
    return {
        "image": names[place.image],
        "t": place.t,
        "z": place.z,
        "y": y,
        "x": x,
        "reasons": list(suggestion.reasons),
    }
