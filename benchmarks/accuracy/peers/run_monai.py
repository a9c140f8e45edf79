"""A U-Net of MONAI as its tutorial on 2-D segmentation trains it (unet_training_dict).

Network, loss, optimiser, patches and sliding window are those of the tutorial. It keeps
the weights that are best on images held out, as here, but looks every other epoch,
which with three images would take nearly all the time.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from monai.data import DataLoader, Dataset, list_data_collate
from monai.inferers import sliding_window_inference
from monai.losses import DiceLoss
from monai.metrics import DiceMetric
from monai.networks.nets import UNet
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    EnsureTyped,
    RandCropByPosNegLabeld,
    RandRotate90d,
    ScaleIntensity,
    ScaleIntensityd,
)
from monai.utils import set_determinism
from skimage.measure import label

from benchmarks.accuracy.peers.hand_over import Given, Learnt, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_PATCH = (96, 96)
_STEPS_BETWEEN_LOOKS = 100
# One image of so many is held out.
_ONE_OF = 5


def learn(given: Given) -> Learnt:
    """Take steps until the time is over; return the best of what was looked at."""
    torch.set_num_threads(given.threads)
    set_determinism(given.seed)
    items = [
        {"image": image.astype(np.float32), "label": (labels > 0).astype(np.float32)}
        for image, labels in zip(*given.pairs(), strict=True)
    ]
    held, shown = items[::_ONE_OF], [i for n, i in enumerate(items) if n % _ONE_OF]
    network = UNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=1,
        channels=(16, 32, 64, 128, 256),
        strides=(2, 2, 2, 2),
        num_res_units=2,
    )
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    loss = DiceLoss(sigmoid=True)
    best, weights, steps = -1.0, None, 0
    for batch in _batches(shown or held):
        network.train()
        optimiser.zero_grad()
        loss(network(batch["image"]), batch["label"]).backward()
        optimiser.step()
        steps += 1
        over = given.left <= 0
        if not over and steps % _STEPS_BETWEEN_LOOKS == 0:
            if (dice := _dice(network, held)) > best:
                best, weights = dice, deepcopy(network.state_dict())
            over = given.left <= 0
        if over:
            break
    if weights is not None:
        network.load_state_dict(weights)

    def predict(image: NDArray[Any]) -> NDArray[Any]:
        probability = _probability(network, image.astype(np.float32))
        # the tutorial ends with a mask; cells are pieces of it
        return label(probability > 0.5) if given.objects else probability

    parameters = sum(p.numel() for p in network.parameters())
    return Learnt(predict, steps, parameters)


def _batches(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    both = ["image", "label"]
    transforms = Compose(
        [
            EnsureChannelFirstd(both, channel_dim="no_channel"),
            ScaleIntensityd("image"),
            RandCropByPosNegLabeld(
                both, "label", spatial_size=_PATCH, pos=1, neg=1, num_samples=4
            ),
            RandRotate90d(both, prob=0.5, spatial_axes=(0, 1)),
            EnsureTyped(both, track_meta=False),
        ]
    )
    loader = DataLoader(
        Dataset(items, transforms), 2, shuffle=True, collate_fn=list_data_collate
    )
    while True:
        yield from loader


def _dice(network: UNet, items: list[dict[str, Any]]) -> float:
    """Return the mean Dice of images that are not learnt."""
    metric = DiceMetric()
    for item in items:
        found = (_probability(network, item["image"]) > 0.5).astype(np.float32)
        both = (torch.from_numpy(one)[None, None] for one in (found, item["label"]))
        metric(*both)
    return float(metric.aggregate())


def _probability(network: UNet, image: NDArray[Any]) -> NDArray[np.float32]:
    network.eval()
    scaled = torch.as_tensor(ScaleIntensity()(image[None]))[None]
    with torch.no_grad():
        found = sliding_window_inference(scaled, _PATCH, 4, network)
    probability: NDArray[np.float32] = torch.sigmoid(found)[0, 0].numpy()
    return probability


if __name__ == "__main__":
    run(learn, ("monai", "torch"))
