"""Sparse training in a loop of Hugging Face accelerate."""

from __future__ import annotations

from typing import Any

from torch import nn

import masksolve as ms
from masksolve.checks import keywords_of, known_options

from ..training.sparsifier import Sparsifier
from ..training.sparsify import sparsify


class SparsifyCallback:
    """Masks on a model in a loop that an ``Accelerator`` drives.

    Its state is registered with the Accelerator: ``save_state`` writes it with the model's, which holds
    dense weights and masks, and ``load_state`` goes on from it bit for bit.

    Parameters
    ----------
    accelerator : Accelerator
    model : Module
        Before or after ``accelerator.prepare``.
    pattern : Pattern or str
    **options
        Of `sparsify`.

    Attributes
    ----------
    sparsifier : Sparsifier

    Examples
    --------
    >>> import torch
    >>> from accelerate import Accelerator
    >>> accelerator = Accelerator(cpu=True)
    >>> model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
    >>> callback = SparsifyCallback(accelerator, model, "2:4", refresh_every=1, dense_ends=False)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> model, optimizer = accelerator.prepare(model, optimizer)
    >>> with accelerator.accumulate(model):
    ...     accelerator.backward(model(torch.ones(1, 8)).sum())
    ...     optimizer.step()
    ...     refreshed = callback.step()
    ...     optimizer.zero_grad()
    >>> refreshed, callback.sparsifier.steps
    (True, 1)
    >>> model = callback.finalize()
    """

    def __init__(
        self, accelerator: Any, model: nn.Module, pattern: ms.Pattern | str = "2:4", **options: Any
    ) -> None:
        known_options("SparsifyCallback", options, keywords_of(sparsify))
        self._accelerator = accelerator
        self.sparsifier: Sparsifier = sparsify(accelerator.unwrap_model(model), pattern, **options)
        accelerator.register_for_checkpointing(self.sparsifier)

    def step(self) -> bool:
        """Count a step of the optimizer; call it after every ``optimizer.step()``.

        Batches whose gradients are only accumulated, and steps that a loss scale skipped, do not count.
        """
        accelerator = self._accelerator
        if not accelerator.sync_gradients or accelerator.optimizer_step_was_skipped:
            return False
        return self.sparsifier.step()

    def finalize(self, *, allow_unfinished: bool = False) -> nn.Module:
        """Bake the masks in: see `Sparsifier.finalize`."""
        return self.sparsifier.finalize(allow_unfinished=allow_unfinished)
