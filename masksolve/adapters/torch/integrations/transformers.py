"""Sparse training under the Trainer of Hugging Face transformers."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import nn

from masksolve.errors import BackendUnavailableError

from ...patterns import Patterns
from .callback import Callback

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise BackendUnavailableError.needing(
        "masksolve's callback", "transformers and accelerate", "trainers"
    ) from error

FILE = "masksolve.pt"
"""What is written into each checkpoint's folder."""


class SparsifyCallback(Callback, TrainerCallback):  # type: ignore[misc]
    """Masks on a model from the beginning of its training to the end.

    The model is sparsified when training begins, when a checkpoint that it goes on from is loaded already;
    masks are counted and refreshed after each step of the optimizer, and baked in at the end. Every
    checkpoint holds the weights as the model computes with them, which ``from_pretrained`` reads, and beside
    them the file ``masksolve.pt``: masks, the dense weights outside of them, and the state of the schedule.
    A resumed training goes on from it bit for bit.

    Parameters
    ----------
    pattern : Pattern or str, or mapping from str to them
        As for `sparsify`.
    resume_from : path, optional
        Folder of the checkpoint that training is resumed from. By default it is looked for where
        ``args.resume_from_checkpoint`` says and among the checkpoints of ``args.output_dir``.
    allow_unfinished : bool
        As for `Sparsifier.finalize`: whether training may end before the ramp does.
    **options
        Of `sparsify`.

    Attributes
    ----------
    sparsifier : Sparsifier or None
        None before training.

    Examples
    --------
    >>> from masksolve.adapters.torch import CubicRamp
    >>> callback = SparsifyCallback("2:4", refresh_every=40, density=CubicRamp(final=0.5, steps=1000))
    >>> # Trainer(model, args, train_dataset=data, callbacks=[callback]).train()
    """

    too_early = "SparsifyCallback was given to the Trainer after training had begun"

    def __init__(
        self,
        pattern: Patterns = "2:4",
        *,
        resume_from: str | PathLike[str] | None = None,
        allow_unfinished: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(pattern, allow_unfinished=allow_unfinished, **options)
        self.resume_from = resume_from

    def on_train_begin(self, args: Any, state: Any, control: Any, *, model: nn.Module, **kwargs: Any) -> None:
        """Sparsify the model; go on from a checkpoint if the Trainer does."""
        sparsifier = self._begin(model)
        if state.global_step:
            try:
                sparsifier.load_state_dict(self._saved(args, state.global_step))
            except BaseException:
                sparsifier.remove()
                raise

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count a step, before gradients are set to zero, which a saliency may want."""
        self._open.step()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the sparsifier's state beside the model's."""
        saved = self._open.state_dict(weights=True)
        if state.is_world_process_zero:
            torch.save(saved, Path(args.output_dir) / f"checkpoint-{state.global_step}" / FILE)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Bake the masks in."""
        self._end()

    def _saved(self, args: Any, step: int) -> dict[str, Any]:
        """Read the state that belongs to a step of the Trainer."""
        given = getattr(args, "resume_from_checkpoint", None)
        places = [
            *([self.resume_from] if self.resume_from is not None else []),
            *([given] if isinstance(given, str) else []),
            Path(args.output_dir) / f"checkpoint-{step}",
        ]
        files = [Path(place) / FILE for place in places]
        for file in files:
            if file.is_file():
                saved: dict[str, Any] = torch.load(file, weights_only=True)
                if saved["steps"] == step:
                    return saved
        raise ValueError(
            f"resume_from must name the folder of the checkpoint after {step} steps with its file {FILE}; "
            f"there is none at {[str(file) for file in files]}"
        )
