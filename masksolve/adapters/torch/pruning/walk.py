"""Activations of one block at a time, so that the blocks before it never run again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from ..blocks import Chain
from .calibration import Calibration, Enough, calibrating


class BrokenChainError(Exception):
    """The blocks of a chain do not each run once, in order, on what the one before gave."""


class Call(NamedTuple):
    """What a block is given for a batch."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def with_state(self, slot: int | str, state: Any) -> Call:
        """Replace the argument that blocks hand on."""
        if isinstance(slot, str):
            return self._replace(kwargs=self.kwargs | {slot: state})
        return self._replace(args=(*self.args[:slot], state, *self.args[slot + 1 :]))


class Capture:
    """Forward hooks that note, in one pass over the calibration data, how the blocks of a chain run.

    Of the first block everything is kept; of the others only what is not handed on from block to
    block, such as attention masks and rotary embeddings, which the model makes once for all of them.
    """

    def __init__(self, chain: Chain) -> None:
        self.calls: list[list[Call]] = [[] for _ in chain.blocks]
        self.slot: int | str | None = None
        self.broken = ""
        self._chain = chain
        self._batches = 0
        self._given: Any = None
        self._version = 0

    def hook(self, hooks: ExitStack, *, stop: bool) -> None:
        """Attach to the blocks; with ``stop`` a batch ends at the last one's door."""
        last = len(self._chain.blocks) - 1
        for number, block in enumerate(self._chain.blocks):
            ends = stop and number == last
            before = block.register_forward_pre_hook(partial(self._before, number, ends), with_kwargs=True)
            hooks.callback(before.remove)
            hooks.callback(block.register_forward_hook(self._after).remove)

    def batch_ended(self) -> None:
        """Check that every block ran once."""
        self._batches += 1
        self._given = None
        if any(len(calls) != self._batches for calls in self.calls):
            self.broken = self.broken or "a block does not run exactly once for every batch"

    def _before(
        self, number: int, ends: bool, _block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if len(self.calls[number]) != self._batches:
            self.broken = self.broken or "a block does not run exactly once for every batch"
        call = Call(args, {key: _without_cache(key, value) for key, value in kwargs.items()})
        if number:
            slot = _slot_of(self._given, call)
            if slot is None or (self.slot is not None and slot != self.slot):
                self.broken = self.broken or "a block is not given what the block before it gave"
                slot = slot or self.slot
            self.slot = slot
            if slot is not None:
                call = call.with_state(slot, None)
        self.calls[number].append(call)
        self._version = _version(self._given)
        if ends:
            raise Enough

    def _after(self, _block: nn.Module, _args: object, output: Any) -> None:
        if _version(self._given) != self._version:
            self.broken = self.broken or "a block changes its input in place"
        self._given = state_of(output)


class Walk:
    """A position in a chain: one block, and what it is given for every batch.

    Attributes
    ----------
    tokens : Tensor of bool, or None
        Which tokens of the batch at hand are no padding.

    Raises
    ------
    BrokenChainError
        If the blocks do not form a chain; says why.
    """

    def __init__(self, capture: Capture, data: Calibration) -> None:
        if capture.broken or capture.slot is None:
            raise BrokenChainError(capture.broken or "no block follows another")
        self.tokens: torch.Tensor | None = None
        self._slot = capture.slot
        self._calls = capture.calls
        self._tokens = list(data.tokens_seen)
        self._number = 0

    def run(self, block: nn.Module, after: Callable[[], object] = lambda: None) -> int:
        """Run a block on all batches, as `Calibration.run` runs a model; return their number."""
        calls = self._calls[self._number]
        for index, call in enumerate(calls):
            self.tokens = self._tokens[index]
            with calibrating(index):
                block(*call.args, **call.kwargs)
            after()
        return len(calls)

    def advance(self, block: nn.Module) -> None:
        """Run a block as it is by now; what it gives is what the next one is given."""
        calls = self._calls[self._number]
        following = self._calls[self._number + 1] if self._number + 1 < len(self._calls) else None
        for index in range(len(calls)):
            call = calls[index]
            if following is not None:
                state = state_of(block(*call.args, **call.kwargs))
                following[index] = following[index].with_state(self._slot, state)
            calls[index] = Call((), {})  # frees the activations of this batch
        self._number += 1


def state_of(output: Any) -> Any:
    """Give what a block hands on: its output, or the first of several."""
    if isinstance(output, (tuple, list)) and output:
        return output[0]
    if isinstance(output, Mapping) and output:
        return next(iter(output.values()))
    return output


def _slot_of(state: Any, call: Call) -> int | str | None:
    """Find the argument that is this very tensor."""
    if not isinstance(state, torch.Tensor):
        return None
    for place, value in enumerate(call.args):
        if value is state:
            return place
    return next((key for key, value in call.kwargs.items() if value is state), None)


def _version(state: Any) -> int:
    """How often a tensor was changed in place; tensors of inference mode do not count."""
    return state._version if isinstance(state, torch.Tensor) and not state.is_inference() else 0


def _without_cache(key: str, value: Any) -> Any:
    """Leave out caches of keys and values: a block that runs again must not find its first run there."""
    return None if key in ("past_key_value", "past_key_values", "layer_past") else value
