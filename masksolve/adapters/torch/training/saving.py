"""Saving a model whose training is not finished as others read it: plain names, zeros outside the masks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

_DENSE = re.compile(r"(?P<layer>(?:.*\.)?)parametrizations\.(?P<name>[^.]+)\.original")


def effective_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the state of a masked model into that of a plain one with zeros, in the same order.

    Parameters
    ----------
    state : mapping from str to Tensor
        As from ``model.state_dict()``: dense weights under ``"parametrizations.weight.original"``, masks
        under ``"parametrizations.weight.0.mask"``.

    Returns
    -------
    dict
        The weights that the model multiplies by, under ``"weight"``; all else as it was.

    Examples
    --------
    >>> from masksolve.adapters.torch import sparsify
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8))
    >>> sparsifier = sparsify(model, "2:4", dense_ends=False)
    >>> plain = effective_state(model.state_dict())
    >>> list(plain), int(plain["0.weight"].count_nonzero())
    (['0.bias', '0.weight'], 32)
    """
    masks = {name.removesuffix("0.mask") + "original": name for name in state if name.endswith(".0.mask")}
    ours = {each.removesuffix("mask") + kind for each in masks.values() for kind in ("mask", "backward_mask")}
    plain = {}
    for name, value in state.items():
        found = _DENSE.fullmatch(name)
        if found is not None and name in masks:
            plain[f"{found['layer']}{found['name']}"] = torch.where(state[masks[name]], value, 0)
        elif name not in ours:
            plain[name] = value
    return plain


class SavePretrained:
    """``model.save_pretrained`` while there are masks: what it writes loads as the model computes.

    Otherwise the weights would be written under names that ``from_pretrained`` does not know, and be
    initialised anew when the checkpoint is read. It stands in the model's ``__dict__``, before the method
    of its class; a copy or pickle of the model takes it along.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        model.__dict__["save_pretrained"] = self

    def __call__(self, *args: Any, state_dict: Mapping[str, Any] | None = None, **kwargs: Any) -> Any:
        """Save the effective weights; arguments as those of the method."""
        state = self.model.state_dict() if state_dict is None else state_dict
        save = type(self.model).save_pretrained  # type: ignore[attr-defined]
        return save(self.model, *args, state_dict=effective_state(state), **kwargs)

    def remove(self) -> None:
        """Leave the method of the class."""
        self.model.__dict__.pop("save_pretrained", None)


def guard_saving(model: nn.Module) -> list[SavePretrained]:
    """Let every part of a model that can ``save_pretrained`` write effective weights."""
    return [SavePretrained(module) for module in model.modules() if hasattr(type(module), "save_pretrained")]
