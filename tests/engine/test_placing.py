"""How networks lie in memory; the GPU of a Mac is made up here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
import torch

from napari_unet.core.network.architecture import u_shape
from napari_unet.engine.network import placing
from napari_unet.engine.network.layered import LAYOUT, LayeredNetwork
from napari_unet.engine.network.placing import settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SMALL = u_shape(ndim=3, channels=2, classes=2, width=4, depth=1)
Answers = tuple[torch.Tensor, ...]


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Say what the GPU makes of what is right."""
    computed = placing._computed

    def answering(spoil: Callable[[Answers], Answers]) -> None:
        def on_gpu(network: object, learns: bool, device: torch.device) -> Answers:
            right = computed(network, learns, torch.device("cpu"))  # type: ignore[arg-type]
            return spoil(right) if device.type == "mps" else right

        monkeypatch.setattr(placing, "_computed", on_gpu)

    monkeypatch.setattr(placing, "_is_on_mac", lambda _: True)
    placing._problem.cache_clear()
    yield answering
    placing._problem.cache_clear()


def failing(_: Answers) -> Answers:
    raise RuntimeError("ConvTranspose 3D is not supported on MPS\n at line 7")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda a: (a[0].roll(1, 2), *a[1:]), r"off by \d+%"),
        (lambda a: (a[0] * torch.nan, *a[1:]), "off by nan"),
        (lambda a: (a[0], a[1] * 1.1), "off by 10%"),
        (failing, "ConvTranspose 3D is not supported on MPS; choose the device cpu"),
    ],
    ids=["scores", "nan", "gradient", "error"],
)
def test_a_gpu_that_computes_wrongly_is_refused(
    mac: Callable[..., None], spoil: Callable[[Answers], Answers], said: str
) -> None:
    mac(spoil)
    with pytest.raises(ValueError, match=f"of this Mac cannot be used .*{said}"):
        settle(LayeredNetwork(SMALL), learns="fp32")


def test_one_that_computes_right_has_the_plain_layout_and_is_asked_once(
    mac: Callable[..., None],
) -> None:
    asked: list[int] = []

    def rounded(answers: Answers) -> Answers:
        asked.append(len(answers))
        return tuple(a * (1 + 1e-4) for a in answers)

    mac(rounded)
    for _ in range(2):
        module = LayeredNetwork(SMALL)
        settle(module)
        assert module.layout == torch.contiguous_format
        assert all(p.is_contiguous() for p in module.parameters())
        settle(LayeredNetwork(SMALL), learns="fp32")
    # of the scores alone, then of the gradient, too
    assert asked == [1, 2]


def test_memory_that_runs_out_meanwhile_is_no_fault_of_the_gpu(
    mac: Callable[..., None],
) -> None:
    def full(_: Answers) -> Answers:
        raise RuntimeError("MPS backend out of memory")

    mac(full)
    with pytest.raises(RuntimeError, match="out of memory"):
        settle(LayeredNetwork(SMALL))


def test_elsewhere_nothing_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(placing, "_problem")
    module = LayeredNetwork(SMALL)
    state = torch.random.get_rng_state()
    settle(module, learns="fp32")
    assert module.layout == torch.channels_last_3d
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize(
    ("processor", "ndim", "width", "learns", "plain"),
    [
        ("AVX2", 2, 32, "fp32", True),
        ("AVX2", 2, 64, "fp32", True),
        ("AVX2", 2, 16, "fp32", False),
        ("AVX2", 2, 32, "bf16", False),
        ("AVX2", 2, 32, None, False),
        ("AVX2", 3, 32, "fp32", False),
        ("AVX512", 2, 32, "fp32", False),
        ("DEFAULT", 2, 32, "fp32", False),
    ],
)
def test_a_wide_network_learns_in_the_plain_layout_on_an_older_processor(
    processor: str,
    ndim: Literal[2, 3],
    width: int,
    learns: str | None,
    plain: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: processor)
    table = u_shape(ndim=ndim, channels=2, classes=2, width=width, depth=1)
    module = LayeredNetwork(table)
    settle(module, learns=learns)
    wanted = torch.contiguous_format if plain else LAYOUT[ndim]
    assert module.layout == wanted
    assert all(
        p.is_contiguous(memory_format=wanted)
        for p in module.parameters()
        if p.ndim == ndim + 2
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_real_gpu_agrees_with_the_cpu() -> None:
    found, wanted = (
        placing._computed(SMALL, True, torch.device(name)) for name in ("cuda", "cpu")
    )
    for a, b in zip(found, wanted, strict=True):
        assert (a - b).norm() <= placing._MOST * b.norm()
