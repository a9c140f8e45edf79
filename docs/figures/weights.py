"""The border weights of a few nuclei, at three strengths."""

import matplotlib.pyplot as plt
import numpy as np

from napari_unet.core.settings import BorderWeights
from napari_unet.core.training.loss_weights import border_weights
from napari_unet.io import samples

image, labels = samples.nuclei()[3]
part = slice(150, 330), slice(180, 440)
picture, cells = np.asarray(image.data)[part], np.asarray(labels.data)[part]
figure, panels = plt.subplots(1, 3, figsize=(9, 2.7), layout="constrained")
panels[0].imshow(picture, cmap="gray", vmax=np.percentile(picture, 99.5))
panels[0].set_title("image", fontsize=9)
for panel, sigma in zip(panels[1:], (2.0, 5.0), strict=True):
    weights = border_weights(cells, BorderWeights(w0=10, sigma=sigma))
    drawn = panel.imshow(weights, cmap="viridis", vmin=0, vmax=10)
    panel.contour(cells > 0, levels=[0.5], colors="white", linewidths=0.4)
    panel.set_title(f"w0 = 10, sigma = {sigma:g} pixels", fontsize=9)
figure.colorbar(drawn, ax=panels, shrink=0.8, label="added weight")
for panel in panels:
    panel.set_axis_off()
