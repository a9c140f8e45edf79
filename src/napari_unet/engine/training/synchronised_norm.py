"""Batch norms with the statistics of all processes that train together.

On GPUs it is torch's own (`nn.SyncBatchNorm`), which refuses to compute elsewhere.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from napari_unet.engine.training.exchange import all_gather


def synchronise(module: nn.Module) -> None:
    """Let the batch norms of a module be synchronised; names of weights stay."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm3d):
            if part.weight.is_cuda:
                # that of all
                part.process_group = None  # type: ignore[assignment]
                part.__class__ = nn.SyncBatchNorm  # type: ignore[assignment]
            else:
                part.__class__ = _Synchronised


class _Synchronised(nn.BatchNorm2d):
    """A batch norm for a network in training, on any device."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Normalise by mean and variance of the values of all processes."""
        count, mean, var = _statistics(input)
        if self.running_mean is not None and self.running_var is not None:
            share, unbiased = self.momentum or 0.0, count / max(count - 1, 1)
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
            self.running_mean.lerp_(mean.to(self.running_mean), share)
            self.running_var.lerp_(var.to(self.running_var) * unbiased, share)
        found: Tensor = _Normalise.apply(
            input, self.weight, self.bias, mean, var, count, self.eps
        )
        return found


def _statistics(x: Tensor) -> tuple[float, Tensor, Tensor]:
    """Return number, mean and variance over all processes, channel by channel.

    Joined from those of each as Chan et al. (1979), not by squares, which cancel out.
    """
    values = x.detach().to(torch.promote_types(x.dtype, torch.float32))
    # on the CPU torch.var_mean takes twenty times as long as these two (torch 2.13)
    mean = values.mean(_others(x))
    var = (values - mean.view(_wide(x))).square_().mean(_others(x))
    count = torch.full_like(mean[:1], x.numel() // x.shape[1])
    rows = all_gather(torch.cat([count, mean, var]).double())
    counts, means, variances = rows.split([1, len(mean), len(mean)], dim=1)
    shares = counts / counts.sum()
    mean = (shares * means).sum(dim=0)
    var = (shares * (variances + (means - mean) ** 2)).sum(dim=0)
    return float(counts.sum()), mean.to(values.dtype), var.to(values.dtype)


class _Normalise(torch.autograd.Function):
    """Normalisation by statistics that depend on the values of all processes."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        var: Tensor,
        count: float,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, var)
        ctx.count, ctx.eps = count, eps
        found: Tensor = torch.native_batch_norm(
            x, weight, bias, mean, var, False, 0.0, eps
        )[0]
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, weight, mean, var = ctx.saved_tensors
        # as if the statistics were constants ...
        grad, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            grads[0], x, weight, mean, var, None, None, False, ctx.eps, [True] * 3
        )
        # ... and what goes through them, which all have a part in
        sums = all_gather(torch.stack([of_bias, of_weight]).to(mean.dtype)).sum(0)
        scale = torch.rsqrt(var + ctx.eps)
        shift, slope = weight * scale * sums / ctx.count
        mean, slope, shift = (
            value.to(x.dtype).view(_wide(x)) for value in (mean, slope * scale, shift)
        )
        grad.sub_((x - mean).mul_(slope)).sub_(shift)
        return grad, of_weight, of_bias, None, None, None, None


def _others(x: Tensor) -> tuple[int, ...]:
    """Return all axes but that of the channels."""
    return 0, *range(2, x.ndim)


def _wide(x: Tensor) -> tuple[int, ...]:
    """Return the shape of a value for each channel that goes with all pixels."""
    return 1, -1, *(1,) * (x.ndim - 2)
