"""What one row of the benchmark is: images to learn from, images to judge by."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sample:
    """An image with its labels.

    Attributes
    ----------
    name : str
        Under which both are exported: the commands pair files by name.
    image, labels : str
        Files in the task's folder.
    planes : range or None
        Pages of stacks to take, a single one as a plane; None takes the file as it is.
    """

    name: str
    image: str
    labels: str
    planes: range | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What a score has to reach after a budget.

    Attributes
    ----------
    score : str
        A name that `evaluate` reports.
    minutes : float
        Budget that it holds for.
    at_most, at_least : float
        Bounds of the median over the seeds.
    relative : bool
        Whether the bounds are shares of the reference: the random forest's score, or
        that of the task with full labels.
    """

    score: str
    minutes: float
    at_most: float = inf
    at_least: float = -inf
    relative: bool = False

    def met(self, value: float) -> bool:
        """Whether a score, or its ratio to the reference, is within the bounds."""
        return self.at_least <= value <= self.at_most

    def __str__(self) -> str:
        bounds = []
        if self.at_most < inf:
            bounds.append(f"≤ {self.at_most:g}")
        if self.at_least > -inf:
            bounds.append(f"≥ {self.at_least:g}")
        return " and ".join(bounds) + (" × reference" if self.relative else "")


@dataclass(frozen=True, slots=True)
class Task:
    """A split of a dataset, how it is learnt and how it is judged.

    Attributes
    ----------
    name : str
        Of the subcommand, the results and the folder they are made in.
    title : str
        One line for the report.
    folder : str
        Of the dataset, inside the folder of all data.
    learnt, tested : tuple of Sample
    labels : {"instances", "binary", "semantic", "annotation"}
        What label values mean, for `train`.
    metrics : tuple of str
        For `evaluate`.
    shown : tuple of str
        The scores out of its results that the report shows.
    save : str
        Kinds of prediction that the metrics read, for `predict`.
    minutes : tuple of float
        Budgets, each trained from scratch.
    seeds : tuple of int
    axes : str or None
        Axes of the files where these are stacks.
    training, prediction, evaluation : tuple of str
        Further options of `train`, `predict` and `evaluate`.
    forest : bool
        Whether the random forest learns the same images in the same run; it needs
        two-dimensional images.
    targets : tuple of Target
    scribbles : bool
        Whether only strokes of the labels are learnt, see `scribbles`.
    full : str or None
        The task that this one is compared with: of the same images all labels, the
        whole recipe, or a start from scratch.
    membrane : int or None
        Where the labels are grey values: the largest that is membrane, exported as 0
        and all else as 255.
    starter : str or None
        Model of the package, or a file, that predicts without any training; the
        budget is 0.
    trained : str or None
        The task whose models predict here too, in another way; it has to be run first.
    """

    name: str
    title: str
    folder: str
    learnt: tuple[Sample, ...]
    tested: tuple[Sample, ...]
    labels: Literal["instances", "binary", "semantic", "annotation"]
    metrics: tuple[str, ...]
    shown: tuple[str, ...]
    save: str = "instances"
    minutes: tuple[float, ...] = (5.0,)
    seeds: tuple[int, ...] = (0,)
    axes: str | None = None
    training: tuple[str, ...] = ()
    prediction: tuple[str, ...] = ()
    evaluation: tuple[str, ...] = ()
    forest: bool = False
    targets: tuple[Target, ...] = ()
    scribbles: bool = False
    full: str | None = None
    membrane: int | None = None
    starter: str | None = None
    trained: str | None = None

    @property
    def truth(self) -> str:
        """What label values mean, for `evaluate`: strokes are only learnt from."""
        if self.labels != "annotation":
            return self.labels
        return "instances" if "instances" in self.save else "binary"

    def files(self, data: Path) -> list[Path]:
        """Return every file the task reads, for the folder of all data."""
        return [
            data / self.folder / file
            for sample in (*self.learnt, *self.tested)
            for file in (sample.image, sample.labels)
        ]

    def check(self, data: Path) -> None:
        """Refuse to start without the data.

        Raises
        ------
        FileNotFoundError
            A file that the task reads is not there.
        """
        missing = [file for file in self.files(data) if not file.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{self.name}: {len(missing)} file(s) are missing, such as "
                f"{missing[0]}; --data names the folder of all datasets."
            )

    def target(self, score: str, minutes: float) -> Target | None:
        """Return the target of a score after a budget, if it has one."""
        found = (t for t in self.targets if (t.score, t.minutes) == (score, minutes))
        return next(found, None)


def left(task: Task, data: Path) -> tuple[Sample, ...]:
    """Return the images of a task's folder that are neither learnt nor tested.

    Parameters
    ----------
    task : Task
        Of images and labels of the same names in two folders.
    data : Path
        Folder of all datasets.
    """
    used = {sample.name for sample in (*task.learnt, *task.tested)}
    names = sorted(p.stem for p in (data / task.folder / "images").glob("*.tif"))
    return tuple(
        Sample(name, f"images/{name}.tif", f"labels/{name}.tif")
        for name in names
        if name not in used
    )
