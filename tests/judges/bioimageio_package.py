"""Judge a bioimage.io package of ours by the field's own library.

It needs an environment of its own, as the library pins what it needs:

    python -m venv judge
    judge/bin/pip install "bioimageio.core==0.11.0" "pydantic<2.14" torch onnxruntime
    judge/bin/bioimageio test PACKAGE.zip
    judge/bin/python tests/judges/bioimageio_package.py PACKAGE.zip PREDICTION.npz

`PREDICTION.npz` holds `image`, in the grey values of the network, and `expected`, the
probabilities that napari-unet gives of it, both (1, channels, [z,] y, x). The library
runs each of the weights on the whole image and in blocks, mirrored at the edges as the
package says; both must be what napari-unet gives. Of a padded network there are blocks
alone, of one size: `expected` is then what napari-unet gives of the package without the
card in it (`config` in its yaml), as of another program's, and the image has whole
middles of windows, as the library moves those at its end.
"""

from __future__ import annotations

import sys

import numpy as np
from bioimageio.core import load_model_description, predict
from bioimageio.core.prediction import create_prediction_pipeline

_ALLOWED = 1e-4


def main(package: str, prediction: str) -> int:
    """Return 0 if all agree."""
    model = load_model_description(package)
    found = np.load(prediction)
    image, expected = found["image"], found["expected"]
    is_padded = all(isinstance(axis.size, int) for axis in model.inputs[0].axes[2:])
    worst = 0.0
    for weights in ("pytorch_state_dict", "torchscript", "onnx"):
        pipeline = create_prediction_pipeline(model, weight_format=weights)
        for blocks in (1,) if is_padded else (None, 1):
            sample = predict(
                model=pipeline,
                inputs={"image": image},
                blocksize_parameter=blocks,
                skip_preprocessing=True,
            )
            (made,) = sample.members.values()
            values = np.asarray(made.data.values)
            difference = float(np.abs(values - expected).max())
            way = "whole" if blocks is None else "by blocks"
            print(f"{weights}, {way}: largest difference {difference:.2g}")
            worst = max(worst, difference)
    return int(worst > _ALLOWED)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
