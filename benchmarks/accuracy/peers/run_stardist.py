"""StarDist from scratch, as its example notebook on training in 2-D does it.

Patches, rays, flips and changes of grey values are those of the notebook, and so are
the choice of the best epoch and of the thresholds by images held out. Membranes are
learnt as the objects that they enclose, for which star-convex shapes are not made.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from csbdeep.utils import normalize
from scipy import ndimage
from stardist import calculate_extents, fill_label_holes
from stardist.models import Config2D, StarDist2D

from benchmarks.accuracy.peers.hand_over import Given, Learnt, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Share of the images that is held out, and of the time for finding thresholds.
_HELD, _THRESHOLDS = 0.15, 0.1


class _Stop(tf.keras.callbacks.Callback):  # type: ignore[misc]
    """Ends the training when its time is over, and counts the steps."""

    def __init__(self, given: Given) -> None:
        super().__init__()
        self.steps = 0
        self._given = given
        self._reserve = _THRESHOLDS * given.left

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps += 1
        if self._given.left < self._reserve:
            self.model.stop_training = True


def learn(given: Given) -> Learnt:
    """Train until nine tenths of the time are over, then find the thresholds."""
    tf.config.threading.set_intra_op_parallelism_threads(given.threads)
    tf.config.threading.set_inter_op_parallelism_threads(given.threads)
    tf.keras.utils.set_random_seed(given.seed)
    images, labels = given.pairs()
    images = [_normalised(image) for image in images]
    if not given.objects:
        labels = [ndimage.label(one > 0)[0] for one in labels]
    labels = [fill_label_holes(one) for one in labels]
    order = np.random.default_rng(given.seed).permutation(len(images))
    count = max(1, round(_HELD * len(images)))
    held, shown = order[:count], order[count:]
    model, grid = _model(given, labels)
    model.prepare_for_training()
    stop = _Stop(given)
    model.callbacks.append(stop)
    model.train(
        [images[n] for n in shown],
        [labels[n] for n in shown],
        validation_data=([images[n] for n in held], [labels[n] for n in held]),
        augmenter=partial(_augmented, random=np.random.default_rng(given.seed)),
        seed=given.seed,
    )
    model.optimize_thresholds([images[n] for n in held], [labels[n] for n in held])

    def predict(image: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = model.predict_instances(_normalised(image))[0]
        return found

    chosen = (
        f"grid {grid}",
        f"probability {model.thresholds.prob:.2f}",
        f"overlap {model.thresholds.nms:.2f}",
    )
    return Learnt(predict, stop.steps, model.keras_model.count_params(), chosen)


def _model(given: Given, labels: list[NDArray[Any]]) -> tuple[StarDist2D, int]:
    """Return a model that sees whole objects, as the notebook advises."""
    median = calculate_extents(labels, np.median)
    for grid in (2, 4):
        config = Config2D(
            n_rays=32, grid=(grid, grid), n_channel_in=1, train_tensorboard=False
        )
        model = StarDist2D(config, name=f"grid{grid}", basedir=given.output)
        if all(median <= np.array(model._axes_tile_overlap("YX"))):  # noqa: SLF001
            break
    return model, grid


def _normalised(image: NDArray[Any]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = normalize(image, 1, 99.8, axis=(0, 1))
    return scaled


def _augmented(
    image: NDArray[np.float32], labels: NDArray[Any], random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Return both turned and mirrored alike, and the image with other grey values."""
    turns = int(random.integers(4))
    image, labels = np.rot90(image, turns), np.rot90(labels, turns)
    if random.integers(2):
        image, labels = image[::-1], labels[::-1]
    image = image * random.uniform(0.6, 2) + random.uniform(-0.2, 0.2)
    sigma = 0.02 * random.uniform(0, 1)
    noisy = image + sigma * random.normal(0, 1, image.shape)
    return noisy.astype(np.float32), labels


if __name__ == "__main__":
    run(learn, ("stardist", "tensorflow-cpu"))
