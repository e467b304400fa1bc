"""What the layers of a model are given, as far as it is pruned by then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from torch import nn

import masksolve as ms

from ..blocks import Chain
from ..layers import Choice
from .calibration import Calibration
from .features import caller_of
from .observe import Source, layer_statistics, survey
from .walk import BrokenChainError, Capture, Walk


class Inputs:
    """Goes through the layers of a model in the order in which they run, block after block.

    A layer in a chain of blocks gets its inputs from a run of its block alone, on the activations that
    the pruned block before it gave; the blocks before that never run again. A layer outside of any
    chain gets them from a run of the model from its beginning.

    Parameters
    ----------
    model : Module
    data : Calibration
    weights : sequence of Choice
        To be pruned.
    chains : sequence of Chain
    dtype : {"float32", "float64"}
        Of the statistics.
    strict : bool
        Whether blocks that turn out to form no chain are an error.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Calibration,
        weights: Sequence[Choice],
        chains: Sequence[Chain],
        *,
        dtype: str,
        strict: bool,
    ) -> None:
        self._model, self._data, self._dtype, self._strict = model, data, dtype, strict
        self._weights = {weight.name: weight for weight in weights}
        used = [chain for chain in chains if any(chain.holds(name) for name in self._weights)]
        self._capture = Capture(used[0]) if used else None
        self.survey = survey(model, data, weights, self._capture)
        self._units = list(_units(self.survey.order, used))
        self.order = [name for _, names in self._units for name in names]
        self._latest: tuple[str, list[ms.saliency.Statistics]] = ("", [])
        self._at: tuple[nn.Module, Source] = model, data

    def weights(self) -> Iterator[Choice]:
        """Give the weights in order; each must be pruned before the next is asked for."""
        for number, (chain, names) in enumerate(self._units):
            walk = None if chain is None else self._walk(chain, first=number == 0)
            if chain is None or walk is None:
                self._at = self._model, self._data
                yield from (self._weights[name] for name in names)
                continue
            last = max(place for place in range(len(chain.blocks)) if _inside(names, chain.names[place]))
            for place, (block, at) in enumerate(zip(chain.blocks, chain.names, strict=True)):
                self._at, self._latest = (block, walk), ("", [])
                yield from (self._weights[name] for name in _inside(names, at))
                if place == last:
                    break
                walk.advance(block)
            self._at = self._model, self._data

    def statistics(self, weight: Choice) -> list[ms.saliency.Statistics]:
        """Statistics of a weight's inputs, one for each group; in memory are only the latest weight's."""
        name = weight.name
        before = self.survey.order[self.survey.order.index(name) - 1]
        found = self._latest[1] if self._latest[0] == before and self.survey.repeats(name) else None
        if found is None:
            self._latest = "", []
            caller = self._model.get_submodule(caller_of(self._model, weight))
            module, source = self._at
            found = layer_statistics(
                module, source, weight, self.survey.calls[name], self._dtype, caller=caller
            )
        self._latest = name, found
        return found

    def _walk(self, chain: Chain, *, first: bool) -> Walk | None:
        """Begin to walk along a chain; None if its blocks do not form one."""
        # What the survey captured holds only as long as nothing before the chain has been pruned.
        capture, self._capture = (self._capture if first else None), None
        try:
            if capture is None:
                capture = Capture(chain)
                with ExitStack() as hooks:
                    capture.hook(hooks, stop=True)
                    self._data.run(self._model, capture.batch_ended)
            return Walk(capture, self._data)
        except BrokenChainError as error:
            if self._strict:
                raise ValueError(f"blocks: '{chain.name}' is no chain of blocks: {error}") from None
            return None


def _units(order: Sequence[str], chains: Sequence[Chain]) -> Iterator[tuple[Chain | None, list[str]]]:
    """Group the layers, in order, by chains and by what lies between them."""
    done: set[str] = set()
    for name in order:
        if name in done:
            continue
        chain = next((each for each in chains if each.holds(name)), None)
        names = [name] if chain is None else [each for each in order if chain.holds(each)]
        done.update(names)
        yield chain, names


def _inside(names: Sequence[str], block: str) -> list[str]:
    return [name for name in names if name == block or name.startswith(f"{block}.")]
