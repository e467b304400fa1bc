"""One training run: a schedule, a state that can be saved, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from .data import Part
from .masks import Masks


@dataclass(frozen=True)
class Regime:
    """How every network is trained: SGD with a cosine from ``rate`` to zero.

    Attributes
    ----------
    width, blocks, stride : int
        Of `benchmarks.resnet.resnet`.
    images : int
        Training images, drawn anew for every seed.
    steps, batch : int
    rate, momentum, decay : float
        Decay is the usual weight decay, of all parameters.
    refresh : int
        Steps between two refreshes of dynamic masks; 40 in the paper.
    """

    width: int = 16
    blocks: int = 1
    stride: int = 2
    images: int = 50_000
    steps: int = 420
    batch: int = 64
    rate: float = 0.1
    momentum: float = 0.9
    decay: float = 5e-4
    refresh: int = 40


class Trainer:
    """A model on its way through a `Regime`."""

    def __init__(self, model: nn.Module, part: Part, regime: Regime, seed: int, masks: Masks | None) -> None:
        self.model, self.part, self.regime, self.masks = model, part, regime, masks
        self.order = torch.Generator().manual_seed(seed)
        self.pool = torch.randperm(len(part.y), generator=self.order)[: regime.images]
        self.queue = torch.empty(0, dtype=torch.int64)
        self.losses: list[float] = []
        self.optimizer = torch.optim.SGD(
            model.parameters(), lr=regime.rate, momentum=regime.momentum, weight_decay=regime.decay
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, regime.steps)

    def run(self, until: int | None = None) -> None:
        """Train up to a step, by default to the end."""
        self.model.train()
        while len(self.losses) < (self.regime.steps if until is None else until):
            batch = self._batch()
            self.optimizer.zero_grad()
            loss = functional.cross_entropy(self.model(self.part.x[batch]), self.part.y[batch])
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            if self.masks is not None:
                self.masks.step()
            self.losses.append(loss.item())

    def _batch(self) -> torch.Tensor:
        if len(self.queue) < self.regime.batch:
            self.queue = self.pool[torch.randperm(len(self.pool), generator=self.order)]
        batch, self.queue = self.queue[: self.regime.batch], self.queue[self.regime.batch :]
        return batch

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs to go on as if nothing had happened."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "order": self.order.get_state(),
            "queue": self.queue,
            "losses": self.losses,
            "masks": self.masks.sparsifier.state_dict() if self.masks else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a `state` of a trainer that was made with the same arguments."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.order.set_state(state["order"])
        self.queue = state["queue"]
        self.losses = list(state["losses"])
        if self.masks is not None:
            self.masks.sparsifier.load_state_dict(state["masks"])


@torch.no_grad()
def accuracy(model: nn.Module, part: Part) -> float:
    """Percentage of images named rightly, with the statistics that batch normalisation has gathered."""
    model.eval()
    right = sum(
        int((model(x).argmax(dim=1) == y).sum())
        for x, y in zip(part.x.split(500), part.y.split(500), strict=True)
    )
    return 100 * right / len(part.y)
