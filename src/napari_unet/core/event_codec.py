"""Events as lines of JSON, for another machine: no pickle, which could run anything.

What an event says is checked when it is read. Those that hold arrays or weights stay on
their machine: these go as files.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from pydantic import AfterValidator, BaseModel, TypeAdapter, ValidationError
from pydantic_core import from_json

from napari_unet.core import events
from napari_unet.core.text import shown

if TYPE_CHECKING:
    from napari_unet.core.events import Event

GO: tuple[type[Event], ...] = (
    events.BlockDone,
    events.CellsFound,
    events.CheckpointWritten,
    events.CorrectionUsed,
    events.FileBegun,
    events.FilePredicted,
    events.FileWaits,
    events.FileWritten,
    events.Judging,
    events.ModelComparison,
    events.ModelFormatsFound,
    events.ModelLoaded,
    events.ModelSaved,
    events.ModelWritten,
    events.NetworkSurveyed,
    events.Notice,
    events.PredictionFinished,
    events.StepDone,
    events.TileDone,
    events.TileHalved,
    events.TrainingPlanned,
    events.TrainingStarted,
    events.ValidationDone,
    events.ValidationTile,
    events.WeightsComputed,
)
"""Events that go as JSON; the others stay on their machine."""

# Fields that may hold an array here, and nothing on their way: arrays go as files.
_ARRAYS = {"probabilities"}


def encode(event: Event) -> dict[str, Any]:
    """Return an event as JSON can hold it; a TypeError says that it stays."""
    kind = type(event)
    if kind not in GO:
        raise TypeError(f"{kind.__name__} stays on its machine.")
    values = {f.name: _plain(getattr(event, f.name)) for f in fields(event)}
    return {"event": kind.__name__, **values}


def decode(record: Any) -> Event:
    """Return the event that `encode` was given.

    Raises
    ------
    ValueError
        It is none that this version knows, or something of it is wrong.
    """
    name = record.get("event") if isinstance(record, dict) else None
    kind = next((k for k in GO if k.__name__ == name), None)
    if kind is None:
        raise ValueError(f"no event is called {shown(name)}.")
    readers, values = (
        _readers(kind.__name__),
        {k: v for k, v in record.items() if k != "event"},
    )
    needed = {f.name for f in fields(kind) if f.default is MISSING}
    if not needed <= values.keys() <= readers.keys():
        wrong = sorted(needed.symmetric_difference(values.keys()))
        raise ValueError(f"{name} does not fit, see {shown(wrong)}.")
    try:
        found = {k: readers[k].validate_python(v) for k, v in values.items()}
    except ValidationError as error:
        raise ValueError(f"{name} is damaged: {error.errors()[0]['msg']}.") from error
    return kind(**found)


def to_line(record: Any) -> bytes:
    """Return JSON in one line, with its end."""
    return json.dumps(record, allow_nan=False).encode() + b"\n"


def from_line(line: bytes) -> Any:
    """Return what a line of JSON holds; a ValueError says that it is none."""
    return from_json(line, allow_inf_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, float) and not isfinite(value):
        return repr(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, slice):
        return [value.start, value.stop]
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    raise TypeError(f"{type(value).__name__} stays on its machine.")


@cache
def _readers(name: str) -> dict[str, TypeAdapter[Any]]:
    """Return what checks each field of an event."""
    from napari_unet.core.model import AnyScore, Model, ModelCard
    from napari_unet.core.training.decision import Decision
    from napari_unet.core.training.training_settings import Training

    names = {
        "Path": Path,
        "Box": tuple[Annotated[Any, AfterValidator(_slice)], ...],
        "AnyScore": AnyScore,
        "Model": Model,
        "ModelCard": ModelCard,
        "Decision": Decision,
        "Training": Training,
    }
    kind = getattr(events, name)
    hints = get_type_hints(kind, localns=names, include_extras=True)
    for field in _ARRAYS & hints.keys():
        hints[field] = type(None)
    return {field: TypeAdapter(hint) for field, hint in hints.items()}


def _slice(ends: Any) -> slice:
    match ends:
        case [int() as start, int() as stop] if 0 <= start <= stop:
            return slice(start, stop)
    raise ValueError(f"a box has a start and a stop along each axis, found {ends}")
