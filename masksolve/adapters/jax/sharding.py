"""Arrays that are spread over devices: their masks are found where they are.

A callback to the host is one computation on one device, for which XLA would gather the array. Under
``jax.shard_map`` every device calls with its own part, which holds whole tiles if it begins and ends at
multiples of m; only other arrays are gathered, and then solved by every device alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import masksolve as ms

from ..plane import Plane, whole_tiles

_spec: Callable[..., PartitionSpec] = PartitionSpec


def spread_of(array: Any) -> NamedSharding | None:
    """Say how an array is spread over a mesh; None on one device, or where that is not known.

    While tracing it is known on meshes with ``Explicit`` axes, as `jax.make_mesh` makes them.
    """
    found = (
        jax.typeof(array).sharding
        if isinstance(array, jax.core.Tracer)
        else jax.numpy.asarray(array).sharding
    )
    return found if isinstance(found, NamedSharding) and known(found) else None


def known(sharding: NamedSharding) -> bool:
    """Whether a program for several devices may be written from this."""
    mesh = sharding.mesh
    traced = isinstance(mesh, jax.sharding.AbstractMesh)
    explicit = all(each == AxisType.Explicit for each in mesh.axis_types)
    return mesh.size > 1 and (explicit or not traced)


def in_parts(
    function: Callable[..., Any],
    sharding: NamedSharding,
    shape: tuple[int, ...],
    plane: Plane,
    pattern: ms.Pattern,
) -> Callable[..., Any]:
    """Let each device call a function of (weight, per tile, whole) with its own part.

    ``function`` returns the like of its arguments. What is given per tile are pytrees of arrays with the
    tiles of a part along their first axis. Where parts cut through tiles, each device is given all.
    """
    spec = _spec(*sharding.spec, *[None] * (len(shape) - len(sharding.spec)))
    names = {axis: _names(each) for axis, each in enumerate(spec) if each is not None}
    sizes = {axis: [sharding.mesh.shape[name] for name in each] for axis, each in names.items()}
    alone = plane.parts == 1 and whole_tiles(shape, plane, pattern, sizes)
    part, tiles = (spec, _spec(sum(names.values(), ()) or None)) if alone else (_spec(), _spec())

    def call(weight: Any, per_tile: Any, whole: Any) -> tuple[Any, Any, Any]:
        solve = jax.shard_map(
            function,
            mesh=sharding.mesh,
            in_specs=(part, tiles, _spec()),
            out_specs=(part, tiles, _spec()),
            check_vma=False,  # a callback's results are known to vary by nothing but their shape
        )
        given = _placed(sharding, weight, part), _placed(sharding, per_tile, tiles)
        found, after, number = solve(*given, _placed(sharding, whole, _spec()))
        return _placed(sharding, found, spec), after, number

    return call


def _placed(sharding: NamedSharding, arrays: Any, spec: PartitionSpec) -> Any:
    place = NamedSharding(sharding.mesh, spec)
    return jax.tree.map(lambda each: jax.device_put(each, place), arrays)


def _names(axes: Any) -> tuple[Any, ...]:
    return axes if isinstance(axes, tuple) else (axes,)
