"""The handle of a sparse training: counts optimizer steps, finds masks, reports, and cleans up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

import masksolve as ms
from masksolve.checks import boolean

from ...patterns import LayerPatterns
from ..integrations.peft import guard_masked
from ..layers import Choice
from ..semi_structured import kernel_misfit
from . import sparse_products
from .masked_layer import MaskedLayer, Saliency
from .parametrization import dense_weight, detach, masking_of, prune, set_forward
from .passes import passes_of
from .report import LayerReport, MaskRecord, SparsityReport, totals
from .saving import SavePretrained, guard_saving
from .schedule import Schedule, pattern_at
from .sharding import follow, reshard, whole


class Sparsifier:
    """What `sparsify` returns: call ``step()`` after each optimizer step, ``finalize()`` at the end.

    Attributes
    ----------
    model : Module
    choices : list of Choice
        Every weight of two axes or more, and why some are not pruned.
    pattern : Pattern or LayerPatterns
        At the end of the ramp, if there is one.
    refresh_every : int or None
    steps : int
        Optimizer steps counted so far.
    records : list of MaskRecord
        One a refresh and layer.
    """

    def __init__(
        self,
        model: nn.Module,
        choices: list[Choice],
        pattern: ms.Pattern | LayerPatterns,
        *,
        refresh_every: int | None,
        saliency: Saliency | None,
        decay: float,
        density: Schedule | None,
        warm_start: bool,
        kernels: str,
        options: Mapping[str, Any],
        backward: str | None = None,
        gradients: ms.Pattern | str | None = None,
    ) -> None:
        self.model = model
        self.choices = choices
        self.pattern = pattern
        self.refresh_every = refresh_every
        self.steps = 0
        self.records: list[MaskRecord] = []
        self._saliency = saliency
        self._density = density
        self._warm_start = warm_start
        self._kernels = kernels
        self._options = dict(options)
        self._frozen = False
        self._closed = False
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._layers: list[MaskedLayer] = []
        self._saving: list[SavePretrained] = []
        try:
            for choice in choices:
                if not choice.skipped:
                    straight = refresh_every is not None
                    assert choice.pattern is not None
                    passes = passes_of(choice, choice.pattern, backward, gradients)
                    masked = MaskedLayer(choice, straight_through=straight, decay=decay, passes=passes)
                    self._layers.append(masked)
            follow(model)
            self.refresh()
            self._saving = guard_saving(model)
            self._hooks.append(guard_masked(model))
        except BaseException:
            self.remove()
            raise

    def step(self) -> bool:
        """Count an optimizer step; find new masks if they are due.

        Returns
        -------
        bool
            Whether the masks were found again. Other steps cost nothing.

        Raises
        ------
        RuntimeError
            After `finalize`.
        """
        self._check_open("step")
        self.steps += 1
        for layer in self._layers:
            layer.follow()
        due = self.refresh_every is not None and not self._frozen and self.steps % self.refresh_every == 0
        if due:
            self.refresh()
        return due

    @torch.no_grad()
    def refresh(self) -> None:
        """Find the masks again from the dense weights as they are.

        Raises
        ------
        RuntimeError
            After `finalize`.
        TypeError, ValueError
            If the saliency does not return scores of the weight's shape, or the scores are not
            finite, as after a training that diverged; a note names the layer, and every mask is as
            it was.
        """
        self._check_open("refresh")
        reshard(self.model)
        patterns = [pattern_at(layer.pattern, self._density, self.steps) for layer in self._layers]
        number = self.records[-1].refresh + 1 if self.records else 0
        found = [
            layer.find(
                pattern, self._saliency, warm_start=self._warm_start, options=self._options, seed=self.steps
            )
            for layer, pattern in zip(self._layers, patterns, strict=True)
        ]
        pairs = list(zip(self._layers, found, strict=True))
        numbers = _read([torch.cat([solved.numbers, layer.put(solved)]) for layer, solved in pairs])
        for layer, pattern, (scores, objective, gap, seconds, flipped) in zip(
            self._layers, patterns, numbers, strict=True
        ):
            entries = layer.weight.numel()
            record = MaskRecord(
                refresh=number,
                step=self.steps,
                layer=layer.name,
                pattern=str(pattern),
                entries=entries,
                flipped=flipped / max(entries, 1),
                scores=scores,
                retained=objective / scores if scores else 1.0,
                gap=gap,
                seconds=seconds,
            )
            self.records.append(record)
            if self._kernels == "semi_structured":
                unfit = sparse_products.unfit(layer.layer, layer.parameter, layer.weight, pattern)
                layer.masking.semi_structured = not unfit
                set_forward(layer.layer, layer.masking)

    def freeze(self) -> None:
        """Keep the masks from now on: they become static, and gradients are masked.

        For gradual pruning, after the ramp; for dynamic masks, to settle before the end.
        """
        self._check_open("freeze")
        self._set_frozen(True)

    def _set_frozen(self, frozen: bool) -> None:
        self._frozen = frozen
        for layer in self._layers:
            layer.masking.straight_through = self.refresh_every is not None and not frozen

    @property
    def decay(self) -> float:
        """SR-STE decay of the entries outside the masks; may be set during training."""
        return self._layers[0].masking.decay

    @decay.setter
    def decay(self, value: float) -> None:
        for layer in self._layers:
            layer.masking.decay = float(value)

    @property
    def masks(self) -> dict[str, torch.Tensor]:
        """The mask of each pruned layer, by the layer's name; the buffers themselves."""
        return {layer.name: layer.masking.mask for layer in self._layers}

    @property
    def dense_weights(self) -> dict[str, nn.Parameter]:
        """The Parameter under each mask, by the layer's name."""
        return {layer.name: layer.weight for layer in self._layers}

    @property
    def totals(self) -> list[MaskRecord]:
        """One record a refresh, over all layers."""
        return totals(self.records)

    def report(self) -> SparsityReport:
        """Say which layers are pruned and which are not, and how the masks changed; ``print`` it."""
        layers = []
        gathered = {layer.name for layer in self._layers if layer.gathered}
        for choice in self.choices:
            masking = None if choice.skipped else masking_of(choice.layer, choice.parameter)
            density = 1.0 if masking is None else whole(masking.mask).float().mean().item()
            weight = masking.mask if masking is not None else getattr(choice.layer, choice.parameter)
            notes = [] if choice.skipped else [self._products(choice, weight.shape)]
            if choice.name in gathered:
                notes.append("its shards cut through tiles, so that it is gathered for each solve")
            note = "; ".join(filter(None, notes))
            shape = () if is_lazy(weight) else tuple(weight.shape)
            layers.append(LayerReport(choice.name, shape, density, choice.skipped, note))
        when = f"every {self.refresh_every} steps" if self.refresh_every and not self._frozen else "never"
        title = (
            f"'{self.pattern}' on {len(self._layers)} of {len(layers)} layers; masks refreshed {when}; "
            f"{self.steps} steps so far"
        )
        return SparsityReport(title, tuple(layers), tuple(self.totals))

    def _products(self, choice: Choice, shape: torch.Size) -> str:
        """Say how the products with a pruned weight run, or that they never could on sparse kernels."""
        assert choice.pattern is not None
        if self._kernels == "dense":
            return kernel_misfit(choice.plane.shape(shape), choice.pattern)
        weight = dense_weight(choice.layer, choice.parameter)
        pattern = pattern_at(choice.pattern, self._density, self.steps)
        return sparse_products.told(
            sparse_products.unfit(choice.layer, choice.parameter, weight, pattern), weight
        )

    def prune_after(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the dense weights outside the masks to zero, now and after every step of an optimizer."""
        self._check_open("prune_after")
        self._prune()
        self._hooks.append(optimizer.register_step_post_hook(lambda *_: self._prune()))

    def _prune(self) -> None:
        reshard(self.model)
        for layer in self._layers:
            prune(layer.layer, layer.parameter)

    def finalize(self, *, allow_unfinished: bool = False) -> nn.Module:
        """Bake the zeros into the weights and remove every trace: a plain dense model is left.

        The weights are the same Parameters as before `sparsify`, with the same names and order, so
        an optimizer goes on; without masks it may fill the zeros again.

        Parameters
        ----------
        allow_unfinished : bool
            Whether masks may keep more than the pattern does, as in the middle of a ramp.

        Returns
        -------
        Module
            The model.

        Raises
        ------
        PatternViolationError
            If a mask does not follow the pattern yet, as when training ended before its ramp; nothing
            is changed.
        RuntimeError
            If it was called before.
        """
        self._check_open("finalize")
        if not boolean("allow_unfinished", allow_unfinished):
            self._check_finished()
        self._prune()
        self.remove()
        return self.model

    def _check_finished(self) -> None:
        for layer in self._layers:
            pattern = replace(layer.pattern, constraint="at_most")
            verification = ms.verify(layer.matrices(whole(layer.masking.mask)).cpu().numpy(), pattern)
            if not verification.ok:
                raise ms.PatternViolationError(
                    f"the mask of layer '{layer.name}' must follow '{layer.pattern}' by now, but after "
                    f"{self.steps} steps it is of '{self.records[-1].pattern}': {verification}\n"
                    f"Train until density= has reached the pattern and the masks were refreshed since, or "
                    f"pass allow_unfinished=True"
                )

    def remove(self) -> None:
        """Remove every trace, as `finalize`, but leave the dense weights as they are."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        reshard(self.model)
        for saving in self._saving:
            saving.remove()
        for layer in self._layers:
            if masking_of(layer.layer, layer.parameter) is not None:
                detach(layer.layer, layer.parameter)
        follow(self.model)
        self._closed = True

    def state_dict(self, *, weights: bool = False) -> dict[str, Any]:
        """Give what `load_state_dict` needs to go on bit for bit, beside the states of model and optimizer.

        Plain Python values and tensors, so that ``torch.load`` reads it with ``weights_only=True``.

        Parameters
        ----------
        weights : bool
            Whether to hold the masks, a bit an entry, and the dense weights outside of them. They are
            needed if the model is not saved by its ``state_dict``, which holds them, but without masks,
            as ``save_pretrained`` does.
        """
        self._check_open("state_dict")
        prices = {
            layer.name: (layer.prices[0], *map(_tensor, layer.prices[1]))
            for layer in self._layers
            if layer.prices is not None
        }
        held = {"weights": {layer.name: layer.hidden() for layer in self._layers}} if weights else {}
        return held | {
            "pattern": str(self.pattern),
            "layers": [layer.name for layer in self._layers],
            "steps": self.steps,
            "frozen": self._frozen,
            "decay": self.decay,
            "records": [tuple(record) for record in self.records],
            "prices": prices,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`; load the states of model and optimizer too.

        Raises
        ------
        ValueError
            If the state is of another pattern or of other layers.
        """
        self._check_open("load_state_dict")
        for key, mine in (("pattern", str(self.pattern)), ("layers", [layer.name for layer in self._layers])):
            if state.get(key) != mine:
                raise ValueError(f"state must be of {key} {mine}, got {state.get(key)}")
        self.steps = state["steps"]
        self.decay = state["decay"]
        self.records = [MaskRecord(*record) for record in state["records"]]
        self._set_frozen(state["frozen"])
        for layer in self._layers:
            if "weights" in state:
                layer.restore(*state["weights"][layer.name])
            held = state["prices"].get(layer.name)
            layer.prices = held and (held[0], ms.Prices(held[1].numpy(), held[2].numpy()))

    def __getstate__(self) -> dict[str, Any]:
        """Leave the hooks on the optimizer to the original: copies and pickles do not share them."""
        return {**self.__dict__, "_hooks": []}

    def _check_open(self, method: str) -> None:
        if self._closed:
            raise RuntimeError(f"{method}() was called after finalize(), which removed the masks")


def _read(rows: list[torch.Tensor]) -> list[list[float]]:
    """Bring tensors of equal shape to the host together, waiting once for the device that holds them."""
    if not rows:
        return []
    found: list[list[float]] = torch.stack([row.to(rows[0].device) for row in rows]).tolist()
    return found


def _tensor(prices: Any) -> torch.Tensor:
    return torch.as_tensor(prices).cpu().clone()
