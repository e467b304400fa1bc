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
ALONE = "one process"
BOTH = ("both, sharded first", "both, masked first")
ORDERS = ("sharded first", "masked first", "tensor parallel")
MESHES = {2: (1, 2), 4: (2, 2)}
"""Processes of data and of tensor parallelism where both are used, by the number of all."""


def orders(processes):
    """FSDP2 over tensor parallelism needs four processes."""
    return ORDERS + BOTH * (processes == 4)


def patterns(processes):
    """Two processes find nothing new of a pattern whose groups they do not cut."""
    return PATTERNS if processes == 4 else PATTERNS[:1]


def model_of():
    """Two processes cut through tiles of eight rows in the middle layer only, four in the last one too."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 16, bias=False)
    )


def shard(model, mesh):
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def meshes(order, processes):
    """The mesh of FSDP2 and that of tensor parallelism; None for what is not used."""
    if order == ALONE:
        return None, None
    if order in BOTH:
        mesh = init_device_mesh("cpu", MESHES[processes], mesh_dim_names=("data", "tensor"))
        return mesh["data"], mesh["tensor"]
    mesh = init_device_mesh("cpu", (processes,))
    return (None, mesh) if order == "tensor parallel" else (mesh, None)


def masked(order, pattern, mesh, **options):
    model, (data, tensor) = model_of(), mesh
    if tensor is not None:
        parallelize_module(model, tensor, {"0": ColwiseParallel(), "2": RowwiseParallel()})
    if data is not None and order.endswith("sharded first"):
        shard(model, data)
    sparsifier = mt.sparsify(model, pattern, **{**OPTIONS, **options})
    if data is not None and order.endswith("masked first"):
        shard(model, data)
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


def held(sparsifier):
    """Bytes of masks that this process holds, whether it needs them or not."""
    parts = [mask.to_local() if isinstance(mask, DTensor) else mask for mask in sparsifier.masks.values()]
    return sum(part.untyped_storage().nbytes() for part in parts)


def outcome(order, pattern, processes, folder):
    mesh = meshes(order, processes)
    if order != ALONE:
        check_refusal(order, mesh)
    model, sparsifier = masked(order, pattern, mesh)
    train(model, sparsifier)
    seen = {
        "sharded": {name: isinstance(mask, DTensor) for name, mask in sparsifier.masks.items()},
        "bytes": held(sparsifier),
        "static bytes": static(order, pattern, mesh),
        "notes": {layer.name: layer.note for layer in sparsifier.report().layers},
        "records": [record[:9] for record in sparsifier.records],
        "restored": order == ALONE or restored(model, sparsifier, order, pattern, mesh, folder),
    }
    sparsifier.finalize()
    names = [name for name, _ in model.named_parameters()]
    seen["weights"] = {name: full(weight.detach()).clone() for name, weight in model.named_parameters()}
    x = torch.ones(2, 16)
    model(x).sum().backward()  # the plain model is as good as new
    return {**seen, "names": names}


def static(order, pattern, mesh):
    """Bytes of masks that are never found again, after a step; zeros are where they were."""
    model, sparsifier = masked(order, pattern, mesh, refresh_every=None, decay=0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.ones(2, 16)).sum().backward()
    optimizer.step()
    sparsifier.step()
    masks = {name: full_mask(mask) for name, mask in sparsifier.masks.items()}
    found = held(sparsifier)
    sparsifier.finalize()
    for name, mask in masks.items():
        assert torch.equal(full(model.get_submodule(name).weight.detach()) != 0, mask)
    return found


def check_refusal(order, mesh):
    """Passes of their own are refused for sharded weights, whether masked before or after."""
    with pytest.raises(
        ValueError, match=r"backward= and gradients= know no sharded weights, as layer '\d' has"
    ):
        masked(order, "2:4", mesh, backward="double_pruned")[1].step()


def full_mask(mask):
    return mask.view(torch.uint8).full_tensor().bool() if isinstance(mask, DTensor) else mask.clone()


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
        kept = full_mask(mask)
        same = same and torch.equal(ours[~kept], theirs[~kept])
    return same


def run(rank, folder):
    """Work as one of four, then the first two as one of two: starting processes takes longest."""
    torch.set_num_threads(1)
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    for processes in (4, 2):
        if rank < processes:
            run_as_one_of(processes, rank, f"{folder}/{processes}")


def run_as_one_of(processes, rank, folder):
    os.makedirs(folder, exist_ok=True)
    store = dist.FileStore(f"{folder}/store", processes)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=processes)
    try:
        seen = {
            (order, pattern): outcome(order, pattern, processes, folder)
            for order in (*orders(processes), *[ALONE] * (rank == 0))
            for pattern in patterns(processes)
        }
        torch.save(seen, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()
