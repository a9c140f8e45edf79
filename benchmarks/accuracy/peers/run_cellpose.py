"""cellpose 3 from random weights, with the settings of its own training function.

It wants to know beforehand how many epochs there will be, as its learning rate falls in
the last of them; a few epochs of another network tell how long one takes. Membranes are
learnt as the objects that they enclose.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from cellpose.dynamics import labels_to_flows
from cellpose.models import CellposeModel
from cellpose.train import train_seg
from scipy import ndimage

from benchmarks.accuracy.peers.hand_over import Given, Learnt, run

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHANNELS = [0, 0]
_TRIED_EPOCHS = 3
_MARGIN = 0.97


class _TimeUpError(Exception):
    """The budget is spent in the middle of an epoch."""


def learn(given: Given) -> Learnt:
    """Train for as many epochs as the time allows."""
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    images, labels = given.pairs()
    if not given.objects:
        labels = [ndimage.label(one > 0)[0] for one in labels]
    ids = [one.astype(np.uint16) for one in labels]
    # once for both trainings; ids come first, then what is learnt
    flows = labels_to_flows(ids, device=torch.device("cpu"))

    def train(model: CellposeModel, epochs: int) -> list[float]:
        """Return when each step began."""
        began: list[float] = []

        def note(*_: Any) -> None:
            if given.left <= 0 and began:
                raise _TimeUpError
            began.append(time())

        noted = model.net.register_forward_pre_hook(note)
        try:
            train_seg(
                model.net,
                [image.copy() for image in images],
                [flow.copy() for flow in flows],
                channels=_CHANNELS,
                n_epochs=epochs,
                min_train_masks=1,
                save_path=given.output,
            )
        except _TimeUpError:
            pass
        finally:
            noted.remove()
        return began

    tried = train(_model(), _TRIED_EPOCHS)
    of_one = len(tried) // _TRIED_EPOCHS or 1
    # the first step warms up
    seconds = (tried[-1] - tried[1]) / (len(tried) - 2) if len(tried) > 2 else 60.0
    epochs = max(1, int(_MARGIN * given.left / (seconds * of_one)))
    torch.manual_seed(given.seed)
    model = _model()
    steps = len(train(model, epochs))
    model.diam_labels = float(model.net.diam_labels.item())

    def predict(image: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = model.eval(image, channels=_CHANNELS)[0]
        return found

    parameters = sum(p.numel() for p in model.net.parameters() if p.requires_grad)
    chosen = (f"{epochs} epochs", f"diameter {model.diam_labels:.0f}")
    return Learnt(predict, steps, parameters, chosen)


def _model() -> CellposeModel:
    """Return a network that has learnt nothing; oneDNN's layout is for prediction."""
    return CellposeModel(pretrained_model=False, mkldnn=False)


if __name__ == "__main__":
    run(learn, ("cellpose", "torch"))
