"""Calibration data: batches that are checked, and gone through again and again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from masksolve.checks import integer

from .state import device_of, raw_bytes

Forward = Callable[[nn.Module, Any], Any]
"""How a model takes a batch: ``forward(model, batch)``."""


def call(model: nn.Module, batch: Any) -> Any:
    """Give a model a batch: a tensor as it is, a mapping as keywords, a tuple or list as arguments."""
    if isinstance(batch, Mapping):
        return model(**batch)
    return model(*batch) if isinstance(batch, (tuple, list)) else model(batch)


class Enough(Exception):
    """Raised by a hook that has seen what it wanted of a batch: the rest of the model need not run."""


class RefusedInputError(Exception):
    """Raised by a hook for inputs that calibration cannot use."""


@contextmanager
def calibrating(index: int) -> Iterator[None]:
    """Run a batch, which a hook may end or refuse."""
    try:
        yield
    except Enough:
        pass
    except RefusedInputError as error:
        raise ValueError(f"calibration batch {index}: {error}") from None


class Calibration:
    """Batches of calibration data that can be gone through again and again.

    Attributes
    ----------
    tokens : Tensor of bool, or None
        Which tokens of the batch at hand are no padding: its ``attention_mask``, if it is a mapping
        that has one of shape (samples, tokens).
    tokens_seen : list
        The same of every batch of the latest pass.

    Parameters
    ----------
    data : Tensor, mapping of Tensors, or iterable of batches
        A tensor, or a mapping of tensors of equal length, holds samples along its first axis and is
        cut into batches of ``batch_size``. Anything else is gone through batch by batch, once for
        every layer; an iterator, which can be gone through only once, is kept in memory.
    batch_size : int
    forward : callable
        Called as ``forward(model, batch)``; by default `call`.

    Raises
    ------
    TypeError, ValueError
        If there is nothing to calibrate with.
    """

    def __init__(self, data: Any, *, batch_size: int = 100, forward: Forward | None = None) -> None:
        batch_size = integer("batch_size", batch_size, least=1)
        if forward is not None and not callable(forward):
            raise TypeError(f"forward must be callable as forward(model, batch), got {forward!r}")
        self.forward = forward or call
        self.tokens: torch.Tensor | None = None
        self.tokens_seen: list[torch.Tensor | None] = []
        self._batches = _batches(data, batch_size)

    def __iter__(self) -> Iterator[Any]:
        """Go through the batches, each of them checked."""
        empty = True
        for index, batch in enumerate(self._batches):
            _check(batch, index)
            empty = False
            yield batch
        if empty:
            raise ValueError(
                "calibration gave no batches: it is empty, or is used up although its iter() promises "
                "another pass; give a tensor or a list of batches"
            )

    def run(self, model: nn.Module, after: Callable[[], object] = lambda: None) -> int:
        """Run all batches through a model, calling ``after()`` after each; return their number.

        A hook that raises `Enough` ends its batch.
        """
        device, number = device_of(model), 0
        self.tokens_seen = []
        for number, batch in enumerate(self, start=1):
            given = moved(batch, device)
            self.tokens = _tokens(given)
            self.tokens_seen.append(self.tokens)
            with calibrating(number - 1):
                self._forward(model, given, number - 1)
            after()
        return number

    def _forward(self, model: nn.Module, batch: Any, index: int) -> None:
        try:
            self.forward(model, batch)
        except (Enough, RefusedInputError):
            raise
        except Exception as error:
            raise ValueError(
                f"calibration batch {index} ({_describe(batch)}) does not go through the model; "
                f"forward=lambda model, batch: ... can say how it is given. "
                f"{type(error).__name__}: {error}"
            ) from error

    def digest(self) -> str:
        """Fingerprint of all samples."""
        seen = hashlib.sha256()
        for batch in self:
            seen.update(_describe(batch).encode())
            for tensor in _tensors(batch):
                seen.update(raw_bytes(tensor))
        return seen.hexdigest()


def _batches(data: Any, batch_size: int) -> Iterable[Any]:
    if isinstance(data, torch.Tensor):
        if data.ndim < 1 or not len(data):
            raise ValueError(
                f"calibration must hold samples along its first axis, got shape {tuple(data.shape)}"
            )
        return torch.split(data, batch_size)
    if isinstance(data, Mapping):
        lengths = {len(each) if isinstance(each, torch.Tensor) and each.ndim else 0 for each in data.values()}
        if len(lengths) != 1 or not min(lengths):
            raise ValueError(
                f"calibration as a mapping must hold tensors with one entry for every sample along their "
                f"first axes, got {_describe(data)}"
            )
        columns = {key: torch.split(each, batch_size) for key, each in data.items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if isinstance(data, (str, bytes, nn.Module)) or not isinstance(data, Iterable):
        raise TypeError(
            f"calibration must be a tensor of samples, or an iterable of batches, got {type(data).__name__}"
        )
    # An iterator would be used up after the first layer.
    return list(data) if isinstance(data, Iterator) else data


def _check(batch: Any, index: int) -> None:
    found = _tensors(batch)
    if not found:
        raise TypeError(
            f"calibration batch {index} must be a tensor, or a tuple, list or mapping of tensors, got "
            f"{type(batch).__name__}; torch.as_tensor makes one of a NumPy array"
        )
    for tensor in found:
        if not tensor.numel():
            raise ValueError(f"calibration batch {index} holds no samples: {_describe(batch)}")
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"calibration batch {index} must be finite, got NaN or infinity")


def _tensors(batch: Any) -> list[torch.Tensor]:
    """Every tensor of a batch, however deep."""
    if isinstance(batch, torch.Tensor):
        return [batch]
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    return [each for part in batch for each in _tensors(part)] if isinstance(batch, (tuple, list)) else []


def _tokens(batch: Any) -> torch.Tensor | None:
    """Find which tokens of a batch are no padding; None if nothing says so."""
    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    return mask != 0 if isinstance(mask, torch.Tensor) and mask.ndim == 2 else None


def _describe(batch: Any) -> str:
    shapes = ", ".join(f"{each.dtype} {tuple(each.shape)}" for each in _tensors(batch))
    return f"{type(batch).__name__}: {shapes or 'no tensors'}"


def moved(batch: Any, device: torch.device | None) -> Any:
    """Move the tensors of a batch to a device, unless the model lies on several."""
    if device is None:
        return batch
    if isinstance(batch, torch.Tensor):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: moved(value, device) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        return [moved(value, device) for value in batch]
    return batch
