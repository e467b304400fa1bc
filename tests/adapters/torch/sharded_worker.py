"""One of several processes that share a model's weights; `run` is what each of them calls."""

import os
import sys

import pytest

torch = pytest.importorskip("torch")

import torch.distributed as dist  # noqa: E402
import torch.distributed.checkpoint as dcp  # noqa: E402
from torch import nn  # noqa: E402
from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict  # noqa: E402
from torch.distributed.device_mesh import init_device_mesh  # noqa: E402
from torch.distributed.fsdp import fully_shard  # noqa: E402
from torch.distributed.tensor import DTensor  # noqa: E402
from torch.distributed.tensor.parallel import (  # noqa: E402
    ColwiseParallel,
    RowwiseParallel,
    parallelize_module,
)

from masksolve.adapters import torch as mt  # noqa: E402

STEPS = 5
OPTIONS = {"refresh_every": 2, "decay": 1e-3, "dense_ends": False}
PATTERNS = ("4:8-T", "2:4")
ORDERS = ("one process", "sharded first", "masked first", "tensor parallel")


def model_of():
    """Shards of two processes cut through tiles of eight rows in the middle layer only."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 16, bias=False)
    )


def shard(model, mesh):
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def masked(order, pattern, mesh):
    model = model_of()
    if order == "sharded first":
        shard(model, mesh)
    if order == "tensor parallel":
        parallelize_module(model, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})
    sparsifier = mt.sparsify(model, pattern, **OPTIONS)
    if order == "masked first":
        shard(model, mesh)
    return model, sparsifier


def train(model, sparsifier, first=0, optimizer=None):
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(first, STEPS):
        x = torch.randn(8, 16, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (model(x) - x.sin()).square().mean().backward()
        optimizer.step()
        sparsifier.step()
        if step == 0:
            with torch.no_grad():
                model(x)  # after which FSDP2 keeps the root's weights whole


def full(tensor):
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def outcome(order, pattern, mesh, folder):
    model, sparsifier = masked(order, pattern, mesh)
    train(model, sparsifier)
    seen = {
        "sharded": {name: isinstance(mask, DTensor) for name, mask in sparsifier.masks.items()},
        "mask entries": sum(
            (mask.to_local() if isinstance(mask, DTensor) else mask).numel()
            for mask in sparsifier.masks.values()
        ),
        "notes": {layer.name: layer.note for layer in sparsifier.report().layers},
        "records": [record[:9] for record in sparsifier.records],
        "restored": order == "one process" or restored(model, sparsifier, order, pattern, mesh, folder),
    }
    sparsifier.finalize()
    names = [name for name, _ in model.named_parameters()]
    seen["weights"] = {name: full(weight.detach()).clone() for name, weight in model.named_parameters()}
    x = torch.ones(2, 16)
    model(x).sum().backward()  # the plain model is as good as new
    return {**seen, "names": names}


def restored(model, sparsifier, order, pattern, mesh, folder):
    """Whether DCP brings a twin to the same state, and so does the sparsifier's own state."""
    state = get_model_state_dict(model)
    dcp.save(state, checkpoint_id=f"{folder}/{order} {pattern}".replace(":", ""))
    twin, its = masked(order, pattern, mesh)
    train(twin, its, first=STEPS - 2)
    its.refresh()
    other = get_model_state_dict(twin)
    dcp.load(other, checkpoint_id=f"{folder}/{order} {pattern}".replace(":", ""))
    set_model_state_dict(twin, other)
    its.load_state_dict(sparsifier.state_dict())
    same = all(
        torch.equal(full(state[key]), full(value)) for key, value in get_model_state_dict(twin).items()
    )
    _, its_own = masked(order, pattern, mesh)
    its_own.refresh()
    its_own.load_state_dict(sparsifier.state_dict(weights=True))
    for name, mask in sparsifier.masks.items():
        ours, theirs = full(sparsifier.dense_weights[name]), full(its_own.dense_weights[name])
        kept = full(mask.view(torch.uint8)).bool() if isinstance(mask, DTensor) else mask
        same = same and torch.equal(ours[~kept], theirs[~kept])
    return same


def run(rank, processes, folder):
    torch.set_num_threads(1)
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo", store=dist.FileStore(f"{folder}/store", processes), rank=rank, world_size=processes
    )
    try:
        mesh = init_device_mesh("cpu", (processes,))
        seen = {
            (order, pattern): outcome(order, pattern, mesh, folder)
            for order in ORDERS
            for pattern in PATTERNS
        }
        torch.save(seen, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()
