"""What is held out of a sparse annotation, and the margin that is given up for it."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from napari_unet.core.geometry.boxes import grown
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.network.blended import geometry_of
from napari_unet.core.training.validation_split import cheapest_part
from napari_unet.io import samples

image, labels = samples.nuclei()[0]
picture, cells = np.asarray(image.data), np.asarray(labels.data)
halo = geometry_of(u_shape(ndim=2, channels=1, classes=2, width=16, depth=3)).halo
found = cheapest_part([(cells > 0).astype(np.uint8)], 2, halo, enough=500)
if found is None:
    raise RuntimeError("nothing can be held out")
_, box = found
figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
axes.imshow(picture, cmap="gray", vmax=np.percentile(picture, 99.8))
axes.imshow(np.ma.masked_equal(cells > 0, False), cmap="autumn", alpha=0.25)
for area, colour, name in (
    (box, "#56B4E9", "held out: judges, is never learnt"),
    (grown(box, halo, picture.shape), "#E69F00", "margin: neither learnt nor judged"),
):
    (y, x) = area
    axes.add_patch(
        Rectangle(
            (x.start - 0.5, y.start - 0.5),
            x.stop - x.start,
            y.stop - y.start,
            fill=False,
            edgecolor=colour,
            linewidth=2.5,
            label=name,
        )
    )
axes.legend(loc="lower right", fontsize=9)
axes.set_axis_off()
