"""A model's state: run it without changing it, change it all or nothing, and tell it apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Without gradients and with every module in evaluation mode; the modes come back afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    # The fused attention of torch passes by the modules whose inputs are looked at.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        for module, _ in modes:
            module.training = False
        with torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for module, training in modes:
            module.training = training


@contextmanager
def without_cache(model: nn.Module) -> Iterator[None]:
    """Keep a language model from storing keys and values, which blocks that run again would add to."""
    config: Any = getattr(model, "config", None)
    before = getattr(config, "use_cache", None)
    if not before:
        yield
        return
    config.use_cache = False
    try:
        yield
    finally:
        config.use_cache = before


class Changes:
    """Changes to tensors that are taken back if the block does not come to its end.

    What they held before is kept in the host's memory, so that an accelerator holds no second model.

    Examples
    --------
    >>> import torch
    >>> bias = torch.zeros(1)
    >>> try:
    ...     with Changes() as changes:
    ...         changes.set(bias, torch.ones(1))
    ...         raise ValueError
    ... except ValueError:
    ...     print(bias)
    tensor([0.])
    """

    def __init__(self) -> None:
        self._before: list[tuple[torch.Tensor, torch.Tensor]] = []

    def note(self, tensor: torch.Tensor) -> None:
        """Remember a tensor as it is, because something else is about to change it."""
        self._before.append((tensor, tensor.detach().to("cpu", copy=True)))

    def note_all(self, model: nn.Module) -> None:
        """Remember all parameters and buffers of a model."""
        for tensor in (*model.parameters(), *model.buffers()):
            self.note(tensor)

    def set(self, tensor: torch.Tensor, value: torch.Tensor) -> None:
        """Write ``value`` into ``tensor``."""
        self.note(tensor)
        with torch.no_grad():
            tensor.copy_(value)

    def __enter__(self) -> Changes:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            with torch.no_grad():
                for tensor, before in reversed(self._before):
                    tensor.copy_(before)


def tensor_of(model: nn.Module, name: str) -> torch.Tensor:
    """Give a parameter or buffer by its name in the model."""
    path, _, last = name.rpartition(".")
    tensor = getattr(model.get_submodule(path), last)
    assert isinstance(tensor, torch.Tensor)
    return tensor


def digest_of(model: nn.Module) -> str:
    """Fingerprint of a model's parameters and buffers."""
    seen = hashlib.sha256()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        seen.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        seen.update(raw_bytes(tensor))
    return seen.hexdigest()


def raw_bytes(tensor: torch.Tensor) -> bytes:
    """Give what a tensor holds, whatever its dtype and layout."""
    plain = tensor.detach().cpu().contiguous().reshape(-1)
    return plain.view(torch.uint8).numpy().tobytes()


def device_of(model: nn.Module) -> torch.device | None:
    """Give the device of a model's parameters; None if there are several, or none."""
    devices = {parameter.device for parameter in model.parameters()}
    return devices.pop() if len(devices) == 1 else None
