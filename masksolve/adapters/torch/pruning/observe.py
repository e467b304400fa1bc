"""What calibration data show of a model: which layers run in which order, and what they are given."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import masksolve as ms

from .calibration import Calibration, Enough, RefusedInputError
from .rows import weight_of
from .walk import Capture

_CHUNK_ENTRIES = 1 << 21
"""Entries of a convolution's inputs that are unfolded at a time."""


class Source(Protocol):
    """What runs calibration data through a module: all of a model, or one block of it."""

    tokens: torch.Tensor | None

    def run(self, module: nn.Module, after: Callable[[], object] = ..., /) -> int:
        """Run all batches, calling ``after()`` after each; return their number."""
        ...


class _Call(NamedTuple):
    """A layer, what it was given, the version of that, and what it gave."""

    name: str
    linear: bool
    x: torch.Tensor | None
    version: int
    output: object


class Survey:
    """What a pass over the calibration data showed.

    Attributes
    ----------
    order : list of str
        The layers in the order in which they are first called.
    calls : dict
        For each layer, how often every batch calls it.
    followers : dict
        For each layer whose output goes straight into a batch normalisation, that module's name.
    """

    def __init__(self) -> None:
        self.order: list[str] = []
        self.calls: dict[str, list[int]] = {}
        self.followers: dict[str, str] = {}
        self._apart: set[str] = set()
        self._batches = 0
        self._count: Counter[str] = Counter()
        self._latest: _Call | None = None

    def called(self, name: str, module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        """Forward hook of a layer."""
        x = args[0] if args and not torch.is_inference_mode_enabled() else None
        # Outside inference mode, tensors made in it cannot change and so have no version.
        version = 0 if x is None or x.is_inference() else x._version
        call = _Call(name, isinstance(module, nn.Linear), x, version, output)
        if name not in self.calls:
            self.order.append(name)
            self.calls[name] = [0] * self._batches
        self._count[name] += 1
        before = self.order[self.order.index(name) - 1]
        if not self._as_before(call, before):
            self._apart.add(name)
        # Holding the last call alone is enough: a normalisation that follows is called next.
        self._latest = call

    def _as_before(self, call: _Call, before: str) -> bool:
        """Whether the last call was to ``before``, which was given the same, unchanged tensor."""
        last = self._latest
        same = last is not None and last.x is call.x is not None and last.version == call.version
        return last is not None and same and last.name == before and last.linear and call.linear

    def normalised(self, name: str, _module: object, args: tuple[object, ...]) -> None:
        """Forward pre-hook of a batch normalisation."""
        if self._latest is not None and args and args[0] is self._latest.output:
            self.followers.setdefault(self._latest.name, name)

    def batch_ended(self) -> None:
        """Write down the calls of a batch."""
        for name, history in self.calls.items():
            history.append(self._count[name])
        self._batches += 1
        self._count.clear()
        self._latest = None

    def repeats(self, name: str) -> bool:
        """Whether a layer always gets the very tensor that the one before it in ``order`` got.

        Queries, keys and values do, for instance; the statistics of the first hold for all of them.
        """
        before = self.order[self.order.index(name) - 1]
        return name not in self._apart and self.calls[name] == self.calls[before]


def survey(
    model: nn.Module, calibration: Calibration, names: Iterable[str], capture: Capture | None = None
) -> Survey:
    """Run the calibration data once and note which of the named layers run, and in which order.

    ``capture`` looks at a chain of blocks in the same pass.

    Raises
    ------
    ValueError
        If the data do not go through the model, or a layer is never called.
    """
    names, found, modules = list(names), Survey(), dict(model.named_modules())
    with ExitStack() as hooks:
        for name, module in modules.items():
            if name in names:
                hook = module.register_forward_hook(partial(found.called, name))
                hooks.callback(hook.remove)
            if isinstance(module, _BatchNorm):
                hook = module.register_forward_pre_hook(partial(found.normalised, name))
                hooks.callback(hook.remove)
        if capture is not None:
            capture.hook(hooks, stop=False)

        def ended() -> None:
            found.batch_ended()
            if capture is not None:
                capture.batch_ended()

        calibration.run(model, ended)
    missing = [name for name in names if name not in found.calls]
    if missing:
        raise ValueError(
            f"calibration never calls the layers {missing[:8]}, so that their inputs are unknown; leave them "
            f"out with skip=, or give data that reach them"
        )
    return found


def layer_statistics(
    module: nn.Module, source: Source, layer: nn.Module, calls: list[int], dtype: str = "float64"
) -> list[ms.saliency.Statistics]:
    """Statistics of what a layer multiplies its weight by, one for each of its groups of channels.

    The features of a convolution are its input channels at every place of the kernel, the place
    varying slowest, as in `as_matrices`. Only the chunk at hand is in memory, on the layer's device;
    ``module``, which holds the layer, runs no further than to it. Padding tokens do not count.
    """
    watch = _Watch(layer, calls, source, dtype)
    hook = layer.register_forward_pre_hook(watch.given, with_kwargs=True)
    try:
        number = source.run(module, watch.batch_ended)
    finally:
        hook.remove()
    if number != len(calls):
        raise ValueError(
            f"calibration gave {len(calls)} batches at first and {number} later; it must give the same ones "
            f"in every pass"
        )
    return watch.statistics()


class _Watch:
    """Gathers statistics of a layer's inputs, on the layer's device."""

    def __init__(self, layer: nn.Module, calls: list[int], source: Source, dtype: str) -> None:
        weight = weight_of(layer)
        features = math.prod(weight.shape[1:])
        self._layer = layer
        self._calls = calls
        self._source = source
        self._batch = self._called = 0
        self._seen = [
            ms.saliency.Statistics.empty(features, like=weight, dtype=dtype)
            for _ in range(getattr(layer, "groups", 1))
        ]

    def given(self, _module: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forward pre-hook: take in what the layer is given."""
        x = _without_padding((args[0] if args else kwargs["input"]).detach(), self._source.tokens)
        for groups in _features(self._layer, x):
            for seen, samples in zip(self._seen, groups, strict=True):
                try:
                    seen.update(samples)
                except ValueError as error:
                    raise RefusedInputError(
                        f"the model gives one of its layers what cannot be used: {error}"
                    ) from None
        self._called += 1
        if self._batch < len(self._calls) and self._called == self._calls[self._batch]:
            raise Enough

    def batch_ended(self) -> None:
        """Begin to count calls again."""
        self._batch += 1
        self._called = 0

    def statistics(self) -> list[ms.saliency.Statistics]:
        """One for each group."""
        if not self._seen[0].count:
            raise ValueError("calibration gives the layer no samples")
        return self._seen


def _without_padding(x: torch.Tensor, tokens: torch.Tensor | None) -> torch.Tensor:
    """Leave out padding where the first axes of a layer's input are those of the tokens."""
    if tokens is None:
        return x
    if x.ndim > 2 and x.shape[:2] == tokens.shape:
        return x[tokens.to(x.device)]
    # Layers behind a flattening, such as routers of experts, see all tokens in one axis.
    if x.ndim == 2 and tokens.shape[1] > 1 and len(x) == tokens.numel():
        return x[tokens.to(x.device).flatten()]
    return x


def _features(layer: nn.Module, x: torch.Tensor) -> Iterator[torch.Tensor]:
    """Give samples of features, (groups, samples, features), a chunk at a time."""
    if isinstance(layer, nn.Linear):
        yield x.reshape(1, -1, x.shape[-1])
        return
    assert isinstance(layer, (nn.Conv1d, nn.Conv2d))
    spatial = len(layer.kernel_size)
    batch = x if x.ndim == spatial + 2 else x.unsqueeze(0)
    entries = math.prod(batch.shape[1:]) * math.prod(layer.kernel_size)
    for chunk in torch.split(batch, max(1, _CHUNK_ENTRIES // entries)):
        yield _unfolded(layer, chunk)


def _unfolded(layer: nn.Conv1d | nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """Every patch that a convolution's kernel covers, as a sample."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x = nn.functional.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
    line = [1] * (2 - len(layer.kernel_size))  # a Conv1d works on images one pixel high
    patches = nn.functional.unfold(
        x.reshape(*x.shape[:2], *line, *x.shape[2:]),
        kernel_size=(*line, *layer.kernel_size),
        dilation=(*line, *layer.dilation),
        stride=(*line, *layer.stride),
    )
    places, channels = math.prod(layer.kernel_size), layer.in_channels // layer.groups
    parts = patches.reshape(len(x), layer.groups, channels, places, -1)
    return parts.permute(1, 0, 4, 3, 2).reshape(layer.groups, -1, places * channels)
