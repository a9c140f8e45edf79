"""Pairing of files by their names, and by their order only on request.

Files are paired by the path below the folder, or below the fixed part of the pattern,
and by the image's name. A name may differ from its partner's by words for the kind of
file, such as "mask".
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from napari_unet.cli.found_files import found_files
from napari_unet.core.text import counted, listed
from napari_unet.io.images import left_out
from napari_unet.io.label_files import is_objects

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from napari_unet.cli.found_files import FoundFile

# Words for the kind of a file, which say nothing about its image.
_ROLES = {
    *("image", "images", "img", "imgs", "im", "raw", "input"),
    *("mask", "masks", "label", "labels", "lab", "labs", "seg", "segs", "cp"),
    *("segmentation", "segmentations", "gt", "ground", "truth", "groundtruth"),
    *("annotation", "annotations", "annot", "man", "manual", "binary", "semantic"),
    *("track", "tracks", "target", "targets"),
    *("instance", "instances", "classes", "result", "results"),
    *("pred", "prediction", "predictions", "predicted"),
}

# A plus is no sign between words: drug+ is not drug-.
_WORDS = re.compile(r"\d+|[^\W\d_]+|\+")

By = Literal["name", "order"]
Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Pairing:
    """Pairs of files."""

    pairs: tuple[tuple[Path, Path], ...]  # in the order of the second of each
    alone: tuple[Path, ...]  # those of the first kind that have no partner
    files: tuple[Path, ...]  # all that they are in, also those without a partner
    sentence: str  # a sentence on the pairs

    def record(self, first: str, second: str) -> list[dict[str, str]]:
        """Return the pairs for programs, under names for the two kinds of files."""
        return [{first: str(a), second: str(b)} for a, b in self.pairs]

    def notes(self) -> list[str]:
        """Return notes for a comparison: what is paired, also files with themselves."""
        same = [a.name for a, b in self.pairs if a.resolve() == b.resolve()]
        if not same:
            return [self.sentence]
        are = counted(len(same), "file is", "files are")
        with_what = "itself" if len(same) == 1 else "themselves"
        says = f"compared with {with_what}, which says nothing: {listed(same)}."
        return [self.sentence, f"{are} {says}"]


def pairing_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that asks for pairs by order."""
    parser.add_argument(
        "--pair-by",
        choices=("name", "order"),
        default="name",
        help="which files go together: those of one name (a.tif with a.tif, "
        "a_mask.tif, seg_a.tif ...), or the first with the first in natural order "
        "(default: name)",
    )


def pair_files(
    first: Sequence[str | Path],
    second: Sequence[str | Path],
    by: By = "name",
    what: str = "label",
    *,
    labels: bool = False,
) -> Pairing:
    """Pair files by name, or in their natural order on request.

    Parameters
    ----------
    first : sequence of str or Path
        Files, folders or patterns of images, or predictions. Those without a partner
        are left out: not every image is annotated.
    second : sequence of str or Path
        Files, folders or patterns of labels. Each needs a partner; of the images that
        a file of objects has, one.
    what : str
        What the second files are called in messages. Labels may also be objects in
        files of other programs.
    labels : bool
        Whether the first may be labels, too.

    Raises
    ------
    FileNotFoundError
        If a file, or any image in a folder, is not there.
    ValueError
        If a label file has no partner or might have several, or two have the same one;
        if there are not as many of both to be paired by order.

    Notes
    -----
    The first of these rules that yields a partner holds:

    1. Both were named as files, not found in folders: they are a pair whatever they
       are called (images of one file by their numbers or fields).
    2. Equal paths below what was given, and equal names.
    3. The label's name is the image's with something before or behind it, set off by a
       sign that is neither letter nor digit and without digits of its own
       (``a_cp_masks``, ``seg-a``); of several images the one with the longest name.
    4. Equal letters and numbers of path and name once words that say what a file is
       are left out (``img_1`` and ``mask_1``, ``t000`` and ``man_seg000``), or else
       also zeros in front of numbers (``img_01`` and ``mask_1``).

    Of objects of several images in a file each has the name that the file tells, and a
    movie of the Cell Tracking Challenge that of its folder (``01_RES``), which stands
    for its masks if these have partners.
    """
    pairing = _paired(first, second, by, what, labels=labels)
    if note := left_out([*first, *second]):
        pairing = replace(pairing, sentence=f"{pairing.sentence} {note}")
    return pairing


def _paired(
    first: Sequence[str | Path],
    second: Sequence[str | Path],
    by: By,
    what: str,
    *,
    labels: bool,
) -> Pairing:
    left, right = _found(first, second, what, labels=labels)
    if by == "order":
        return _in_order(left, right, what)
    partners = _Names(left).partners(right)
    movies = any(Path(one).is_dir() and is_objects(one) for one in (*first, *second))
    if movies and not all(partners):
        # masks of time points may be labels of a movie in one file
        both = _found(first, second, what, labels=labels, movies=True)
        if all(whole := _Names(both[0]).partners(both[1])):
            (left, right), partners = both, whole
    chosen: dict[Path, FoundFile] = {}
    found = []
    missing = []
    for label, images in zip(right, partners, strict=True):
        if len(images) > 1:
            raise ValueError(
                f"{label.shown}: may belong to {_listed(images, ' or ')}; a {what} "
                "file needs one image of its name."
            )
        if not images:
            missing.append(label)
            continue
        (image,) = images
        if image.path in chosen:
            raise ValueError(
                f"{image.shown}: has two {what} files, {chosen[image.path].shown} and "
                f"{label.shown}; name those to be used."
            )
        chosen[image.path] = label
        found.append((image, label))
    # of the images in a file some may be elsewhere
    used = {label.file for label in chosen.values() if is_objects(label.path)}
    unused = [label for label in missing if label.rest is None and label.file in used]
    if missing := [label for label in missing if label not in unused]:
        raise _without_partner(missing, left, right, what)
    alone = [file for file in left if file.path not in chosen]
    return _pairing(found, alone, what, unused=unused)


def _found(
    first: Sequence[str | Path],
    second: Sequence[str | Path],
    what: str,
    *,
    labels: bool,
    movies: bool = False,
) -> tuple[list[FoundFile], list[FoundFile]]:
    """Find the files of both kinds, none of them as both."""
    right = found_files(second, labels=what == "label", movies=movies)
    others = {file.path.resolve() for file in right}
    # masks may lie beside the images, in the folder that is given for these
    both = found_files(first, labels=labels, movies=movies)
    left = [f for f in both if f.path.resolve() not in others]
    # images with their annotation drawn on them, among others without any
    drawn_on = [f for f in right if is_objects(f.path)] if what == "label" else []
    return (left, right) if left else (both, drawn_on or right)


def _without_partner(
    missing: Sequence[FoundFile],
    left: Sequence[FoundFile],
    right: Sequence[FoundFile],
    what: str,
) -> ValueError:
    return ValueError(
        f"{len(missing)} of {len(right)} {what} files are without a partner: "
        f"{_listed(missing)}; found {_listed(left) or 'no others'}. Files are "
        "paired by name (a.tif with a.tif, a_mask.tif, seg_a.tif, ...), or as they "
        "are sorted with --pair-by order."
    )


class _Names:
    """Finds files by their distinguishing names."""

    def __init__(self, files: Sequence[FoundFile]) -> None:
        self._all = files
        self._exact = _grouped((_exact(f), f) for f in files)
        self._affixed = _grouped((_folded(f, f.name), f) for f in files)
        self._words = _grouped((_words(f), f) for f in files)
        self._numbers = _grouped((_plain(f), f) for f in files)
        for names in (self._words, self._numbers):
            names.pop((), None)  # nothing told them apart

    def partners(self, labels: Sequence[FoundFile]) -> list[list[FoundFile]]:
        """Return which files each label may belong to."""
        named = self._as_named(labels)
        return named or [
            self._exact.get(_exact(label))
            or self._with_affix(label)
            or self._words.get(_words(label))
            or self._numbers.get(_plain(label), [])
            for label in labels
        ]

    def _as_named(self, labels: Sequence[FoundFile]) -> list[list[FoundFile]] | None:
        """Pair files that a person named on both sides, if that tells all apart."""
        both = [*self._all, *labels]
        if any(file.rest is None for file in both):
            return None
        if len(self._all) == len(labels) == 1:
            return [[*self._all]]
        own = _grouped(((f.folders, f.rest), f) for f in self._all)
        keys = [(label.folders, label.rest) for label in labels]
        unique = len(set(keys)) == len(keys) and all(len(f) == 1 for f in own.values())
        return [own[key] for key in keys] if unique and set(keys) <= set(own) else None

    def _with_affix(self, label: FoundFile) -> list[FoundFile]:
        """Return the files with the longest name that the label begins or ends with."""
        parts: dict[str, None] = {}
        for sign in re.finditer(r"[\W_]", label.name):
            before, after = label.name[: sign.start()], label.name[sign.end() :]
            if not re.search(r"\d", after):
                parts[before] = None
            if not re.search(r"\d", before):
                parts[after] = None
        found: list[FoundFile] = []
        for part in sorted(filter(None, parts), key=len, reverse=True):
            if found and len(part) < len(found[0].name):
                break
            found += self._affixed.get(_folded(label, part), [])
        return found


def _exact(file: FoundFile) -> tuple[str, ...]:
    return *file.folders, file.name


def _folded(file: FoundFile, name: str) -> tuple[str, ...]:
    return *(folder.casefold() for folder in file.folders), name.casefold()


def _words(file: FoundFile) -> tuple[str, ...]:
    """Return the words and numbers of path and name without what a file is."""
    parted = re.sub(r"([a-z])([A-Z])", r"\1 \2", file.name)  # such as maskB
    words = _WORDS.findall(parted.casefold())
    if len(words) == 2 and words[0] == "t" and words[1].isdigit():
        del words[0]  # frames of the Cell Tracking Challenge
    above = _WORDS.findall(" ".join(file.folders).casefold())
    return tuple(word for word in (*above, *words) if word not in _ROLES)


def _plain(file: FoundFile) -> tuple[str, ...]:
    """Leave out zeros that only fill numbers up.

    Not those of movies and their time points: mask001 is none of the movie 01.
    """
    words, path = _words(file), file.path
    if is_objects(path.parent) or (path.is_dir() and is_objects(path)):
        return words
    return tuple(re.sub(r"^0+(?=\d)", "", word) for word in words)


def _grouped(files: Iterable[tuple[Key, FoundFile]]) -> dict[Key, list[FoundFile]]:
    """Return the files of each key."""
    groups: defaultdict[Key, list[FoundFile]] = defaultdict(list)
    for key, file in files:
        groups[key].append(file)
    return dict(groups)


def _in_order(
    left: Sequence[FoundFile], right: Sequence[FoundFile], what: str
) -> Pairing:
    if len(left) != len(right):
        raise ValueError(
            "to be paired by order there need to be as many files of both, found "
            f"{len(left)} and {len(right)} {what} files."
        )
    return _pairing(list(zip(left, right, strict=True)), [], what, " by their order")


def _pairing(
    pairs: Sequence[tuple[FoundFile, FoundFile]],
    alone: Sequence[FoundFile],
    what: str,
    how: str = "",
    unused: Sequence[FoundFile] = (),
) -> Pairing:
    """Return the pairs, with a sentence on them."""
    each = [f"{one.shown} with {other.shown}" for one, other in pairs]
    sentence = f"{counted(len(pairs), 'pair')}{how}: {listed(each)}"
    if alone:
        sentence += f"; {len(alone)} without {what}s left out: {_listed(alone)}"
    if unused:
        each_of = "of an image that is not there", "of images that are not there"
        sentence += f"; {counted(len(unused), *each_of)} left out: {_listed(unused)}"
    return Pairing(
        tuple((one.path, other.path) for one, other in pairs),
        tuple(file.path for file in alone),
        tuple(dict.fromkeys(f.file for pair in (*pairs, alone) for f in pair)),
        f"{sentence}.",
    )


def _listed(files: Sequence[FoundFile], between: str = ", ") -> str:
    return listed([file.shown for file in files], between=between)
