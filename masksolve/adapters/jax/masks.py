"""Masks of weights, eager or inside jit, vmap and grad, and of trees of parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

import masksolve as ms

from ..patterns import LayerPatterns, Patterns
from ..plane import Plane
from .kinds import AMBIGUOUS, LAST_TWO, Where, found, path_of
from .sharding import in_parts, spread_of

_MAGNITUDE: dict[str, Any] = {"score": "magnitude", "duals": False, "tiles": False}


def mask(
    w: Any,
    pattern: ms.Pattern | str,
    *,
    plane: Plane | None = None,
    backend: str = "auto",
    workers: int = 1,
) -> jax.Array:
    """Find the mask that keeps the largest sum of ``abs(w)``; eager, or inside ``jit``, ``vmap`` or ``grad``.

    An array with values is solved where it lies, as by `masksolve.solve`. One that is being traced is
    solved when the compiled code runs, on the host, whatever the device; under ``vmap`` the whole batch
    is one solve. If it is spread over a mesh with ``Explicit`` axes, every device calls with its own part,
    or with all of it where parts cut through tiles.

    Parameters
    ----------
    w : array of real numbers, shape (..., R, C)
        What ``jax.numpy.asarray`` takes. Leading axes are a batch. No axis is moved: a Dense kernel
        of Flax is (inputs, outputs) and a convolution's ``(*kernel, inputs, outputs)``, which is masked in
        the (inputs, outputs) plane of every place of the kernel.
    pattern : Pattern or str
        Transposable patterns need no thought about layout. One-directional ones run along their axis:
        ``"2:4 axis=-2"`` groups the inputs of a Flax kernel, ``"2:4"`` its outputs.
    plane : Plane, optional
        Which axes are inputs (rows) and outputs (columns), where these are not the last two:
        ``Plane(0, (1, 2))`` for a kernel (inputs, heads, features), ``Plane((0, 1), 2)`` for one
        (heads, features, outputs), as attention layers have.
    backend : str
        As for `masksolve.solve`.
    workers : int
        Threads on the host.

    Returns
    -------
    Array of bool
        Shape of ``w``; True = kept. A constant: no gradient flows through it.

    Raises
    ------
    TypeError, ValueError
        As `masksolve.solve`; for everything but the values while tracing. NaN and infinity are found
        when the compiled code runs, and JAX reports them as an error of the callback.

    Examples
    --------
    >>> import jax
    >>> mask(jax.numpy.array([[3., -1.], [2., -5.]]), "1:2-T")
    Array([[ True, False],
           [False,  True]], dtype=bool)
    """
    pattern = ms.Pattern.parse(pattern)
    try:
        w = jax.lax.stop_gradient(jnp.asarray(w))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"w must be an array, got {type(w).__name__}; mask_tree takes trees of them"
        ) from error
    if plane is not None:
        kept = mask(plane.matrices(w), pattern, backend=backend, workers=workers)
        seen: jax.Array = plane.weight(kept, w.shape)
        return seen
    pattern = _from_the_end(pattern, w.ndim)

    def solve(scores: Any) -> ms.MaskResult:
        return ms.solve(scores, pattern, backend=backend, workers=workers, **_MAGNITUDE)

    if not isinstance(w, jax.core.Tracer):
        found: jax.Array = solve(w).mask
        return found
    _check(solve, pattern, w)

    def on_host(values: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        return np.asarray(solve(np.asarray(values)).mask)

    def called(w: jax.Array, *nothing: Any) -> tuple[Any, Any, Any]:
        result = jax.eval_shape(lambda: jnp.zeros(w.shape, bool))
        return jax.pure_callback(on_host, result, w, vmap_method="broadcast_all"), *nothing

    spread = spread_of(w) if w.ndim > 1 and {-2, -1} >= set(pattern.axes) else None
    find = called if spread is None else in_parts(called, spread, w.shape, LAST_TWO, pattern)
    return jnp.asarray(find(w, (), ())[0])


def mask_tree(
    params: Any,
    pattern: Patterns,
    *,
    where: Where | None = None,
    planes: Mapping[str, Plane] | None = None,
    backend: str = "auto",
    workers: int = 1,
) -> Any:
    """Find the masks of a tree of parameters, leaf by leaf.

    Parameters
    ----------
    params : pytree of arrays
    pattern : Pattern or str, or mapping from str to them
        One for all leaves, or one by paths or shell-style wildcards, the first that fits; ``"dense"`` in
        place of a pattern, and no path that fits, leave a leaf alone.
    backend, workers
        As for `mask`.
    where : callable, optional
        Called as ``where(path, leaf)`` with the keys of a leaf joined by slashes, such as
        ``"params/Dense_0/kernel"``; true to mask it. By default, every leaf of floating-point numbers
        with at least two axes, embeddings, biases and LoRA's adapters left out; `choose` lists them.
    planes : mapping from str to Plane, optional
        From paths or shell-style wildcards to the axes that are inputs (rows) and outputs (columns).
        Known without are attention layers of Flax, ``query/kernel`` (inputs, heads, features) and its
        like and ``out/kernel`` (heads, features, outputs), and convolutions named so. Any other leaf
        of three axes needs it; of all others they are the last two.

    Returns
    -------
    pytree
        The structure of ``params``. A chosen leaf's mask has its shape; in place of every other leaf
        stands a single True, which takes no room, and broadcasts.

    Raises
    ------
    TypeError, ValueError
        As `mask`, naming the leaf; ValueError if no leaf is chosen, or one of three axes of which the
        plane is not known, or if a path in ``pattern`` fits no leaf.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> params = {"dense": {"kernel": jnp.eye(2), "bias": jnp.zeros(2)}}
    >>> mask_tree(params, "1:2-T")
    {'dense': {'bias': Array(True, dtype=bool), 'kernel': Array([[ True, False],
           [False,  True]], dtype=bool)}}
    """
    if where is not None and not callable(where):
        raise TypeError(f"where must be callable as where(path, leaf), got {where!r}")
    listed = [choice for choice, _ in found(params, where, planes)]
    patterns = LayerPatterns.of(pattern, any_axis=True)
    patterns.check_names([(choice.path,) for choice in listed])
    found_for = ((choice.path, patterns.of_weight((choice.path,))) for choice in listed)
    own = {path: each for path, each in found_for if isinstance(each, ms.Pattern)}
    chosen = {choice.path: choice for choice in listed if not choice.skipped and choice.path in own}
    if not chosen:
        paths = [path_of(keys) for keys, _ in jax.tree.flatten_with_path(params)[0]]
        raise ValueError(f"where must choose a leaf of params to mask, got none of {paths[:8]}")

    def masked(keys: Any, leaf: Any) -> jax.Array:
        choice = chosen.get(path_of(keys))
        if choice is None:
            return jnp.ones((), bool)
        try:
            if choice.plane is None:
                raise ValueError(f"w {AMBIGUOUS}")
            plane = None if choice.plane == LAST_TWO else choice.plane
            return mask(leaf, own[choice.path], plane=plane, backend=backend, workers=workers)
        except (TypeError, ValueError) as error:
            error.add_note(f"in the leaf '{choice.path}' of params; where= can leave it out")
            raise

    return jax.tree.map_with_path(masked, params)


def apply(params: Any, masks: Any) -> Any:
    """Set what is not kept to zero; gradients flow through what is kept.

    Parameters
    ----------
    params : pytree of arrays
    masks : pytree of bool arrays
        As from `mask_tree`: the structure of ``params``.

    Returns
    -------
    pytree
        As ``params``, dtypes included; a leaf whose mask is a single True is passed through.

    Raises
    ------
    ValueError
        If the structures differ, or a mask has neither its leaf's shape nor none.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> apply([jnp.array([1., 2.]), jnp.zeros(3)], [jnp.array([False, True]), jnp.array(True)])
    [Array([0., 2.], dtype=float32), Array([0., 0., 0.], dtype=float32)]
    """
    return jax.tree.map(_applied, params, masks)


def _applied(leaf: Any, kept: Any) -> Any:
    if jnp.ndim(kept) == 0:
        return leaf
    if jnp.shape(kept) != jnp.shape(leaf):
        raise ValueError(
            f"masks must have the shapes of params, got {jnp.shape(kept)} for a leaf of shape "
            f"{jnp.shape(leaf)}"
        )
    return jnp.where(kept, leaf, 0)


def _check(solve: Callable[..., ms.MaskResult], pattern: ms.Pattern, w: jax.Array) -> None:
    """Raise what a solve of the traced weights would, as far as that does not depend on their values."""
    misfit = pattern.misfit(w.shape)
    if misfit is not None:
        raise ValueError(f"w {misfit}")
    solve(
        np.zeros((0,) * w.ndim, w.dtype)
    )  # has no tiles; the backend and the dtype are looked at all the same


def _from_the_end(pattern: ms.Pattern, axes: int) -> ms.Pattern:
    """Count the pattern's axis from the end, since ``vmap`` puts its own in front."""
    return replace(pattern, axis=pattern.axis - axes) if 0 <= pattern.axis < axes else pattern
