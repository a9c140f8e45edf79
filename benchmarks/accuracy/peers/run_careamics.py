"""Noise2Void of CAREamics, with the defaults of its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from careamics import CAREamist
from careamics.config.factories import create_advanced_n2v_config

from benchmarks.accuracy.peers.hand_over import Learnt, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.accuracy.peers.hand_over import Given

# More than there is time for: the time ends the training.
_EPOCHS = 100_000


def learn(given: Given) -> Learnt:
    """Learn the images themselves until the time is over."""
    torch.set_num_threads(given.threads)
    images = [image.astype(np.float32) for image in given.images()]
    config = create_advanced_n2v_config(
        experiment_name="n2v",
        data_type="array",
        axes="YX",
        patch_size=[64, 64],
        batch_size=16,
        num_epochs=_EPOCHS,
        num_workers=0,
        trainer_params={
            "accelerator": "cpu",
            "max_time": {"seconds": max(given.left, 1.0)},
        },
        seed=given.seed + 1,  # it takes none of 0
    )
    careamist = CAREamist(config, work_dir=given.output, enable_progress_bar=False)
    careamist.train(train_data=images)

    def predict(image: NDArray[Any]) -> NDArray[Any]:
        found = careamist.predict(image.astype(np.float32))[0][0]
        return np.squeeze(np.asarray(found))

    parameters = sum(p.numel() for p in careamist.model.parameters())
    return Learnt(predict, careamist.trainer.global_step, parameters)


if __name__ == "__main__":
    run(learn, ("careamics", "torch"))
