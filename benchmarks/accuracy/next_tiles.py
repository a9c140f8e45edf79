"""Tiles as *Annotate here next* suggests them, against tiles drawn at random.

An annotator is simulated: of a tile its part of the labels is known, and all of it.
From tile to tile the network is trained anew, so that a score depends on tiles and seed
alone, for a budget in steps: what else runs on the machine changes nothing but the
time. Each cell is kept as soon as it is done and not run again.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from statistics import median
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from benchmarks.accuracy.experiment import versions
from benchmarks.accuracy.export import read_sample
from benchmarks.accuracy.result import Record
from benchmarks.accuracy.task import Sample
from benchmarks.accuracy.tasks import TASKS
from napari_unet.core.annotation.annotations import Annotation, ClassInfo
from napari_unet.core.cells.instances import segment_instances
from napari_unet.core.images.image import Image
from napari_unet.core.metrics.objects import average_precision
from napari_unet.core.metrics.pixels import iou
from napari_unet.core.suggestions.known import KnownParts
from napari_unet.core.suggestions.sampling import boxes_of_plane, sample_frames
from napari_unet.core.training.training_settings import Training
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.engine.network.network import prepare
from napari_unet.engine.suggesting import suggest
from napari_unet.engine.training.train import train

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.core.events import (
        PredictionFinished,
        TilesSuggested,
        TrainingFinished,
    )
    from napari_unet.core.geometry.boxes import Box
    from napari_unet.core.model import Model

Way = Literal["random", "next"]

# The cells that are done, in the folder of results.
NEXT = "next.jsonl"
STEPS = 300
# Annotated tiles after which it is judged.
TILES: dict[Way, tuple[int, ...]] = {"random": (1, 8), "next": (1, 2, 4)}
SETS = ("dsb2018", "bbbc039", "usiigaci")
# Of these only the first tile.
FIRST = ("isbi2012", "hela", "fluorescence", "histology", "smear")
SEEDS = range(5)
# Images that are judged, at the most.
_JUDGED = 5
_POOL = {
    "fluorescence": "bbbc038_fluorescence",
    "histology": "bbbc038_histology",
    "smear": "bbbc038_smear",
}

# Number of an image, and a part of it.
Tile = tuple[int, "Box"]


class Measured(Record):
    """What came out of a cell: the score after each number of tiles."""

    cell: str
    scores: dict[int, float]
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Cell:
    """One set, annotated tile by tile in one way."""

    set: str
    way: Way
    seed: int

    @property
    def name(self) -> str:
        """As `--cell` takes it."""
        return f"{self.set}/{self.way}/{self.seed}"

    @property
    def tiles(self) -> tuple[int, ...]:
        """After how many tiles it is judged."""
        return (1,) if self.set in FIRST else TILES[self.way]


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """A set: images that can be annotated, others to judge by, with their labels."""

    images: tuple[Image, ...]
    labels: tuple[NDArray[Any], ...]
    judged: tuple[tuple[Image, NDArray[Any]], ...]
    cells: bool  # whether objects are told apart


def cells() -> list[Cell]:
    """Return all cells, those of the first seed first."""
    return [
        Cell(kind, way, seed)
        for kinds in (SETS, FIRST)
        for seed in SEEDS
        for kind in kinds
        for way in TILES
    ]


def run_next(
    data: Path, output: Path, results: Path, wanted: Sequence[str], device: str
) -> int:
    """Run the cells that are not done, and print the table; return how many failed.

    Arguments are as for `family.run_cells`; nothing is written to `output`.
    """
    chosen = [
        c for c in cells() if not wanted or any(fnmatchcase(c.name, w) for w in wanted)
    ]
    if not chosen:
        raise ValueError(
            f"cells are named SET/WAY/SEED, such as {cells()[0].name}; found "
            f"{' '.join(wanted)}, which is none of them."
        )
    told, failed, material = versions(), 0, _Materials(data)
    for number, cell in enumerate(chosen, start=1):
        # read anew: another run may have done it meanwhile
        if cell.name in read_cells(results):
            continue
        print(f"{number}/{len(chosen)} {cell.name}", flush=True)
        try:
            scores = _measure(cell, material.of(cell.set), device)
        except (OSError, RuntimeError, ValueError) as error:
            print(f"benchmarks.accuracy: {cell.name}: {error}", file=sys.stderr)
            failed += 1
            continue
        found = Measured(cell=cell.name, scores=scores, versions=told)
        results.parent.mkdir(parents=True, exist_ok=True)
        with results.open("a", encoding="utf-8") as file:
            file.write(found.model_dump_json() + "\n")
    print("\n".join(section(read_cells(results))))
    return failed


def read_cells(results: Path) -> dict[str, Measured]:
    """Return the cells that are done, by their names."""
    if not results.exists():
        return {}
    lines = results.read_text(encoding="utf-8").splitlines()
    found = map(Measured.model_validate_json, lines)
    return {cell.cell: cell for cell in found}


def section(done: Mapping[str, Measured]) -> Iterator[str]:
    """Yield the section of the page."""
    yield "## Annotate here next, against tiles drawn at random"
    yield ""
    yield (
        "A simulated annotator labels tiles of 128 × 128 pixels, suggested or drawn at "
        "random; after each number of tiles a small `quick` (width 8, depth 2) "
        f"learns them from scratch for {STEPS} steps. Scores are AP@0.5, of ISBI 2012 "
        "the IoU of membrane, on images that are neither annotated nor looked through; "
        "medians of the seeds. Tiles without any object, from which nothing can be "
        "learnt, have 0."
    )
    yield ""
    if not done:
        yield "No result yet: `python -m benchmarks.accuracy next`."
        yield ""
        return
    yield from _curves(done)
    yield from _firsts(done)
    for one in {str(c.versions): c.versions for c in done.values()}.values():
        yield f"With {', '.join(f'{name} {value}' for name, value in one.items())}."
    yield ""


def _curves(done: Mapping[str, Measured]) -> Iterator[str]:
    counts = sorted({n for tiles in TILES.values() for n in tiles})
    heads = " | ".join(f"after {n}" for n in counts)
    yield f"| set | tiles are | {heads} | pixels to reach what 8 at random do |"
    yield f"|---|---|{'--:|' * len(counts)}--:|"
    for kind in SETS:
        of = {way: _medians(done, kind, way) for way in TILES}
        if not all(of.values()):
            continue
        for way in TILES:
            shown = [f"{of[way][n]:.3f}" if n in of[way] else "–" for n in counts]
            needed = _needed(of["random"], of["next"]) if way == "next" else "100 %"
            yield f"| {kind} | {way} | {' | '.join(shown)} | {needed} |"
    yield ""


def _firsts(done: Mapping[str, Measured]) -> Iterator[str]:
    yield "| set | first tile suggested | median of tiles at random | is |"
    yield "|---|--:|--:|---|"
    better = total = 0
    for kind in (*SETS, *FIRST):
        next_, random = (
            [c.scores[1] for n, c in done.items() if n.startswith(f"{kind}/{way}/")]
            for way in ("next", "random")
        )
        if not next_ or not random:
            continue
        found, usual = median(next_), median(random)
        better, total = better + (found > usual), total + 1
        verdict = "better" if found > usual else "**not better**"
        yield f"| {kind} | {found:.3f} | {usual:.3f} | {verdict} |"
    yield ""
    if total:
        yield f"The first tile is better than the median on {better} of {total} sets."
        yield ""


def _medians(done: Mapping[str, Measured], kind: str, way: Way) -> dict[int, float]:
    of = [done.get(Cell(kind, way, seed).name) for seed in SEEDS]
    found = [cell.scores for cell in of if cell is not None]
    if not found:
        return {}
    return {n: median(scores[n] for scores in found) for n in found[0]}


def _needed(random: Mapping[int, float], next_: Mapping[int, float]) -> str:
    """Return the share of the pixels by which the score of all random tiles is had."""
    most = TILES["random"][-1]
    enough = [n for n, score in next_.items() if score >= random[most]]
    return f"{min(enough) / most:.1%}" if enough else "**over 50 %**"


class _Materials:
    """Reads sets; the last one is kept."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._last: tuple[str, Material] | None = None

    def of(self, kind: str) -> Material:
        """Return a set."""
        if self._last is None or self._last[0] != kind:
            self._last = kind, _read(kind, self._data)
        return self._last[1]


def _read(kind: str, data: Path) -> Material:
    folder, pool, judged = _samples(kind, data)
    axes = "yxc" if kind == "histology" else "yx"
    # of membranes nothing is told apart
    membrane = kind == "isbi2012"

    def one(sample: Sample) -> tuple[Image, NDArray[Any]]:
        pixels, labels = read_sample(sample, data / folder)
        known = (labels == 0) if membrane else labels
        return Image(pixels, axes, name=sample.name), known.astype(np.int32)

    read = [one(sample) for sample in pool]
    return Material(
        tuple(image for image, _ in read),
        tuple(labels for _, labels in read),
        tuple(one(sample) for sample in judged[:: -(-len(judged) // _JUDGED)]),
        not membrane,
    )


def _samples(
    kind: str, data: Path
) -> tuple[str, tuple[Sample, ...], tuple[Sample, ...]]:
    """Return the folder of a set, images that can be annotated, and that are judged."""
    if kind in _POOL:
        folder = f"starter_pool/{_POOL[kind]}"
        names = sorted(p.name for p in (data / folder / "images").glob("*.tif"))
        every = [Sample(n, f"images/{n}", f"labels/{n}") for n in names]
        return folder, tuple(every[::2]), tuple(every[1::2])
    # the report, which that module prints, has this one's section
    from benchmarks.accuracy.trial import trial

    task, left = TASKS[kind], trial(kind, data)
    pool = {s.name: s for s in (*task.learnt, *left.learnt, *left.tested)}
    return task.folder, tuple(pool.values()), task.tested


def _measure(cell: Cell, material: Material, device: str) -> dict[int, float]:
    boxes = [
        (number, box)
        for number, image in enumerate(material.images)
        for box in boxes_of_plane(image)
    ]
    order = np.random.default_rng(cell.seed).permutation(len(boxes))
    tiles: list[Tile] = []
    model: Model | None = None
    scores = {}
    for count in cell.tiles:
        if cell.way == "random":
            tiles = [boxes[k] for k in order[:count]]
        else:
            tiles += _suggested(material, tiles, model, count - len(tiles), device)
        model = _trained(material, tiles, cell.seed, device)
        scores[count] = 0.0 if model is None else _score(material, model, device)
    return scores


def _annotation(material: Material, number: int, tiles: Sequence[Tile]) -> Annotation:
    """Return what is known of an image."""
    labels = material.labels[number]
    known = np.zeros(labels.shape, np.int32)
    for image, box in tiles:
        if image == number:
            known[box] = labels[box] + 1
    kind = "cells" if material.cells else "regions"
    return Annotation(known, (ClassInfo(kind=kind),))


def _suggested(
    material: Material, tiles: list[Tile], model: Model | None, count: int, device: str
) -> list[Tile]:
    def known(number: int) -> KnownParts | None:
        if number not in {image for image, _ in tiles}:
            return None
        annotation = _annotation(material, number, tiles)
        return KnownParts({(0, 0)}, lambda t, z, box: annotation.crop(box))

    told = None if model is None else (prepare(model, device), model.card)
    numbers = range(len(material.images))
    frames = sample_frames([1 for _ in numbers])
    *_, last = suggest(
        material.images, frames, [known(n) for n in numbers], told, count
    )
    chosen = cast("TilesSuggested", last).suggestions
    return [(s.place.image, s.place.box) for s in chosen]


def _trained(
    material: Material, tiles: Sequence[Tile], seed: int, device: str
) -> Model | None:
    numbers = sorted({number for number, _ in tiles})
    known = [_annotation(material, number, tiles) for number in numbers]
    # where people see no object, or nothing else, they have nothing to learn from yet
    values = np.unique(np.concatenate([a.labels.ravel() for a in known]))
    if not (1 in values and values.max() > 1):
        return None
    settings = Training.quick().replace(
        width=8,
        depth=2,
        patch=64,
        steps=STEPS,
        minutes=0.0,
        validation=0.0,
        seed=seed,
    )
    images = [material.images[number] for number in numbers]
    *_, last = train(images, known, settings, device=device)
    return cast("TrainingFinished", last).model


def _score(material: Material, model: Model, device: str) -> float:
    network, found, true = prepare(model, device), [], []
    for image, labels in material.judged:
        *_, last = predict(network, image)
        probabilities = cast("PredictionFinished", last).probabilities
        true.append(labels)
        if material.cells:
            found.append(segment_instances(probabilities, model.card.segmentation))
        else:
            found.append((probabilities[0] < 0.5).astype(np.int32))
    if material.cells:
        return round(float(average_precision(found, true, (0.5,))[0]), 4)
    return round(float(iou(found, true)), 4)
