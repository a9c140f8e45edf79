"""Networks of other programs, run as they are: TorchScript and ONNX.

Neither runs Python. A TorchScript could still write files by an operation of torch, and
one that would is refused before it is loaded. An ONNX is read from memory alone, so
that it can name no other file.
"""

from __future__ import annotations

import re
import warnings
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

import numpy as np
import psutil
import torch
from torch import Tensor, nn

from napari_unet.core.network.opaque import FILE, TITLES, Opaque
from napari_unet.core.text import lacking, reason, times
from napari_unet.engine.device import is_out_of_memory
from napari_unet.engine.network.convolutions import cropped
from napari_unet.engine.network.layered import LAYOUT
from napari_unet.engine.network.softmax import softmax
from napari_unet.io.zips import DAMAGED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_unet.core.model import Model
    from napari_unet.core.network.opaque import Runtime

    Run = Callable[[Tensor], Tensor]

# What the operations of torch that read or write files are called, however a script
# spells what they are called by.
_FILES = re.compile(rb"\b(?:save|load|load_tensor|from_file)\b")


class OpaqueNetwork(nn.Module):
    """A network that runs as it is, with scores as all others have them.

    `run` leads from a window, float32 (1, channels, [z,] y, x), to what the network
    gives: classes, or `images`.
    """

    def __init__(self, architecture: Opaque, run: Run, *, images: bool) -> None:
        super().__init__()
        self.architecture = architecture
        self._run = run
        self._images = images

    def forward(self, window: Tensor) -> Tensor:
        """Return the image that it makes, or what the softmax makes probabilities of.

        Without its border. A ValueError says that it cannot be run, or gives something
        else than its description says.
        """
        table = self.architecture
        made = self._activated(self._made(window))
        rest = zip(table.border, table.lost, strict=True)
        made = cropped(made, [(border - lost,) * 2 for border, lost in rest])
        if self._images:
            return made
        if table.only_foreground:
            made = torch.cat((1 - made, made), dim=1)
        # no class at all would be no number
        return torch.log(made.clamp(torch.finfo(made.dtype).tiny, 1))

    def _made(self, window: Tensor) -> Tensor:
        """Run it, and check what it gives."""
        table, title = self.architecture, TITLES[self.architecture.runtime]
        size = tuple(window.shape[2:])
        try:
            made = self._run(window)
        except Exception as error:
            if isinstance(error, RuntimeError) and is_out_of_memory(error):
                raise
            raise ValueError(
                f"the {title} network cannot be run with {window.shape[1]} channel(s) "
                f"of {times(size)} pixels: {_last_line(error)}."
            ) from error
        expected = (
            *(1, table.made),
            *(n - 2 * lost for n, lost in zip(size, table.lost, strict=True)),
        )
        if tuple(made.shape) != expected:
            raise ValueError(
                f"the {title} network gives an array of {times(made.shape)}, its "
                f"description says {times(expected)}."
            )
        return made.float()

    def _activated(self, made: Tensor) -> Tensor:
        match self.architecture.activation:
            case "sigmoid":
                return torch.sigmoid(made)
            case "softmax":
                return softmax(made, dim=1)
        return made


def opaque_network(model: Model, device: torch.device) -> OpaqueNetwork:
    """Make the network of a model ready to run; a ValueError says why it cannot be."""
    table = model.card.architecture
    found = model.weights.get(FILE)
    if not isinstance(table, Opaque) or found is None or found.dtype != np.uint8:
        raise ValueError(f"the model holds no {FILE} that can be run.")
    run = running(np.ascontiguousarray(found).tobytes(), table.runtime, device)
    return OpaqueNetwork(table, run, images=model.card.outputs is not None).eval()


def running(content: bytes, runtime: Runtime, device: torch.device) -> Run:
    """Return what runs a network, from the content of its file.

    Raises
    ------
    ValueError
        It is none, does what a network need not do, or is for another device.
    ModuleNotFoundError
        A package is missing.
    """
    if runtime == "onnx":
        return _onnx(content, device)
    return _Script(_harmless(content), device)


def _harmless(content: bytes) -> bytes:
    """Return a TorchScript that touches no files; a ValueError says that it is none.

    It is packed anew, as torch reads some zips otherwise than Python: it finds names in
    capitals, too, and the list of what is inside elsewhere.
    """
    has_code = False
    try:
        with (
            BytesIO() as buffer,
            ZipFile(BytesIO(content)) as given,
            ZipFile(buffer, "w") as made,
        ):
            size = sum(part.file_size for part in given.infolist())
            if size > psutil.virtual_memory().available:
                raise ValueError(f"says that it holds {size / 1e9:.1f} GB.")
            for part in given.infolist():
                inside = given.read(part)
                is_code = part.filename.lower().endswith(".py")
                has_code = has_code or is_code
                if is_code and _FILES.search(inside):
                    raise ValueError(
                        "is a TorchScript that reads or writes files, and is not run."
                    )
                made.writestr(part.filename, inside)
            made.close()
            checked = buffer.getvalue()
    except (OSError, *DAMAGED) as error:
        raise ValueError(f"is no TorchScript ({_last_line(error)}).") from error
    if not has_code:
        raise ValueError("is no TorchScript: there is no code in it.")
    return checked


class _Script(nn.Module):
    """A TorchScript, made fast if it bears that; of several outputs the first counts.

    It is fast channels last, with its norms folded. Some depend on how their maps lie
    in memory, or cannot be frozen: these run as they were written.
    """

    def __init__(self, content: bytes, device: torch.device) -> None:
        super().__init__()
        self._content, self._device = content, device
        self._layout = torch.contiguous_format
        self.script = self._loaded()
        parameters = [p.ndim for p in self.script.parameters()]
        layout = LAYOUT[3 if 5 in parameters else 2]
        if device.type == "mps":  # see `placing`
            layout = self._layout
        try:
            with _without_advice():
                script = self.script.to(memory_format=layout)  # type: ignore[call-overload]
                self.script = torch.jit.freeze(script)
            self._layout = layout
        except RuntimeError:
            self.script = self._loaded()

    def forward(self, window: Tensor) -> Tensor:
        try:
            return self._made(window)
        except RuntimeError as error:
            if self._layout == torch.contiguous_format or is_out_of_memory(error):
                raise
        self.script, self._layout = self._loaded(), torch.contiguous_format
        return self._made(window)

    def _made(self, window: Tensor) -> Tensor:
        # a window of one channel is laid out both ways: only a copy settles it
        seen = torch.empty_like(window, memory_format=self._layout).copy_(window)
        made = self.script(seen)
        first: Tensor = made if isinstance(made, Tensor) else made[0]
        return first

    def _loaded(self) -> torch.jit.ScriptModule:
        try:
            with _without_advice():
                script = torch.jit.load(BytesIO(self._content), self._device)
        except (RuntimeError, OSError, ValueError) as error:
            raise ValueError(
                f"is no TorchScript that this torch reads ({_last_line(error)})."
            ) from error
        ready: torch.jit.ScriptModule = script.eval()
        return ready


@contextmanager
def _without_advice() -> Iterator[None]:
    """Torch would rather have another form, which nobody has written so far."""
    with warnings.catch_warnings():
        # which of the two depends on its version
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _onnx(content: bytes, device: torch.device) -> Run:
    """Return what runs an ONNX on the CPU."""
    if device.type != "cpu":
        raise ValueError(f"is an ONNX, which runs on the CPU here, not on {device}.")
    session = onnx_session(content)
    names = [one.name for one in session.get_inputs()]
    if len(names) != 1:
        raise ValueError(f"is an ONNX of {len(names)} inputs; one with one can be run.")

    def run(window: Tensor) -> Tensor:
        made = session.run(None, {names[0]: window.numpy()})
        return torch.from_numpy(np.array(made[0]))

    return run


def onnx_session(content: bytes) -> Any:
    """Return the session of onnxruntime that runs an ONNX; errors as `running`."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise lacking("ONNX needs", "onnxruntime", "models") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # errors are told by us
    try:
        return onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
    # its errors have no base of their own
    except Exception as error:
        raise ValueError(
            f"is no ONNX that this onnxruntime reads ({_last_line(error)})."
        ) from error


def _last_line(error: Exception) -> str:
    """Return where the errors of torch say what is wrong: behind their traceback."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return reason(ValueError(lines[-1].strip())) if lines else reason(error)
