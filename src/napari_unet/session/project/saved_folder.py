"""A project as a portable folder: TIFFs instead of memory maps.

Paths in it are relative. It is not opened itself, but a working copy in the user's data
folder, so that painting is as fast and as safe as in any project.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from napari_unet.io.atomic import atomic, remove_strays
from napari_unet.io.export import write_labels
from napari_unet.io.image_paths import relative, resolved
from napari_unet.io.model_file import read_card
from napari_unet.io.names import file_stem
from napari_unet.io.project_record import FILE_NAME, MODELS, ProjectFile
from napari_unet.io.records import inside, is_real_folder, private_folder
from napari_unet.io.run_folder import copy_run
from napari_unet.io.saved_project import read_annotation
from napari_unet.io.trained_run import run_folder_of
from napari_unet.session.project.annotation_file import AnnotationFile
from napari_unet.session.project.edit_files import file_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_unet.io.project_record import Project, ProjectImage


# In characters, of up to four bytes each.
_LONGEST_NAME = 40


def save_folder(
    folder: Path,
    project: Project,
    source: Path,
    files: Mapping[str, AnnotationFile],
    edits: Mapping[str, AnnotationFile],
) -> None:
    """Write a project as a portable folder.

    An earlier save of the same project is replaced, file by file, `project.json` last.

    ValueError if another project, or one that is being worked on, is in the folder;
    OSError if it cannot be written.

    The folder is made if missing; `source` is that of the working copy, with its
    models. `files` are annotations and `edits` edited cells, each by its image's id.
    """
    if (folder / FILE_NAME).exists():
        there = ProjectFile.read(folder)
        if not there.saved or there.project.id != project.id:
            raise ValueError(
                f"{folder}: holds the project {there.project.name!r}; "
                "choose a new folder, or the one that this project was saved in."
            )
    folder.mkdir(parents=True, exist_ok=True)
    remove_strays(folder)
    remove_strays(folder / MODELS)
    names: dict[str, str] = {}
    for image in project.images:
        if image.id in files:
            stem = file_stem(image.name, "image", longest=_LONGEST_NAME)
            name = f"{stem} annotation.tif"
            names[image.id] = _unused(name, names.values())
            _write(folder / names[image.id], image, files[image.id])
        if image.id in edits:
            _write(folder / file_name(image.id, ".tif"), image, edits[image.id])
    absolute: dict[str, str] = {}
    images = tuple(relative(i, folder, absolute) for i in project.images)
    models = _copy_models(project, source, folder)
    ProjectFile(
        project=project.replace(images=images, **models),
        files=names,
        saved=uuid4().hex,
        absolute=absolute,
    ).write(folder)


def working_copy(folder: Path, root: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the folder to work in: `folder` itself, or the copy of a saved one.

    Also returns what was left out of a copy that was made now, a sentence each. A
    folder that was opened before, and not saved again since, has a copy already, with
    all later work.

    FileNotFoundError or ValueError if there is no project in the folder, or one that
    cannot be read.
    """
    kept = ProjectFile.read(folder)
    if not kept.saved:
        return folder, ()
    for known in root.glob(f"*/{FILE_NAME}"):
        with suppress(OSError, ValueError):
            if ProjectFile.read(known.parent).origin == kept.saved:
                return known.parent, ()
    return _import(folder, kept, root)


def saved_before(folder: Path, project: Project) -> Path:
    """Return the folder that a save is meant for.

    A file dialog enters a folder that is there: what is named inside of an earlier save
    of the same project is meant for that one.
    """
    with suppress(OSError, ValueError):
        there = ProjectFile.read(folder.parent)
        if there.saved and there.project.id == project.id:
            return folder.parent
    return folder


def folder_name(name: str) -> str:
    """Return an unused name for the folder of a new project."""
    return f"{file_stem(name, 'project', longest=_LONGEST_NAME)}-{uuid4().hex[:8]}"


def _import(
    folder: Path, kept: ProjectFile, root: Path
) -> tuple[Path, tuple[str, ...]]:
    remove_strays(private_folder(root))
    kept, notes = kept.confined()
    target = root / folder_name(kept.project.name)
    files = {}
    images = tuple(resolved(i, folder, kept.absolute) for i in kept.project.images)
    with atomic(target) as temporary:
        temporary.mkdir(mode=0o700)
        for image in images:
            path = kept.annotation(folder, image.id)
            if path is not None:
                files[image.id] = f"annotation-{image.id}.raw"
                _read(path, image, temporary / files[image.id])
            edits = inside(folder, file_name(image.id, ".tif"))
            if edits.exists():
                _read(edits, image, temporary / file_name(image.id))
        models = _copy_models(kept.project, folder, temporary)
        project = kept.project.replace(images=images, **models)
        ProjectFile(project=project, files=files, origin=kept.saved).write(temporary)
    return target, notes


def _write(path: Path, image: ProjectImage, file: AnnotationFile) -> None:
    """Write an annotation, or edits of cells, as a TIFF."""
    spacing = image.spacing_um
    if spacing is not None and "z" in image.axes and len(spacing) == 2:
        spacing = None  # that along z is unknown
    write_labels(path, file.array, image.annotation_axes, spacing)


def _read(path: Path, image: ProjectImage, target: Path) -> None:
    """Make a memory map of the annotation in a TIFF."""
    planes = read_annotation(path, image.sizes, image.name)
    file = AnnotationFile(target, image.annotation_axes, image.annotation_shape)
    for t, z in file.planes:
        file.load(t, z, planes[t, z])
    file.raise_highest(max(image.class_of, default=0))
    file.flush()
    file.close()


def _copy_models(project: Project, source: Path, folder: Path) -> dict[str, Any]:
    """Copy all models into a folder; return the record's fields with new paths."""
    for there in (source / MODELS, folder / MODELS):
        if not is_real_folder(there):
            raise ValueError(f"{there}: is a link, and is not opened.")
    (folder / MODELS).mkdir(exist_ok=True)
    copied: dict[str, str] = {}
    own = sorted(p for p in (source / MODELS).glob("*") if not p.name.startswith("."))
    named = [source / model for model in project.models]
    # a record can name any file of this user: only models are passed on
    others = [p for p in named if p not in own and _is_model(p)]
    for path in (*own, *others):
        # a link in the project leads outside of it
        if path.is_file() and not (path in own and path.is_symlink()):
            name = _unused(path.name, [Path(c).name for c in copied.values()])
            copied[str(path)] = f"{MODELS}/{name}"
            with atomic(folder / MODELS / name) as temporary:
                shutil.copyfile(path, temporary)
            run = run_folder_of(path)
            if path in own and run.is_dir() and not run.is_symlink():
                copy_run(run, folder / MODELS / run.name)
    fields: dict[str, Any] = {
        "models": tuple(copied.get(str(source / m), m) for m in project.models)
    }
    if project.start is not None:
        fields["start"] = copied.get(str(source / project.start), project.start)
    return fields


def _is_model(path: Path) -> bool:
    try:
        read_card(path)
    except (OSError, ValueError):
        return False
    return True


def _unused(name: str, used: Iterable[str]) -> str:
    others = {other.lower() for other in used}
    path, number, unused = Path(name), 1, name
    while unused.lower() in others:
        number += 1
        unused = f"{path.stem} {number}{path.suffix}"
    return unused
