"""Folders of the Cell Tracking Challenge: a label image per time point, and tracks.

http://celltrackingchallenge.net/submission-of-results: `maskTTT.tif` of 16 bits for
each time point from 000 on, and `res_track.txt` with a line `L B E P` for each track:
its label, first and last time point, and the label of its parent or 0. A label is in
all time points of its track. The ground truth has the same as `man_track`, and
`SEG/man_segTTT.tif`, usually of some time points.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_unet.core.cells.label_ids import distinct, positions
from napari_unet.core.cells.objects import Objects
from napari_unet.core.images.image import Image
from napari_unet.core.text import counted, listed, printable
from napari_unet.io.atomic import atomic
from napari_unet.io.images import read_labels
from napari_unet.io.names import image_name
from napari_unet.io.objects.label_images import fitted
from napari_unet.io.system_files import is_of_system

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_HIGHEST = 2**16 - 1
_TRACKS = {"mask": "res_track.txt", "man_track": "man_track.txt"}
_FRAME = re.compile(
    r"(mask|man_track|man_seg)_?(\d{3,})((?:_\d+)?)\.tif", re.IGNORECASE
)


_RESULT = re.compile(r"mask\d{3,}\.tif")


class _Track(NamedTuple):
    label: int
    first: int
    last: int
    parent: int = 0


def write(path: Path, objects: Objects) -> None:
    """Write the labels of each time point and the tracks.

    An object that is missing for some time points continues with a new label, whose
    parent is the old one. The parent of a daughter is the label of the time point
    before; an object that is still there afterwards is not a parent.
    """
    shown = printable(path)
    if path.exists() and not (path.is_dir() and all(map(_is_ours, path.iterdir()))):
        raise FileExistsError(
            f"{shown}: exists and holds more than masks and tracks, so it is not "
            "replaced."
        )
    labels = objects.labels
    tracks, renamed = _tracks(objects)
    highest = max((track.label for track in tracks), default=0)
    if highest > _HIGHEST:
        raise ValueError(
            f"{shown}: the Cell Tracking Challenge has labels up to {_HIGHEST}, found "
            f"{highest}; write GeoJSON or OME-Zarr, or number the cells anew."
        )
    digits = max(3, len(str(labels.size("t") - 1)))
    with atomic(path) as temporary:
        temporary.mkdir()
        for t, frame in enumerate(_frames(objects)):
            _write_frame(
                temporary / f"mask{t:0{digits}}.tif", frame, renamed.get(t, {})
            )
        lines = (" ".join(map(str, track)) + "\n" for track in tracks)
        (temporary / _TRACKS["mask"]).write_text("".join(lines), encoding="ascii")


def read(path: Path, like: Image | None = None) -> Objects:
    """Read results, or the ground truth from its folder SEG or TRA.

    A label that begins after a gap with the label before it as parent, and is the only
    one, is the same object. Without a file of tracks labels of different time points
    are unrelated and renumbered.
    """
    kind, files = _files(path)
    frames: list[Image] = []
    for file in files:
        frame = read_labels(file)
        if "t" in frame.axes or (frames and frame.data.shape != frames[0].data.shape):
            raise ValueError(
                f"{printable(file)}: its shape {frame.data.shape} is not that of the "
                f"time before it, {(frames or [frame])[-1].data.shape}."
            )
        frames.append(frame)
    data = np.stack([frame.read() for frame in frames])
    notes: tuple[str, ...] = ()
    parent_of: dict[int, int] = {}
    tracks = files[0].with_name(_TRACKS.get(kind, "-"))
    if tracks.exists():
        data, parent_of = _joined(data, _read_tracks(tracks, data))
    elif len(data) > 1:
        data = _apart(data)
        notes = ("there are no tracks: each object is of one time, and numbered anew.",)
    axes = "t" + frames[0].axes
    image = Image(data, axes, frames[0].known_um, image_name(path), notes)
    return Objects(fitted(path, image, like), parent_of=parent_of)


def has_masks(folder: Path) -> bool:
    """Whether a folder, or its SEG or TRA, has the masks of time points."""
    folders = (folder, folder / "SEG", folder / "TRA")
    files = (file for one in folders if one.is_dir() for file in one.iterdir())
    return any(_FRAME.fullmatch(file.name) for file in files)


def _is_ours(file: Path) -> bool:
    is_result = _RESULT.fullmatch(file.name) or file.name == _TRACKS["mask"]
    return bool(is_result) or is_of_system(file.name)


def _frames(objects: Objects) -> Iterator[NDArray[np.integer]]:
    """Yield the ids of each time point, ([z,] y, x)."""
    depth = objects.labels.size("z")
    slices = []
    for plane in objects.planes():
        slices.append(plane.ids)
        if len(slices) == depth:
            yield np.stack(slices) if "z" in objects.labels.axes else slices[0]
            slices = []


def _tracks(objects: Objects) -> tuple[list[_Track], dict[int, dict[int, int]]]:
    """Return the tracks, and for each time point the new labels by id."""
    times: dict[int, list[int]] = {}
    for t, frame in enumerate(_frames(objects)):
        for label in distinct(frame).tolist():
            if label > 0:
                times.setdefault(label, []).append(t)
    tracks: dict[int, list[_Track]] = {}  # by object: its parts without gaps, in order
    renamed: dict[int, dict[int, int]] = {}
    unused = (label for label in count(1) if label not in times)
    for label, seen in sorted(times.items()):
        gaps = np.flatnonzero(np.diff(seen) > 1) + 1
        own: list[_Track] = []
        for run in np.split(np.array(seen), gaps):
            name = next(unused) if own else label
            if own:
                for t in run.tolist():
                    renamed.setdefault(t, {})[label] = name
            parent = own[-1].label if own else 0
            own.append(_Track(name, int(run[0]), int(run[-1]), parent))
        tracks[label] = own
    for label, mother in objects.parent_of.items():
        first = tracks[label][0] if label in tracks else None
        last = tracks[mother][-1] if mother in tracks else None
        if first is not None and last is not None and last.last < first.first:
            tracks[label][0] = first._replace(parent=last.label)
    return [track for own in tracks.values() for track in own], renamed


def _write_frame(
    file: Path, frame: NDArray[np.integer], renamed: Mapping[int, int]
) -> None:
    import tifffile

    tifffile.imwrite(
        file,
        _renamed(frame, renamed).astype(np.uint16),
        photometric="minisblack",
        compression="zlib",
        metadata=None,
    )


def _renamed(ids: NDArray[np.integer], names: Mapping[int, int]) -> NDArray[np.integer]:
    """Replace some ids; the others stay."""
    before = distinct(ids)
    after = np.array([names.get(i, i) for i in before.tolist()], np.uint32)
    return after[positions(before, ids)]


def _files(path: Path) -> tuple[str, list[Path]]:
    """Return the kind of the label images in a folder, and these in order of time."""
    shown = printable(path)
    if not path.is_dir():
        raise FileNotFoundError(f"{shown}: there is no such folder.")
    kinds: dict[str, dict[str, Path]] = {}
    for file in path.iterdir():
        if match := _FRAME.fullmatch(file.name):
            time = match[2] + match[3]
            kinds.setdefault(match[1].lower(), {})[time] = file
    if not kinds:
        below = [path / name for name in ("SEG", "TRA") if (path / name).is_dir()]
        if len(below) == 1:
            return _files(below[0])
        if below:
            raise ValueError(
                f"{shown}: it holds SEG (masks, mostly of some times only) and TRA "
                f"(all cells, sometimes only marked); name one, as in {shown}/TRA."
            )
        raise ValueError(f"{shown}: it holds no maskTTT.tif, man_track or man_seg.")
    if len(kinds) > 1:
        raise ValueError(f"{shown}: it holds {' and '.join(sorted(kinds))}, not one.")
    ((kind, found),) = kinds.items()
    times = sorted(found)
    if [t for t in times if not t.isdecimal()] or sorted(map(int, times)) != list(
        range(len(times))
    ):
        raise ValueError(
            f"{shown}: it holds {counted(len(times), 'mask')} ({listed(times)}) and "
            "not those of all times from 000 on; the others would count as empty: read "
            "the files one by one."
        )
    return kind, [found[t] for t in sorted(times, key=int)]


def _read_tracks(file: Path, data: NDArray[np.integer]) -> list[_Track]:
    """Read the tracks; ValueError if they are not those of labels (t, [z,] y, x)."""
    shown = printable(file)
    tracks = []
    text = file.read_bytes().decode("ascii", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if len(words) != 4 or not all(re.fullmatch(r"\d{1,9}", w) for w in words):
            raise ValueError(
                f"{shown}: line {number} is not four numbers (label, first and last "
                f"time, parent), found {printable(line[:40])!r}."
            )
        tracks.append(_Track(*map(int, words)))
    told = {(t.label, time) for t in tracks for time in (t.first, t.last)}
    seen = {
        (label, time)
        for time, frame in enumerate(data)
        for label in distinct(frame).tolist()
    }
    labels = {track.label for track in tracks}
    alien = {label for label, _ in seen} - labels - {0}
    if alien or told - seen or len(labels) < len(tracks):
        raise ValueError(f"{shown}: its tracks are not those of the masks.")
    return tracks


def _joined(
    data: NDArray[np.integer], tracks: list[_Track]
) -> tuple[NDArray[np.integer], dict[int, int]]:
    """Give the parent's label to an only child that appears after a gap.

    Returned are the labels, and the parents that are left.
    """
    lasts = {track.label: track.last for track in tracks}
    children = Counter(track.parent for track in tracks)
    names: dict[int, int] = {}
    for track in sorted(tracks, key=lambda track: track.first):
        gap = track.first > lasts.get(track.parent, track.first) + 1
        if gap and children[track.parent] == 1:
            names[track.label] = names.get(track.parent, track.parent)
    parent_of = {
        track.label: names.get(track.parent, track.parent)
        for track in tracks
        if track.parent and track.label not in names
    }
    return _renamed(data, names), parent_of


def _apart(data: NDArray[np.integer]) -> NDArray[np.uint32]:
    """Renumber the objects of each time point after those of the time points before."""
    apart, last = np.zeros(data.shape, np.uint32), 0
    for t, frame in enumerate(data):
        ids = distinct(frame)
        ids = ids[ids > 0].tolist()
        apart[t] = _renamed(frame, dict(zip(ids, count(last + 1), strict=False)))
        last += len(ids)
    return apart
