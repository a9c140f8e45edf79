"""The files of a project's images, opened again when the project is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_unet.core.text import reason
from napari_unet.io.image_paths import is_missing, located

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_unet.io.project_record import ProjectImage
    from napari_unet.session.images.image_list import ImageList
    from napari_unet.session.project.store import ProjectStore


def open_images(
    viewer: ViewerModel,
    store: ProjectStore,
    images: ImageList,
    warn: Callable[[str], None],
) -> tuple[ProjectImage, ...]:
    """Open the files of all images that are closed, or warn why not.

    Returns those whose files are no longer there: the user has to be asked where they
    are.
    """
    for image in store.project.images:
        if images.layers(image.id) or is_missing(image):
            continue
        try:
            open_image(viewer, images, image)
        except (ValueError, OSError, RuntimeError) as error:
            warn(str(error))
    if shown := images.opened():
        images.set_current(shown[0].id)
    return tuple(i for i in store.missing if not images.layers(i.id))


def open_image(viewer: ViewerModel, images: ImageList, image: ProjectImage) -> None:
    """Open the files of an image; it is found again by its pixels.

    ValueError if it is not from a file, it cannot be read, or something else is in the
    file now: that does not stay open.
    """
    paths = list(dict.fromkeys(s.path for s in image.sources if s.path is not None))
    if not paths:
        raise ValueError(
            f"{image.name} is not from a file: "
            "open it as you did before, then it is found again."
        )
    before = [*viewer.layers]
    try:
        viewer.open(paths)
    except Exception as error:  # whatever napari's readers raise
        raise ValueError(f"{paths[0]} cannot be opened: {reason(error)}.") from error
    images.part_channels(_new(viewer, images, before))
    if not images.layers(image.id):
        for layer in _new(viewer, images, before):
            viewer.layers.remove(layer)
        stacked = set("tz") & set(image.axes)
        raise ValueError(
            f"{paths[0]} is not {image.name}: its shape or pixels are others."
            + " If it was opened as a stack of files, open it so again." * bool(stacked)
        )


def locate(
    viewer: ViewerModel,
    store: ProjectStore,
    images: ImageList,
    image_id: str,
    path: Path,
) -> None:
    """Open an image where it is now, and others that are found beside it.

    FileNotFoundError if nothing is at this path, ValueError if it is another image;
    then the known paths stay.
    """
    before = project = store.project
    found = located(project, image_id, path)
    for image in found:
        project = project.with_image(image)
    store.update(project)
    if image_id not in [image.id for image in found]:
        # some of its channels are in files elsewhere
        return
    try:
        open_image(viewer, images, store.project.image(image_id))
    except ValueError:
        store.update(before)
        raise
    for other in found:
        if not images.layers(other.id):
            try:
                open_image(viewer, images, other)
            except ValueError:
                # another file of the same name: it is asked for by itself
                store.update(store.project.with_image(before.image(other.id)))
    images.set_current(image_id)


def _new(viewer: ViewerModel, images: ImageList, before: list[Layer]) -> list[Layer]:
    """Return the layers that came since and are of no image."""
    return [
        layer
        for layer in viewer.layers
        if not any(layer is old for old in before) and images.id_of(layer) is None
    ]
