"""Windows and targets of one image, as the planner lays them."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle

from napari_unet.core.geometry.tiles import plan
from napari_unet.core.network.architecture import u_shape
from napari_unet.core.network.blended import geometry_of
from napari_unet.io import samples

image = np.asarray(samples.nuclei()[0][0].data)[:300, :420]
sizes = geometry_of(u_shape(ndim=2, channels=1, classes=2, width=16, depth=3))
halo, step = sizes.halo, sizes.step
tiles = plan(image.shape, (160, 160), step=step, halo=halo)
tile = tiles[0]
margin = max(halo)
rows = np.abs(np.arange(-margin, image.shape[0] + margin))
columns = np.abs(np.arange(-margin, image.shape[1] + margin))
rows = np.where(rows >= image.shape[0], 2 * image.shape[0] - 2 - rows, rows)
columns = np.where(columns >= image.shape[1], 2 * image.shape[1] - 2 - columns, columns)
mirrored = image[np.ix_(rows, columns)]

figure, axes = plt.subplots(figsize=(8, 5.6), layout="constrained")
height, width = image.shape
extent = (-margin, width + margin, height + margin, -margin)
axes.imshow(
    mirrored, cmap="gray", extent=extent, vmax=np.percentile(image, 99.8), alpha=0.6
)
axes.imshow(
    image, cmap="gray", extent=(0, width, height, 0), vmax=np.percentile(image, 99.8)
)
for one in tiles:
    (y, x) = one.target
    axes.add_patch(
        Rectangle(
            (x.start, y.start),
            x.stop - x.start,
            y.stop - y.start,
            fill=False,
            edgecolor="#E69F00",
            linewidth=1.2,
        )
    )
top, left = tile.start
axes.add_patch(
    Rectangle(
        (left, top), tile.size[1], tile.size[0], fill=False, edgecolor="#56B4E9", lw=2
    )
)
y, x = tile.target
axes.add_patch(
    Rectangle(
        (x.start, y.start),
        x.stop - x.start,
        y.stop - y.start,
        fill=True,
        facecolor="#E69F0044",
        edgecolor="#E69F00",
        linewidth=2,
    )
)
axes.set_xlim(extent[:2])
axes.set_ylim(extent[2:])
axes.set_xlabel(
    f"blue: what the network reads for one tile; orange: what it decides.\n"
    f"Halo {halo[0]} pixels, step {step[0]}; beyond the image it is mirrored (pale)."
)
axes.set_xticks([])
axes.set_yticks([])
