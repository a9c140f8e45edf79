"""A model made ready to compute: on its device, in its precision and memory layout."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn

from napari_unet.core.images.rescaling import rescaling
from napari_unet.core.network.blended import Blended, geometry_of
from napari_unet.core.network.opaque import Opaque
from napari_unet.engine.allocator import keep_freed_memory
from napari_unet.engine.device import (
    Precision,
    choose_device,
    choose_precision,
    dtype,
    is_out_of_memory,
)
from napari_unet.engine.network.blending import blend
from napari_unet.engine.network.layered import LayeredNetwork
from napari_unet.engine.network.opaque import OpaqueNetwork, opaque_network
from napari_unet.engine.network.placing import settle
from napari_unet.engine.network.softmax import softmax

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_unet.core.images.image import Image
    from napari_unet.core.images.image_outputs import ImageOutputs
    from napari_unet.core.images.normalisation import Normalisation
    from napari_unet.core.model import Model, ModelCard
    from napari_unet.core.network.geometry import Geometry, Layered
    from napari_unet.core.settings import Prediction, Segmentation

Averaging = Literal["none", "dihedral"]


@dataclass(frozen=True, slots=True, eq=False)
class PendingResult:
    """Probabilities, or an image, that a device is perhaps still computing."""

    tensor: Tensor
    ready: torch.cuda.Event | None = None

    @classmethod
    def of(cls, tensor: Tensor) -> PendingResult:
        """Begin to bring the probabilities of a device into the memory of the CPU."""
        if tensor.device.type != "cuda":
            return cls(tensor.cpu())
        copy = torch.empty_like(tensor, device="cpu", pin_memory=True)
        copy.copy_(tensor, non_blocking=True)
        ready = torch.cuda.Event()
        ready.record()
        return cls(copy, ready)

    def result(self) -> NDArray[np.float32]:
        """Wait for the values, (classes, [z,] y, x); probabilities are in [0, 1]."""
        if self.ready is not None:
            self.ready.synchronize()
        found: NDArray[np.float32] = self.tensor.numpy()
        return found


class MeanOfNetworks(nn.Module):
    """Networks of one architecture, whose scores give the mean of their answers.

    The answers are probabilities, scores or images.
    """

    def __init__(self, members: Iterable[LayeredNetwork], *, images: bool) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self._plain = images or self.architecture.mean_of == "scores"

    @property
    def architecture(self) -> Layered:
        """Of each of them."""
        first: LayeredNetwork = self.members[0]  # type: ignore[assignment]
        return first.architecture

    def forward(self, window: Tensor) -> Tensor:
        """Return the mean, of probabilities as what the softmax gives back."""
        each = torch.stack([one(window).float() for one in self.members])
        if self._plain:
            return each.mean(dim=0)
        return torch.log(softmax(each, dim=2).mean(dim=0))


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A network in eval mode, with where and how it computes."""

    module: LayeredNetwork | MeanOfNetworks | OpaqueNetwork
    device: torch.device
    precision: Precision
    # pixel size of what it sees along ([z,] y, x), in micrometres
    spacing_um: tuple[float, ...] | None
    # rule for the grey values that it learnt from
    normalisation: Normalisation
    # of a network that makes an image, and no probabilities
    outputs: ImageOutputs | None = None
    # size at which it saw the training images, as a share of their own
    scale: float = 1.0

    @property
    def geometry(self) -> Geometry:
        """Sizes and work of what predicts."""
        return geometry_of(self.module.architecture)

    def factors(self, image: Image, settings: Prediction) -> tuple[float, ...] | None:
        """Return by how much an image is resampled; None if it is not.

        An image whose pixel size is not to count is taken as the training images were.
        """
        ndim = self.geometry.ndim
        own = image.known_um if settings.rescale else None
        return rescaling(self.spacing_um, own, ndim, image.name, self.scale)

    def for_image(
        self, segmentation: Segmentation, factors: tuple[float, ...] | None
    ) -> Segmentation:
        """Return what settings, made for the pixels of the training images, are on one.

        The factors are those of the image.
        """
        seen = factors or (1.0,) * self.geometry.ndim
        return segmentation.for_pixels([factor / self.scale for factor in seen])

    def probabilities(
        self, window: NDArray[np.float32], averaging: Averaging = "none"
    ) -> NDArray[np.float32]:
        """Run the network on one window; see `start`."""
        return self.start(window, averaging).result()

    @torch.inference_mode()
    def of_patch(self, patch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities of a patch, run once as in training."""
        batch = torch.from_numpy(patch)[None].to(self.device, dtype(self.precision))
        return PendingResult.of(self._said(self._mean(batch, "none"))[0]).result()

    @torch.inference_mode()
    def start(
        self, window: NDArray[np.float32], averaging: Averaging = "none"
    ) -> PendingResult:
        """Begin to run the network on one window.

        A GPU computes on its own from here; the CPU has computed when this returns.

        The window is normalised, (channels, [z,] y, x), of a valid input size.
        "dihedral" takes the mean over the 8 mirrored and rotated views in the y-x
        plane; the window is turned, not the plan of tiles, so the result does not
        depend on the tile size. So is each window of those that are blended, one that
        is not square by halves, which are 4 views.
        """
        batch = torch.from_numpy(window)[None]
        if self.device.type == "cuda":
            batch = batch.pin_memory()
        batch = batch.to(self.device, dtype(self.precision), non_blocking=True)
        geometry = self.geometry
        if isinstance(geometry, Blended):
            run = partial(self._mean, averaging=averaging)
            most = float("inf") if self.outputs or self._means_scores else 1.0
            mean = blend(geometry, batch, run, most)
        else:
            mean = self._mean(batch, averaging)
        return PendingResult.of(self._said(mean)[0])

    def _mean(self, batch: Tensor, averaging: Averaging) -> Tensor:
        if averaging == "none":
            return self._values(batch)
        window = self.module.architecture.window
        oblong = window is not None and window[-2] != window[-1]
        # turned by a quarter it would be another window than the network is made for
        views = product((0, 2) if oblong else range(4), (False, True))
        found = [self._seen_turned(batch, turns, flip) for turns, flip in views]
        return torch.stack(found).mean(dim=0)

    def _seen_turned(self, batch: Tensor, turns: int, flip: bool) -> Tensor:
        """Run the network on a rotated or mirrored view; turn the result back."""
        turned = torch.rot90(batch, turns, (-2, -1))
        turned = turned.flip(-1) if flip else turned
        seen = self._values(turned)
        return torch.rot90(seen.flip(-1) if flip else seen, -turns, (-2, -1))

    def _values(self, batch: Tensor) -> Tensor:
        """Return what is averaged: probabilities, scores, or an image as learnt."""
        scores: Tensor = self.module(batch).float()
        if self.outputs is None and not self._means_scores:
            return softmax(scores, dim=1)
        return scores

    def _said(self, mean: Tensor) -> Tensor:
        """Return the network's answer from the mean of `_values`."""
        return softmax(mean, dim=1) if self._means_scores else mean

    @property
    def _means_scores(self) -> bool:
        of_scores = self.module.architecture.mean_of == "scores"
        return of_scores and self.outputs is None


def prepare(
    model: Model,
    device: str = "auto",
    precision: str = "auto",
    *,
    file: str | Path | None = None,
) -> Network:
    """Make a model ready to predict.

    Device and precision are as `choose_device` and `choose_precision` take them, but an
    image is made in 32 bits unless another precision is asked for: people measure its
    values. If the weights are not those of the architecture, a ValueError names the
    `file`.
    """
    keep_freed_memory()
    table = model.card.architecture
    if isinstance(table, Opaque):
        return _as_it_is(model, table, device, precision, file)
    where = choose_device(device)
    if model.card.outputs is not None and precision == "auto":
        precision = "fp32"
    how = choose_precision(where, precision)
    weights = {n: t.to(where) for n, t in to_tensors(model.weights).items()}
    try:
        return _frozen(model.card, weights, how)
    except (OverflowError, RuntimeError, TypeError) as error:
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            raise
        raise damaged(model, file) from error


def _as_it_is(
    model: Model,
    table: Opaque,
    device: str,
    precision: str,
    file: str | Path | None,
) -> Network:
    """Make a network ready that runs as it is: in 32 bits, an ONNX on the CPU."""
    card = model.card
    if precision not in ("auto", "fp32"):
        raise ValueError(
            f"{file or card.name}: a {card.network_title}: in fp32; found precision "
            f"{precision!r}."
        )
    where = choose_device(
        "cpu" if device == "auto" and table.runtime == "onnx" else device
    )
    try:
        module = opaque_network(model, where)
    except ValueError as error:
        raise ValueError(f"{file or card.name}: {error}") from error
    return _of_card(card, module, where, "fp32")


def damaged(model: Model, file: str | Path | None = None) -> ValueError:
    """Return the error of a model whose weights do not fit its card."""
    return ValueError(
        f"{file or model.card.name}: the model's weights are not those of the network "
        "that its card describes; the file is damaged."
    )


def count_weights(architecture: Layered) -> int:
    """Return how many numbers a network learns, without making any."""
    with torch.device("meta"):
        return sum(p.numel() for p in LayeredNetwork(architecture).parameters())


def frozen_copy(
    card: ModelCard, weights: Mapping[str, Tensor], precision: Precision
) -> Network:
    """Return a network that predicts with a copy of weights that are in training."""
    copied = {name: tensor.clone() for name, tensor in weights.items()}
    return _frozen(card, copied, precision)


def to_tensors(weights: Mapping[str, NDArray[np.generic]]) -> dict[str, Tensor]:
    """Copy the weights of a model into tensors."""
    return {name: torch.from_numpy(np.array(w)) for name, w in weights.items()}


def to_arrays(state: Mapping[str, Tensor]) -> dict[str, NDArray[np.generic]]:
    """Copy tensors into the weights of a model."""
    # on the CPU the arrays would otherwise go on changing with a network in training
    return {
        name: np.array(t.detach().cpu().numpy(), order="C") for name, t in state.items()
    }


def _frozen(
    card: ModelCard, weights: Mapping[str, Tensor], precision: Precision
) -> Network:
    if card.members == 1:
        module: LayeredNetwork | MeanOfNetworks = _module(card, weights, precision)
    else:
        each: dict[str, dict[str, Tensor]] = {str(k): {} for k in range(card.members)}
        for name, weight in weights.items():
            number, _, own = name.partition("/")
            if number not in each:
                raise RuntimeError(f"the weights {name} are those of no member")
            each[number][own] = weight
        module = MeanOfNetworks(
            (_module(card, own, precision) for own in each.values()),
            images=card.outputs is not None,
        )
    return _of_card(card, module, next(module.parameters()).device, precision)


def _of_card(
    card: ModelCard,
    module: LayeredNetwork | MeanOfNetworks | OpaqueNetwork,
    device: torch.device,
    precision: Precision,
) -> Network:
    return Network(
        module,
        device,
        precision,
        card.spacing_um,
        card.normalisation,
        card.outputs,
        card.training.scale,
    )


def _module(
    card: ModelCard, weights: Mapping[str, Tensor], precision: Precision
) -> LayeredNetwork:
    # on no device first: drawing random weights only to replace them takes time
    with torch.device("meta"):
        module = LayeredNetwork(card.architecture)
    module.load_state_dict(weights, assign=True)
    module.eval()
    module.fold_norms()
    settle(module.to(dtype(precision)))
    # the last layer in full precision costs nothing and keeps the probabilities smooth
    module.get_submodule("score").float()
    return module
