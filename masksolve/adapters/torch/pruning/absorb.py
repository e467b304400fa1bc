"""Mean absorption (BiasFix): biases take up what pruning took from the mean of each output."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..layers import Choice, known_weights
from .calibration import Calibration, Forward
from .features import caller_of, is_kernel
from .observe import Survey, layer_statistics, survey
from .rows import rows_of, weight_of
from .state import Changes, evaluating, tensor_of


def absorber(model: nn.Module, weight: Choice, found: Survey) -> str:
    """Name what can take up a shift of a layer's mean output; empty if nothing can.

    That is the weight's bias, or the running mean of the batch normalisation that follows directly.
    """
    own = {"weight": "bias", "in_proj_weight": "in_proj_bias"}
    bias = own.get(weight.parameter, f"{weight.parameter}_bias")
    groups, outputs, _ = rows_of(weight).shape
    held = getattr(weight.layer, bias, None)
    if isinstance(held, nn.Parameter) and held.numel() == groups * outputs:
        return f"{weight.path}.{bias}".lstrip(".")
    follower = found.followers.get(weight.name, "") if is_kernel(weight) else ""
    if follower and model.get_submodule(follower).running_mean is not None:
        return f"{follower}.running_mean"
    return ""


def absorb(model: nn.Module, target: str, shift: torch.Tensor) -> torch.Tensor:
    """Give the value with which ``target`` takes up a shift; a normalisation subtracts its mean."""
    tensor = tensor_of(model, target)
    change = -shift if target.endswith(".running_mean") else shift
    whole = change.to(tensor.device).reshape(tensor.shape)
    return (tensor.detach().to(change.dtype) + whole).to(tensor.dtype)


def absorb_mean(
    model: nn.Module,
    dense: nn.Module,
    calibration: Any,
    *,
    batch_size: int = 100,
    forward: Forward | None = None,
) -> dict[str, str]:
    """Let biases take up the mean output error of weights that were pruned by whatever means.

    For each weight W' that differs from the dense W, in the order in which they are used, the bias grows
    by ``(W - W') x``, x the mean of what W' is multiplied by in the model as it is by then. A convolution
    without a bias moves the running mean of the batch normalisation that follows it.

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
        For each weight that differs, the name of the tensor that took up its error; empty for those
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
        found = survey(model, data, [weight for weight, _ in pruned.values()])
        for name in found.order:
            weight, before = pruned[name]
            targets[name] = absorber(model, weight, found)
            if not targets[name]:
                continue
            caller = model.get_submodule(caller_of(model, weight))
            statistics = layer_statistics(model, data, weight, found.calls[name], caller=caller)
            mean = torch.stack([seen.mean for seen in statistics])
            lost = rows_of(before).to(mean) - rows_of(weight).to(mean)
            shift = (lost @ mean[..., None]).flatten()
            changes.set(tensor_of(model, targets[name]), absorb(model, targets[name], shift))
    return targets


def _differing(model: nn.Module, dense: nn.Module) -> dict[str, tuple[Choice, Choice]]:
    """Give the weights that differ, by name: in the model, and before pruning."""
    if not isinstance(dense, nn.Module):
        raise TypeError(f"dense must be the model before pruning, got {type(dense).__name__}")
    before = {weight.name: weight for weight in known_weights(dense)}
    found = {}
    for weight in known_weights(model):
        other = before.get(weight.name)
        if other is None or weight_of(other).shape != weight_of(weight).shape:
            raise ValueError(f"dense must have the same layers as model, but has none like '{weight.name}'")
        if not torch.equal(weight_of(weight).cpu(), weight_of(other).cpu()):
            found[weight.name] = weight, other
    if not found:
        raise ValueError("dense must be the model before pruning, but all its weights are those of model")
    return found
