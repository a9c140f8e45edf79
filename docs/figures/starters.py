"""Both starter models on the package's images, a corner of each."""

import matplotlib.pyplot as plt
import numpy as np
from skimage.segmentation import mark_boundaries

from napari_unet.core.cells.instances import segment_instances
from napari_unet.core.images.image import Image
from napari_unet.engine.inference.overlap_tile import predict
from napari_unet.io import samples
from napari_unet.io.model_file import load_model
from napari_unet.io.pretrained import model_path

figure, panels = plt.subplots(2, 2, figsize=(8, 7.6), layout="constrained")
for row, (name, image) in zip(
    panels,
    (
        ("nuclei", samples.nuclei()[5][0]),
        ("phase_contrast", samples.phase_contrast()[0][0]),
    ),
    strict=True,
):
    model = load_model(model_path(name))
    picture = np.asarray(image.data)[:400, :400]
    *_, done = predict(model, Image(picture, "yx"))
    cells = segment_instances(done.probabilities, model.card.segmentation)
    low, high = np.percentile(picture, (0.5, 99.7))
    grey = np.clip((picture - low) / (high - low), 0, 1)
    row[0].imshow(grey, cmap="gray")
    row[0].set_title(name, fontsize=10)
    row[1].imshow(mark_boundaries(np.dstack([grey] * 3), cells, color=(1, 0.62, 0)))
    row[1].set_title(f"{cells.max()} cells", fontsize=10)
for panel in panels.ravel():
    panel.set_axis_off()
