"""What came out of a benchmark, as it is kept in a JSON file."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from pathlib import Path


class Record(BaseModel):
    """Immutable, and strict about names: an old file is noticed."""

    # a score that is not defined stays NaN in the file
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Spread(Record):
    """The middle and the ends of several values."""

    middle: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """Return the spread of one value or more."""
        return cls(middle=median(values), least=min(values), most=max(values))

    def written(self, form: str) -> str:
        """Write the middle, and the ends in brackets if there are any."""
        middle, least, most = (
            form.format(v) for v in (self.middle, self.least, self.most)
        )
        return middle if least == most else f"{middle} [{least}–{most}]"


class Run(Record):
    """One training with what its model scores.

    Attributes
    ----------
    minutes : float
        Budget.
    seconds : float
        From the start of the training's process to its end.
    prediction_seconds : float
        The same, for all images tested.
    scores : dict of str to float
        All that `evaluate` reports.
    commands : tuple of str
        Training, prediction, evaluation.
    """

    minutes: float
    seed: int
    steps: int
    seconds: float
    prediction_seconds: float
    device: str
    precision: str
    scores: dict[str, float]
    commands: tuple[str, ...]


class Forest(Record):
    """The random forest with the same images in the same run.

    Attributes
    ----------
    settings : str
        What it is and which pixels it learnt.
    seconds : float
        For features and training.
    prediction_seconds : float
        For features and probabilities of all images tested.
    """

    settings: str
    seconds: float
    prediction_seconds: float
    scores: dict[str, float]
    command: str


class Result(Record):
    """One run of a task's benchmark."""

    task: str
    command: str
    versions: dict[str, str]
    runs: tuple[Run, ...] = ()
    forest: Forest | None = None

    def budgets(self) -> list[float]:
        """Return the budgets in minutes, ascending."""
        return sorted({run.minutes for run in self.runs})

    def after(self, minutes: float) -> list[Run]:
        """Return the runs of a budget, in order of their seeds."""
        runs = [run for run in self.runs if run.minutes == minutes]
        return sorted(runs, key=lambda run: run.seed)

    def has(self, score: str, minutes: float) -> bool:
        """Whether a score is known of all runs of a budget: older ones lack some."""
        runs = self.after(minutes)
        return bool(runs) and all(score in run.scores for run in runs)

    def spread(self, score: str, minutes: float) -> Spread:
        """Return a score after a budget, over the seeds."""
        return Spread.of([run.scores[score] for run in self.after(minutes)])

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        temporary = path.with_name(path.name + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)

    @classmethod
    def read(cls, path: Path) -> Result:
        """Read such a file.

        Raises
        ------
        ValueError
            It is none, or of another version of the benchmark.
        """
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(
                f"{path}: is no result of this benchmark; {error}"
            ) from error
