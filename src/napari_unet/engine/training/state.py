"""The state of a training, and its checkpoints."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import TypeAdapter
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from napari_unet import __version__
from napari_unet.core.model import AnyScore, Model, Progress
from napari_unet.core.settings import GrownSettings
from napari_unet.core.training.run_log import Timetable
from napari_unet.core.training.training_set_updates import HeldPart
from napari_unet.engine.network.encoder import learning_groups, notes_of_encoder
from napari_unet.engine.network.network import to_arrays, to_tensors
from napari_unet.engine.network.placing import settle
from napari_unet.io.model_file import Checkpoint

if TYPE_CHECKING:
    from napari_unet.core.model import ModelCard
    from napari_unet.engine.network.layered import LayeredNetwork

_PACKAGES = ("torch", "numpy")
# The decay of the running mean is at most (1 + step) / (this + step).
_MEAN_WARM_UP = 10
# Tensors that an optimiser keeps for each weight.
_REMEMBERED = {"adamw": {"step", "exp_avg", "exp_avg_sq"}, "sgd": {"momentum_buffer"}}


class Record(GrownSettings):
    """The part of the state that is not tensors."""

    later: ClassVar[frozenset[str]] = frozenset({"fold"})

    step: int = 0
    seconds: float = 0.0
    smoothed: float | None = None
    lowest: float | None = None
    best: AnyScore | None = None
    history: tuple[Progress, ...] = ()
    held_out: tuple[HeldPart, ...] = ()
    validation: str | None = None
    # number and total of a network of several; None if it is trained alone
    fold: tuple[int, int] | None = None


class TrainingState:
    """The network, the running mean of its weights, the optimiser and the record.

    The card is that of the model, completed at the end; the module is on its device,
    with its initial weights.
    """

    def __init__(self, card: ModelCard, module: LayeredNetwork) -> None:
        self.card = card
        self.record = Record()
        self.module = module.train()
        settle(self.module, learns=card.precision)
        self.mean = {n: t.detach().clone() for n, t in module.state_dict().items()}
        self.best: dict[str, Tensor] | None = None
        self.optimiser = _optimiser(module, card)
        # as in a `Timetable`; of all steps, also those before a resume
        self.progress: list[float] = []
        self.validated: list[int] = []
        # fingerprint of the data at the start; longer if others were learnt before
        self.learnt = b""

    def average(self, memory: float) -> None:
        """Move the running mean of the weights towards the current ones."""
        step = self.record.step
        memory = min(memory, (1 + step) / (_MEAN_WARM_UP + step))
        now = self.module.state_dict()
        moving = [n for n in now if now[n].is_floating_point()] if memory > 0 else []
        if moving:
            move = get_ema_multi_avg_fn(memory)
            move([self.mean[n] for n in moving], [now[n] for n in moving], step)
        for name in now.keys() - set(moving):
            self.mean[name].copy_(now[name])

    def keep_best(self, score: AnyScore) -> bool:
        """Keep the mean weights if they are better than any before."""
        best = self.record.best
        better = best is None or _rank(score) > _rank(best)
        if better:
            self.record = self.record.replace(best=score)
            self.best = {n: t.clone() for n, t in self.mean.items()}
        return better

    @property
    def timetable(self) -> Timetable:
        """The decisions by the clock so far."""
        seconds = tuple(row.seconds for row in self.record.history)
        return Timetable(
            progress=tuple(self.progress),
            validated=tuple(self.validated),
            seconds=seconds,
        )

    @property
    def begun(self) -> bytes:
        """Card, step, data and versions at the start, to compare processes."""
        seen = (self.card.model_dump_json(), self.record.step, self.learnt.hex())
        return f"{seen} {_versions()}".encode()

    @property
    def is_finite(self) -> bool:
        """Whether all weights, and their means, are finite numbers."""
        tensors = [*self.module.state_dict().values(), *self.mean.values()]
        sums = [t.sum() for t in tensors if t.is_floating_point()]
        return bool(torch.stack(sums).isfinite().all())

    @property
    def last_score(self) -> AnyScore | None:
        """The score of the latest validation."""
        scores = (row.score for row in reversed(self.record.history))
        return next((score for score in scores if score is not None), None)

    def model(self, weights: dict[str, Tensor] | None = None) -> Model:
        """Return a model of some weights, the running mean if not given."""
        record = self.record
        is_best = weights is not None and weights is self.best
        card = self.card.replace(
            steps=record.step,
            history=record.history,
            score=record.best if is_best else self.last_score,
            versions=_versions(),
        )
        return Model(card, to_arrays(self.mean if weights is None else weights))

    def checkpoint(self) -> Checkpoint:
        """Return the state as a checkpoint."""
        tensors = {f"module/{n}": t for n, t in self.module.state_dict().items()}
        tensors |= {f"best/{n}": t for n, t in (self.best or {}).items()}
        for number, values in self.optimiser.state_dict()["state"].items():
            for name, value in values.items():
                tensors[f"optimiser/{number}/{name}"] = torch.as_tensor(value)
        # a step that broke off did not count
        done = self.progress[: self.record.step]
        tensors["log/progress"] = torch.tensor(done, dtype=torch.float64)
        tensors["log/validated"] = torch.tensor(self.validated, dtype=torch.int64)
        tensors["log/learnt"] = torch.tensor(list(self.learnt), dtype=torch.uint8)
        return Checkpoint(
            self.model().in_own_pixels(),
            to_arrays(tensors),
            self.record.model_dump_json(),
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restore the state from a checkpoint.

        A KeyError, RuntimeError or ValueError says that something of it is missing, or
        is not of this network.
        """
        tensors = {n: torch.from_numpy(t.copy()) for n, t in checkpoint.tensors.items()}

        def part(name: str) -> dict[str, Tensor]:
            return {
                n.removeprefix(name): t
                for n, t in tensors.items()
                if n.startswith(name)
            }

        self.record = TypeAdapter(Record).validate_json(checkpoint.progress)
        self.module.load_state_dict(part("module/"))
        device = next(self.module.parameters()).device
        mean, best = to_tensors(checkpoint.model.weights), part("best/")
        for which in (mean, best) if best else (mean,):
            if {n: t.shape for n, t in which.items()} != {
                n: t.shape for n, t in self.mean.items()
            }:
                raise ValueError("its weights are not those of the network")
        for name, weight in mean.items():
            self.mean[name].copy_(weight)
        self.best = {n: t.to(device) for n, t in best.items()} or None
        log = part("log/")
        if log:  # checkpoints had none at first
            self.progress = log["progress"].tolist()
            self.validated = log["validated"].tolist()
            self.learnt = bytes(log["learnt"].tolist())
        parameters = list(self.module.parameters())
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in part("optimiser/").items():
            number, name = key.split("/")
            if value.ndim:
                # in the layout of its parameter, or sums would round differently
                value = torch.empty_like(parameters[int(number)]).copy_(value)
            state.setdefault(int(number), {})[name] = value
        known = _REMEMBERED[self.card.training.optimiser]
        if state and (
            len(state) != len(parameters)
            or any(set(s) != known for s in state.values())
        ):
            raise ValueError("what the optimiser remembers is not complete")
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": state, "param_groups": groups})


def _versions() -> tuple[str, ...]:
    return (
        f"napari-unet {__version__}",
        *(f"{p} {version(p)}" for p in _PACKAGES),
    )


def _rank(score: AnyScore) -> tuple[float, float]:
    return score.quality, -score.loss


def _optimiser(module: LayeredNetwork, card: ModelCard) -> torch.optim.Optimizer:
    settings = card.training
    groups = learning_groups(module, pretrained=bool(notes_of_encoder(card)))
    if settings.optimiser == "sgd":
        return torch.optim.SGD(
            groups,
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
    return torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        betas=(settings.momentum, 0.999),
        weight_decay=settings.weight_decay,
        fused=True,
    )
