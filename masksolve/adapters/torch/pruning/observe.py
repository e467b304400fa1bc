"""What calibration data show of a model: which layers run in which order, and what they are given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import masksolve as ms

from ..layers import Choice
from .calibration import Calibration, Enough, RefusedInputError
from .features import caller_of, features, is_kernel, is_simple, routed_without_padding, without_padding
from .products import Products
from .rows import rows_of, weight_of
from .walk import Capture


class Source(Protocol):
    """What runs calibration data through a module: all of a model, or one block of it."""

    tokens: torch.Tensor | None

    def run(self, module: nn.Module, after: Callable[[], object] = ..., /) -> int:
        """Run all batches, calling ``after()`` after each; return their number."""
        ...


class _Call(NamedTuple):
    """A layer, what it was given, the version of that, and what it gave."""

    name: str
    simple: bool
    x: torch.Tensor | None
    version: int
    output: object


class Survey:
    """What a pass over the calibration data showed.

    Attributes
    ----------
    order : list of str
        The weights in the order in which the modules that multiply by them are first called.
    calls : dict
        For each weight, how often every batch calls that module.
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

    def called(
        self, weights: Sequence[Choice], module: nn.Module, args: tuple[Any, ...], output: object
    ) -> None:
        """Forward hook of a module that multiplies by these weights."""
        x = args[0] if args and not torch.is_inference_mode_enabled() else None
        # Outside inference mode, tensors made in it cannot change and so have no version.
        version = 0 if x is None or x.is_inference() else x._version
        call = _Call(weights[0].name, is_simple(weights[0], module), x, version, output)
        for weight in weights:
            if weight.name not in self.calls:
                self.order.append(weight.name)
                self.calls[weight.name] = [0] * self._batches
            self._count[weight.name] += 1
        before = self.order[self.order.index(call.name) - 1]
        if not self._as_before(call, before):
            self._apart.update(weight.name for weight in weights)
        # Holding the last call alone is enough: a normalisation that follows is called next.
        self._latest = call

    def _as_before(self, call: _Call, before: str) -> bool:
        """Whether the last call was to ``before``, which was given the same, unchanged tensor."""
        last = self._latest
        same = last is not None and last.x is call.x is not None and last.version == call.version
        return last is not None and same and last.name == before and last.simple and call.simple

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
    model: nn.Module, calibration: Calibration, weights: Iterable[Choice], capture: Capture | None = None
) -> Survey:
    """Run the calibration data once and note which of the weights are in use, and in which order.

    ``capture`` looks at a chain of blocks in the same pass.

    Raises
    ------
    ValueError
        If the data do not go through the model, a layer is never called, or nothing is seen of how a
        module multiplies by one of its weights.
    """
    found, callers, watches = Survey(), _by_caller(model, weights), list[_FirstProduct]()
    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if name in callers:
                hook = module.register_forward_hook(partial(found.called, callers[name]))
                hooks.callback(hook.remove)
            for weight in callers.get(name, ()):
                if not is_simple(weight, module) and not is_kernel(weight):
                    watches.append(_FirstProduct(weight))
                    hook = module.register_forward_pre_hook(watches[-1].given, with_kwargs=True)
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
    _check_all_seen(callers, found, watches)
    return found


def _by_caller(model: nn.Module, weights: Iterable[Choice]) -> dict[str, list[Choice]]:
    callers: dict[str, list[Choice]] = {}
    for weight in weights:
        callers.setdefault(caller_of(model, weight), []).append(weight)
    return callers


def _check_all_seen(
    callers: dict[str, list[Choice]], found: Survey, watches: Sequence[_FirstProduct]
) -> None:
    every = [weight.name for weights in callers.values() for weight in weights]
    missing = [name for name in every if name not in found.calls]
    if missing:
        raise ValueError(
            f"calibration never calls the layers {missing[:8]}, so that their inputs are unknown; leave them "
            f"out with skip=, or give data that reach them"
        )
    unseen = [watch.weight.name for watch in watches if not watch.seen]
    if unseen:
        raise ValueError(
            f"calibration shows no product of matrices with {unseen[:8]}, so that their inputs are unknown; "
            f"leave them out with skip= (of experts in transformers, batched_mm copies the weights: "
            f"model.set_experts_implementation('eager') does not)"
        )


class _FirstProduct:
    """Waits for a module to multiply by a weight."""

    def __init__(self, weight: Choice) -> None:
        self.weight, self.seen = weight, False

    def given(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forward pre-hook of the module."""
        if not self.seen:
            with Products(self.weight, self._take):
                module.forward(*args, **kwargs)

    def _take(self, group: int, samples: torch.Tensor) -> None:
        self.seen = True


def layer_statistics(
    module: nn.Module,
    source: Source,
    weight: Choice,
    calls: list[int],
    dtype: str = "float64",
    *,
    caller: nn.Module | None = None,
) -> list[ms.saliency.Statistics]:
    """Statistics of what a weight is multiplied by, one for each of its groups (see `rows_of`).

    Only the chunk at hand is in memory, on the weight's device; ``module``, which holds the weight, runs no
    further than to ``caller``, the module that multiplies by it (by default its own). Padding tokens do
    not count. Experts that no token is routed to have statistics without samples.
    """
    caller = weight.layer if caller is None else caller
    watch = _Watch(weight, calls, source, dtype)
    hook = caller.register_forward_pre_hook(watch.given, with_kwargs=True)
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
    """Gathers statistics of what a weight is multiplied by, on its device."""

    def __init__(self, weight: Choice, calls: list[int], source: Source, dtype: str) -> None:
        groups, _, features = rows_of(weight).shape
        self._weight = weight
        self._calls = calls
        self._source = source
        self._batch = self._called = 0
        self._seen = [
            ms.saliency.Statistics.empty(features, like=weight_of(weight), dtype=dtype) for _ in range(groups)
        ]

    def given(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forward pre-hook of the module that multiplies: take in what it is given, or makes of it."""
        tokens = self._source.tokens
        if is_simple(self._weight, module) or is_kernel(self._weight):
            x = (args[0] if args else kwargs["input"]).detach()
            for group, samples in features(self._weight, without_padding(x, tokens)):
                self._take(group, samples)
        elif isinstance(module, nn.MultiheadAttention):
            # It puts the sequence in front of the samples, whatever its batch_first.
            turned = None if tokens is None else tokens.T.reshape(1, -1)
            with Products(self._weight, partial(self._take, tokens=turned)):
                module.forward(*args, **kwargs)
        else:
            args, kwargs = routed_without_padding(args, kwargs, tokens)
            with Products(self._weight, partial(self._take, tokens=tokens)):
                module.forward(*args, **kwargs)
        self._called += 1
        if self._batch < len(self._calls) and self._called == self._calls[self._batch]:
            raise Enough

    def _take(self, group: int, samples: torch.Tensor, tokens: torch.Tensor | None = None) -> None:
        try:
            self._seen[group].update(without_padding(samples.detach(), tokens))
        except ValueError as error:
            raise RefusedInputError(
                f"the model gives one of its layers what cannot be used: {error}"
            ) from None

    def batch_ended(self) -> None:
        """Begin to count calls again."""
        self._batch += 1
        self._called = 0

    def statistics(self) -> list[ms.saliency.Statistics]:
        """One for each group."""
        if not any(seen.count for seen in self._seen):
            raise ValueError("calibration gives the layer no samples")
        return self._seen
