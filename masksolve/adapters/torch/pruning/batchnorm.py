"""Batch-norm re-estimation (BNT): running statistics of the model as it is."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from .calibration import Calibration, Forward
from .state import Changes, evaluating


def retune_batchnorm(
    model: nn.Module, calibration: Any, *, batch_size: int = 100, forward: Forward | None = None
) -> list[str]:
    """Estimate the running statistics of all batch normalisations again, as pruning has shifted them.

    The means and variances become the averages over the calibration batches, every batch with the
    same weight. Normalisations run in training mode meanwhile, everything else in evaluation mode.
    Modes and momentum come back afterwards, and ``num_batches_tracked`` begins again.

    Parameters
    ----------
    model : Module
        Its running statistics are changed in place, if everything goes well.
    calibration : Tensor, mapping of Tensors, or iterable of batches
        As for `adaprune`; also ``batch_size`` and ``forward``. Batches should be large, a hundred
        samples or more, since each is normalised by its own statistics on the way.

    Returns
    -------
    list of str
        Names of the normalisations.

    Raises
    ------
    TypeError, ValueError
        If the model has no batch normalisation with running statistics, one of them is never
        called, or as `adaprune`; the model is then as it was.

    References
    ----------
    Hubara, Nahshan, Hanani, Banner, Soudry. Accurate Post Training Quantization With Small
    Calibration Sets. ICML 2021 (batch-norm tuning).
    """
    norms = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }
    if not norms:
        raise ValueError("model must have a batch normalisation with running statistics, it has none")
    data = Calibration(calibration, batch_size=batch_size, forward=forward)
    called: Counter[str] = Counter()
    with Changes() as changes, evaluating(model), ExitStack() as afterwards:
        for name, norm in norms.items():
            for buffer in norm.buffers(recurse=False):
                changes.note(buffer)
            afterwards.callback(setattr, norm, "momentum", norm.momentum)
            hook = norm.register_forward_pre_hook(partial(_count, called, name))
            afterwards.callback(hook.remove)
            norm.reset_running_stats()
            norm.momentum = None  # torch's word for the average of all batches
            norm.training = True
        data.run(model)
        unseen = [name for name in norms if not called[name]]
        if unseen:
            raise ValueError(f"calibration never calls the batch normalisations {unseen[:8]}")
    return list(norms)


def _count(called: Counter[str], name: str, _module: nn.Module, _given: object) -> None:
    called[name] += 1
