"""Weights that are spread over processes: FSDP2, tensor parallelism, and any DTensor.

A mask is sharded as its weight is. Where the shards are whole tiles each process solves its own and nothing
is sent; otherwise every process gathers the weight for the solve, finds the same mask, and keeps its part.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import distributed, nn

import masksolve as ms

from ...plane import Plane, whole_tiles

if distributed.is_available():
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor, distribute_tensor
    from torch.distributed.tensor.placement_types import Shard, _StridedShard


def is_sharded(tensor: torch.Tensor) -> bool:
    """Whether a tensor is a DTensor."""
    return distributed.is_available() and isinstance(tensor, DTensor)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """Give this process's part, whose memory it shares; a plain tensor as it is."""
    return cast(Any, tensor).to_local() if is_sharded(tensor) else tensor


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Gather a tensor from all processes that hold it; all of them must call. A plain one as it is."""
    if not is_sharded(tensor):
        return tensor
    if tensor.dtype == torch.bool:  # which not every way of sending knows
        gathered = tensor.view(torch.uint8).full_tensor()  # type: ignore[attr-defined]
        return cast(torch.Tensor, gathered.view(torch.bool))
    return cast(torch.Tensor, tensor.full_tensor())  # type: ignore[attr-defined]


def spread(full: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Take this process's part of a tensor that all processes have, as another is sharded; send nothing."""
    if not is_sharded(like):
        return full
    mesh, placements = like.device_mesh, like.placements  # type: ignore[attr-defined]
    return distribute_tensor(full, mesh, placements, src_data_rank=None)


def laid_out(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Shard a tensor as another is; as it is if it is so already, else all processes must call."""
    if _layout(tensor) == _layout(like):
        return tensor
    return spread(whole(tensor), like)


def gathered(mask: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Gather a mask as FSDP2 has gathered its weight for a forward pass; all processes must call.

    FSDP2 gives a plain weight or, over tensor parallelism, one still sharded on that part of the mesh:
    of the mask, too, only the other axes of the mesh are gathered.
    """
    if _layout(mask) == _layout(weight) or not is_sharded(mask):
        return mask
    if not is_sharded(weight):
        return whole(mask)
    mesh, inner = mask.device_mesh, weight.device_mesh  # type: ignore[attr-defined]
    if mesh == inner:
        return laid_out(mask, weight)
    placed = zip(mesh.mesh_dim_names, mask.placements, strict=True)  # type: ignore[attr-defined]
    outer = {name: each for name, each in placed if name not in inner.mesh_dim_names}
    # What FSDP2 cuts further is the part of tensor parallelism, which is cut plainly seen from inside.
    placements = [Shard(each.dim) if isinstance(each, _StridedShard) else each for each in outer.values()]
    part = local(weight)
    cut = DTensor.from_local(
        local(mask), mesh[tuple(outer)], placements, run_check=False, shape=part.shape, stride=part.stride()
    )
    return wrapped(whole(cut), weight)


def _layout(tensor: torch.Tensor) -> tuple[Any, ...]:
    sharded = cast(Any, tensor)
    return (sharded.device_mesh, tuple(sharded.placements)) if is_sharded(tensor) else ()


def wrapped(part: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Make the tensor of which each process has this part, as another is sharded; send nothing."""
    mesh, placements = like.device_mesh, like.placements  # type: ignore[attr-defined]
    shape, stride = like.shape, torch.empty(like.shape, device="meta").stride()
    return DTensor.from_local(part, mesh, placements, run_check=False, shape=shape, stride=stride)


def local_plane(weight: torch.Tensor, plane: Plane, pattern: ms.Pattern) -> Plane | None:
    """How a process sees its part of a weight as matrices; None if parts may cut through tiles.

    The answer is the same in every process, since it depends on the whole shape and on the mesh alone.
    """
    if not is_sharded(weight):
        return plane
    mesh, placements = weight.device_mesh, weight.placements  # type: ignore[attr-defined]
    cut: dict[int, list[int]] = {}
    for number, each in enumerate(placements):
        if isinstance(each, (Shard, _StridedShard)):
            cut.setdefault(each.dim % weight.ndim, []).append(mesh.size(number))
        elif not each.is_replicate():
            return None
    if not whole_tiles(weight.shape, plane, pattern, cut):
        return None
    # Parts begin at multiples of m, or run along an axis without groups, so that tiles are the same without.
    return Plane(plane.rows, plane.columns)


def place(tensor: torch.Tensor) -> str:
    """Tell this process's part of a tensor from those of others; empty for a plain one."""
    if not is_sharded(tensor):
        return ""
    mesh = tensor.device_mesh  # type: ignore[attr-defined]
    return f" at {mesh.get_coordinate()} of {tuple(mesh.shape)}"


def added_up(weight: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Add numbers up over the shards of a weight."""
    return _reduced(weight, numbers, distributed.ReduceOp.SUM)


def largest(weight: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Take the largest of each number over the shards of a weight."""
    return _reduced(weight, numbers, distributed.ReduceOp.MAX)


def _reduced(weight: torch.Tensor, numbers: torch.Tensor, operation: Any) -> torch.Tensor:
    mesh, placements = weight.device_mesh, weight.placements  # type: ignore[attr-defined]
    found = numbers.clone()
    for number, placement in enumerate(placements):
        if not placement.is_replicate():
            distributed.all_reduce(found, operation, group=mesh.get_group(number))
    return found


def reshard(model: nn.Module) -> None:
    """Let FSDP2 put away the whole weights that it keeps after a forward pass without a backward one."""
    for module in _fsdp_modules(model):
        module.reshard()


def follow(model: nn.Module) -> None:
    """Tell FSDP2 where in the modules the parameters are that it shards, after they have moved.

    A model may be sharded before it is masked; a mask moves the dense weight into a module of its own, and
    FSDP2 has noted the place where it puts gathered weights.
    """
    params = [param for module in _fsdp_modules(model) for param in _fsdp_params(module)]
    if not params:
        return
    owners = {
        id(each): (module, name)
        for module in model.modules()
        for name, each in module._parameters.items()
        if each is not None
    }
    for param in params:
        found = owners.get(id(param.sharded_param))
        if found is not None:
            param._module_info.module, param._module_info.param_name = found


def _fsdp_modules(model: nn.Module) -> Iterator[Any]:
    if distributed.is_available():
        yield from (module for module in model.modules() if isinstance(module, FSDPModule))


def _fsdp_params(module: Any) -> list[Any]:
    state = module._get_fsdp_state()
    groups = getattr(state, "_fsdp_param_groups", None) or [state._fsdp_param_group]
    return [param for group in groups if group is not None for param in group.fsdp_params]
