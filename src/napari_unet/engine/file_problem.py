"""Why a file could not be predicted, in a sentence that names it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from napari_unet.core.settings import explain
from napari_unet.core.text import printable, sentence
from napari_unet.io.names import image_name

if TYPE_CHECKING:
    from pathlib import Path


def problem_of(file: Path, error: Exception) -> str:
    """Return the sentence; the file is named once, whatever the error says."""
    problem = sentence(error) or "the memory does not suffice."
    if isinstance(error, ValidationError):
        problem = explain(error)
    if str(file) in problem or printable(file) in problem:
        return problem
    return f"{file}: {problem.removeprefix(f'{printable(image_name(file))}: ')}"
