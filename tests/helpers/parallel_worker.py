"""One of several processes that train a model together; `run` is what each of them calls."""

import os
import sys
from types import SimpleNamespace

import pytest

import masksolve as ms

torch = pytest.importorskip("torch")

import torch.distributed as dist  # noqa: E402
from small_models import convolutional, loss_of  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402

from masksolve.adapters import torch as mt  # noqa: E402
from masksolve.adapters.torch.training import masked_layer  # noqa: E402

STEPS, REFRESH = 6, 2
ORDERS = ("wrapped first", "sparsified first")


def run(rank, processes, folder):
    """Train with DDP over gloo; leave masks, weights and the number of solves after every step."""
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    store = dist.FileStore(f"{folder}/store", processes)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=processes)
    try:
        torch.save({order: train(rank, order) for order in ORDERS}, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


def train(rank, order):
    """What this process saw."""
    solves = []
    counting = {**vars(ms), "solve": lambda *args, **options: solves.append(1) or ms.solve(*args, **options)}
    masked_layer.ms = SimpleNamespace(**counting)
    options = {"pattern": "4:8-T", "refresh_every": REFRESH, "decay": 2e-4}
    # Wrapping makes the weights equal, so that they may differ before it; masks made first must not.
    model = convolutional(seed=rank if order == "wrapped first" else 0)
    if order == "wrapped first":
        wrapped = DistributedDataParallel(model, broadcast_buffers=False)
        sparsifier = mt.sparsify(wrapped.module, **options)
    else:
        sparsifier = mt.sparsify(model, **options)
        wrapped = DistributedDataParallel(model, broadcast_buffers=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    history = []
    for step in range(STEPS):
        generator = torch.Generator().manual_seed(1000 * rank + step)
        optimizer.zero_grad()
        loss_of(wrapped, torch.randn(4, 3, 8, 8, generator=generator)).backward()
        optimizer.step()
        before = len(solves)
        sparsifier.step()
        masks = {name: mask.clone() for name, mask in sparsifier.masks.items()}
        weights = {name: weight.detach().clone() for name, weight in sparsifier.dense_weights.items()}
        history.append({"masks": masks, "weights": weights, "solves": len(solves) - before})
    return {"history": history, "mask_kept": keeps_its_own_mask(wrapped, sparsifier, rank)}


def keeps_its_own_mask(wrapped, sparsifier, rank):
    """Whether a mask changed in one process survives a forward pass, as it would not if it were sent."""
    mask = next(iter(sparsifier.masks.values()))
    mask.fill_(bool(rank))
    wrapped(torch.zeros(4, 3, 8, 8))
    return bool((mask == bool(rank)).all())
