"""Mean absorption (BiasFix): biases take up what pruning took from the mean of each output."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..layers import PRUNABLE
from .calibration import Calibration, Forward
from .observe import Survey, layer_statistics, survey
from .rows import rows_of
from .state import Changes, evaluating, tensor_of


def absorber(model: nn.Module, name: str, found: Survey) -> str:
    """Name what can take up a shift of a layer's mean output; empty if nothing can.

    That is the layer's bias, or the running mean of the batch normalisation that follows directly.
    """
    if model.get_submodule(name).bias is not None:
        return f"{name}.bias".lstrip(".")
    follower = found.followers.get(name, "")
    if follower and model.get_submodule(follower).running_mean is not None:
        return f"{follower}.running_mean"
    return ""


def absorb(model: nn.Module, target: str, shift: torch.Tensor) -> torch.Tensor:
    """Give the value with which ``target`` takes up a shift; a normalisation subtracts its mean."""
    tensor = tensor_of(model, target)
    change = -shift if target.endswith(".running_mean") else shift
    return (tensor.detach().to(change.dtype) + change.to(tensor.device)).to(tensor.dtype)


def absorb_mean(
    model: nn.Module,
    dense: nn.Module,
    calibration: Any,
    *,
    batch_size: int = 100,
    forward: Forward | None = None,
) -> dict[str, str]:
    """Let biases take up the mean output error of weights that were pruned by whatever means.

    For each Linear, Conv1d or Conv2d layer whose weight W' differs from the dense W, in the order
    in which they run, the bias grows by ``(W - W') x``, x the mean of what the layer is given by the
    model as it is by then. A convolution without a bias moves the running mean of the batch
    normalisation that follows it.

    Parameters
    ----------
    model : Module
        The pruned model; its biases and running means are changed in place, if everything goes well.
    dense : Module
        The model before pruning, with layers of the same names; not run and not changed.
    calibration : Tensor, mapping of Tensors, or iterable of batches
        As for `adaprune`; also ``batch_size`` and ``forward``.

    Returns
    -------
    dict
        For each layer that differs, the name of the tensor that took up its error; empty for layers
        without a bias that feed no batch normalisation directly.

    Raises
    ------
    TypeError, ValueError
        If ``dense`` has other layers, no weight differs, or as `adaprune`; the model is then as it
        was.

    References
    ----------
    Finkelstein, Almog, Grobman. Fighting Quantization Bias With Bias. 2019.
    Hubara et al. NeurIPS 2021, appendix A.1 (BiasFix).
    """
    pruned = _differing(model, dense)
    data = Calibration(calibration, batch_size=batch_size, forward=forward)
    targets = {}
    with Changes() as changes, evaluating(model):
        found = survey(model, data, pruned)
        for name in found.order:
            targets[name] = absorber(model, name, found)
            if not targets[name]:
                continue
            layer = model.get_submodule(name)
            statistics = layer_statistics(model, data, layer, found.calls[name])
            mean = torch.stack([seen.mean for seen in statistics])
            lost = rows_of(dense.get_submodule(name)).to(mean) - rows_of(layer).to(mean)
            shift = (lost @ mean[..., None]).flatten()
            changes.set(tensor_of(model, targets[name]), absorb(model, targets[name], shift))
    return targets


def _differing(model: nn.Module, dense: nn.Module) -> list[str]:
    if not isinstance(dense, nn.Module):
        raise TypeError(f"dense must be the model before pruning, got {type(dense).__name__}")
    before = dict(dense.named_modules())
    names = []
    for name, layer in model.named_modules():
        if not isinstance(layer, PRUNABLE):
            continue
        other = before.get(name)
        if not isinstance(other, PRUNABLE) or other.weight.shape != layer.weight.shape:
            raise ValueError(f"dense must have the same layers as model, but has none like '{name}'")
        if not torch.equal(layer.weight.cpu(), other.weight.cpu()):
            names.append(name)
    if not names:
        raise ValueError("dense must be the model before pruning, but all its weights are those of model")
    return names
