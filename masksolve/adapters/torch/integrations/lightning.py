"""Sparse training under Lightning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from masksolve.errors import BackendUnavailableError

from .callback import Callback

try:
    from lightning.pytorch import Callback as LightningCallback
except ImportError as error:
    raise BackendUnavailableError.needing("masksolve's callback", "lightning", "trainers") from error


class SparsifyCallback(Callback, LightningCallback):  # type: ignore[misc]
    """Masks on a LightningModule from the beginning of ``fit`` to its end.

    A checkpoint holds dense weights and masks, as the module's ``state_dict`` does while it is masked, and
    the state of the schedule, as any callback's. ``trainer.fit(..., ckpt_path=...)`` goes on from it bit for
    bit; a module without masks refuses to load it.

    Parameters
    ----------
    pattern : Pattern or str, or mapping from str to them
        As for `sparsify`.
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
    >>> callback = SparsifyCallback("2:4-T", refresh_every=40)
    >>> # Trainer(callbacks=[callback]).fit(module, batches)
    """

    too_early = "SparsifyCallback works in Trainer.fit only"
    _steps = 0

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Sparsify before checkpoints are loaded and optimizers made."""
        if stage == "fit":
            self._begin(pl_module)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to count from where the Trainer does."""
        self._steps = trainer.global_step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        """Count a step if the batch ended with one of the optimizer; checkpoints are written later."""
        if trainer.global_step > self._steps:
            self._steps = trainer.global_step
            self._open.step()

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Bake the masks in."""
        self._end()

    def state_dict(self) -> dict[str, Any]:
        """Give the state of the schedule, for a checkpoint."""
        return self._open.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._open.load_state_dict(state_dict)
