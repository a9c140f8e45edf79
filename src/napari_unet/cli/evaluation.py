"""Predictions beside the truth: paired, read, and measured with the field's metrics."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_unet.cli.labels import known_kind, meaning_of, read_named
from napari_unet.cli.notes import notes_of
from napari_unet.cli.pairing import pair_files
from napari_unet.cli.predictions import (
    Predictions,
    check_prediction,
    read_prediction,
    source_of,
)
from napari_unet.core.annotation.annotations import FIRST_OBJECT, IGNORED
from napari_unet.core.annotation.label_kind import MEANINGS
from napari_unet.core.annotation.pairing import annotations_of, check_values
from napari_unet.core.cells.labelmap import mostly_within
from napari_unet.core.metrics import METRICS, ap
from napari_unet.core.text import sentence
from napari_unet.io.atomic import check_separate
from napari_unet.io.label_files import needs_image
from napari_unet.io.prediction_folder import RECORD
from napari_unet.io.provenance import read_provenance

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_unet.cli.pairing import By
    from napari_unet.cli.predictions import Source, Wants
    from napari_unet.core.annotation.annotations import Annotation, Kind
    from napari_unet.core.images.image import Image
    from napari_unet.core.metrics import Metric

    Pages = list[NDArray[Any]]


def evaluate(
    predictions: str | Path,
    truth: Sequence[str | Path],
    metrics: Sequence[str],
    **options: Any,
) -> dict[str, float]:
    """Measure predictions with metrics by their names; options as of `Evaluation`.

    ValueError also if some of the pairs cannot be compared.
    """
    evaluation = Evaluation(predictions, truth, **options)
    scores = evaluation.scores(metrics)
    if evaluation.problems:
        raise ValueError(" ".join(evaluation.problems))
    return scores


class _Pair(NamedTuple):
    """What is compared."""

    file: Path  # of the truth
    truth: Image
    found: Mapping[Source, tuple[Path, Image]]  # metrics may want several predictions


@dataclass(slots=True, eq=False)
class Evaluation:
    """Predictions beside the truth, files paired and stacks compared page by page.

    Attributes
    ----------
    predictions : str or Path
        Folder that `predict` wrote, or files.
    truth : sequence of str or Path
        Label files, folders or patterns. Pixels that are not annotated do not count.
    volumes : bool
        Whether the slices of a z-stack belong together.
    axes : str or None
        Axes of label files that do not say.
    kind : {"instances", "binary", "semantic", "annotation", "sparse"} or None
        What the values of the truth mean; guessed from all of them if not given.
    by : {"name", "order"}
        How files are paired.
    output : str or None
        File that will be written; none of those that are read.
    ignore_below : int or None
        Size in pixels, or voxels, below which objects do not count in a second set of
        the scores of `ap`, named `..._ignore_below_N`.
    notes : list of str
        What was chosen, in sentences.
    pairs : list of dict
        The files that were compared, for programs.
    problems : list of str
        Why others were not: a sentence for each pair.
    """

    predictions: str | Path
    truth: Sequence[str | Path]
    volumes: bool = False
    axes: str | None = None
    kind: Kind | None = None
    by: By = "name"
    output: str | None = None
    ignore_below: int | None = None
    notes: list[str] = field(default_factory=list, init=False)
    pairs: list[dict[str, str]] = field(default_factory=list, init=False)
    problems: list[str] = field(default_factory=list, init=False)
    _known: list[Annotation] = field(default_factory=list, init=False)
    _models: dict[str, str] = field(default_factory=dict, init=False)

    @property
    def _ndim(self) -> int:
        return 3 if self.volumes else 2

    @property
    def _of_predictions(self) -> Kind:
        """What values of predictions mean if they mean that of the truth."""
        # of which every pixel is known
        return "semantic" if self.kind == "sparse" else self.kind or "instances"

    def scores(self, metrics: Sequence[str]) -> dict[str, float]:
        """Return what each metric measures, pooled over all pairs that are sound.

        Nothing if none is: see `problems`.

        Raises
        ------
        ValueError
            If files do not go together, the meaning of their values is unclear, or a
            metric needs what is not there.
        """
        wants = dict.fromkeys(METRICS[name].wants for name in metrics)
        sources = {one: source_of(self.predictions, one) for one in wants}
        pairs = self._read([*dict.fromkeys(sources.values())])
        given = self._given_kind(pairs)
        pairs = self._sound(pairs, given)
        if not pairs:
            return {}
        self._find_meaning([pair.truth for pair in pairs], given)
        found = {
            one: self._predictions(source, pairs, one)
            for one, source in sources.items()
        }
        results: dict[str, float] = {}
        for name in metrics:
            metric = METRICS[name]
            results |= self._measure(name, metric, *found[metric.wants])
        return results

    def _read(self, sources: Sequence[Source]) -> list[_Pair]:
        """Pair the files and read them."""
        paired = [self._paired(source) for source in sources]
        pairs = []
        for file in paired[0]:
            with self._listed():
                files = [predictions[file] for predictions in paired]
                pairs.append(self._read_pair(file, sources, files))
        return pairs

    def _paired(self, source: Source) -> dict[Path, Path]:
        """Return the prediction of each file of the truth."""
        pairing = pair_files([source.path], self.truth, self.by, labels=True)
        if self.output is not None and self.output != "-":
            record = Path(self.predictions) / RECORD
            check_separate(self.output, (*pairing.files, record))
        for note in pairing.notes():
            self._note(note)
        return {truth: prediction for prediction, truth in pairing.pairs}

    def _read_pair(
        self, file: Path, sources: Sequence[Source], files: Sequence[Path]
    ) -> _Pair:
        found: dict[Source, tuple[Path, Image]] = {}
        truth: Image | None = None
        for source, other in zip(sources, files, strict=True):
            # outlines have the size of the other image
            like = read_named(file, self.axes) if needs_image(other) else None
            image = read_prediction(other, source.saved_kind, like)
            if truth is None:
                like = None if needs_image(other) else image
                truth = read_named(file, self.axes, like)
            _check_sizes(image, truth, self._ndim)
            found[source] = other, image
        if truth is None:
            raise RuntimeError("no metric is asked for")
        return _Pair(file, truth, found)

    def _sound(self, pairs: Sequence[_Pair], given: Kind | None) -> list[_Pair]:
        """Leave out pairs whose values cannot mean what they should."""
        sound = []
        for pair in pairs:
            with self._listed():
                check_values(pair.truth, given)
                for source, (_, image) in pair.found.items():
                    check_prediction(image, source.saved_kind, given)
                sound.append(pair)
        return sound

    @contextmanager
    def _listed(self) -> Iterator[None]:
        """Go on with the other pairs if there is something wrong with one."""
        try:
            yield
        except (ValueError, OSError) as error:
            self.problems.append(sentence(error))

    def _given_kind(self, pairs: Sequence[_Pair]) -> Kind | None:
        """Return what the values of the truth mean, unless that is to be guessed."""
        given = self.kind or known_kind([pair.file for pair in pairs])
        if given is not None or not pairs:
            return given
        source = next(iter(pairs[0].found))
        if source.saved_kind in ("classes", "probabilities"):
            parted = Predictions(
                [pair.found[source][1] for pair in pairs], source.saved_kind, self._ndim
            ).values()
            if len(parted) > 1 and _highest(pair.truth for pair in pairs) <= max(
                parted
            ):
                self._note(f"truth: {MEANINGS['semantic']}, as in the predictions.")
                return "semantic"
        return None

    def _find_meaning(self, masks: Sequence[Image], given: Kind | None) -> None:
        """Find what is known of each page."""
        self.kind, notes = meaning_of(masks, given, "truth")
        for note in (*notes, *notes_of(masks)):
            self._note(note)
        self._known = annotations_of(masks, self._ndim, self.kind)

    def _predictions(
        self, source: Source, pairs: Sequence[_Pair], wants: Wants
    ) -> tuple[Predictions, Kind]:
        """Return the predictions that a metric wants, and what their values mean."""
        files = [pair.found[source][0] for pair in pairs]
        images = [pair.found[source][1] for pair in pairs]
        of_cells = known_kind(files) is not None
        predictions = Predictions(
            images, source.saved_kind, self._ndim, of_cells=of_cells
        )
        for file, pair in zip(files, pairs, strict=True):
            row = {"prediction": str(file), "truth": str(pair.file)}
            if row not in self.pairs:
                self.pairs.append(row)
        classes = len(self._known[0].classes)
        meaning = predictions.kind(self._of_predictions, wants, classes)
        if source.saved_kind is None and not (of_cells or wants == "probability"):
            self._note(f"predictions: {MEANINGS[meaning]} (guessed).")
        for note in notes_of(images):
            self._note(note)
        self._check_origin(files)
        return predictions, meaning

    def _check_origin(self, files: Sequence[Path]) -> None:
        """Say if predictions are of several models, as an interrupted run leaves."""
        made = [found for file in files if (found := read_provenance(file))]
        self._models |= {one.model_sha256: one.model for one in made}
        if len(self._models) > 1:
            self._note(
                f"predictions: they are of {len(self._models)} models, "
                f"{' and '.join(sorted(self._models.values()))}."
            )

    def _measure(
        self, name: str, metric: Metric, predictions: Predictions, kind: Kind
    ) -> dict[str, float]:
        classes = [page.class_image() for page in self._known]
        known = [page != IGNORED for page in classes]
        if metric.wants == "instances":
            truth = [_objects(page) for page in self._known]
            both = zip(predictions.objects(kind), known, strict=True)
            objects = [mostly_within(p, k) for p, k in both]
            if not any(page.any() for page in (*objects, *truth)):
                self._note(
                    "there is no object, neither in the truth nor predicted: scores of "
                    "objects are 0 by convention and say nothing."
                )
            scores = metric.measure(objects, truth)
            size = self.ignore_below if name == "ap" else None
            larger = {} if size is None else ap(objects, truth, size)
            return scores | {f"{s}_ignore_below_{size}": larger[s] for s in larger}
        several = self._of_predictions == kind == "semantic"
        found: Pages
        if metric.wants == "classes":
            found = predictions.classes(kind)
            # predictions of one class, of whatever value, part objects and background
            several &= len(predictions.values()) > 1
        else:
            found, several = predictions.probabilities(), False
        if not several:
            classes = [np.minimum(page, 1) for page in classes]
            if metric.wants == "classes":
                found = [(page > 0).astype(np.uint8) for page in found]
        if not all(page.all() for page in known):
            if not metric.pixelwise:
                raise ValueError(
                    f"{name} needs to know every pixel, but some of the truth are not "
                    "annotated (0)."
                )
            found, classes = _only(found, known), _only(classes, known)
        return metric.measure(found, classes)

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)


def _only(pages: Pages, known: Sequence[NDArray[np.bool_]]) -> Pages:
    """Return the pixels that are known, pages as lines, without pages of none."""
    lines = [p[k][np.newaxis] for p, k in zip(pages, known, strict=True)]
    return [line for line in lines if line.size]


def _objects(page: Annotation) -> NDArray[Any]:
    """Return the ids of the objects of a page, from 1 on."""
    return np.where(page.labels >= FIRST_OBJECT, page.labels - 1, 0)


def _highest(masks: Iterable[Image]) -> int:
    fields = (field for mask in masks for field in mask.fields(2))
    return max(int(field.read().max()) for field in fields)


def _check_sizes(prediction: Image, truth: Image, ndim: int) -> None:
    sizes = {a: (prediction.size(a), truth.size(a)) for a in "yx"}
    both = prediction, truth
    # slices of times follow each other as pages do, but not in two ways
    if ndim == 3 or all(min(one.size("t"), one.size("z")) > 1 for one in both):
        sizes |= {a: (prediction.size(a), truth.size(a)) for a in "tz"}
    pages = prediction.size("t") * prediction.size("z")
    sizes["pages"] = pages, truth.size("t") * truth.size("z")
    for axis, (found, wanted) in sizes.items():
        if found != wanted:
            raise ValueError(
                f"{prediction.name}: prediction and truth must have equal sizes, found "
                f"{found} and {wanted} along {axis}."
            )
