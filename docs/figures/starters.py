"""The starter models on the package's images, a corner of each."""

import matplotlib.pyplot as plt
import numpy as np
from skimage.segmentation import mark_boundaries

from napari_unet.core.cells.instances import segment_instances
from napari_unet.core.images.image import Image
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.io import samples
from napari_unet.io.model_file import load_model
from napari_unet.io.pretrained import PRETRAINED, model_path

figure, panels = plt.subplots(4, 2, figsize=(8, 15), layout="constrained")
for row, name in zip(panels, PRETRAINED, strict=True):
    image, _ = getattr(samples, name)()[0]
    model = load_model(model_path(name))
    picture = np.asarray(image.data)[:400, :400]
    *_, done = predict(model, Image(picture, image.axes))
    cells = segment_instances(done.probabilities, model.card.segmentation)
    low, high = np.percentile(picture, (0.5, 99.7))
    shown = np.clip((picture - low) / (high - low), 0, 1)
    if shown.ndim == 2:
        shown = np.dstack([shown] * 3)
    row[0].imshow(shown)
    row[0].set_title(name, fontsize=10)
    row[1].imshow(mark_boundaries(shown, cells, color=(1, 0.62, 0)))
    row[1].set_title(f"{cells.max()} cells", fontsize=10)
for panel in panels.ravel():
    panel.set_axis_off()
