"""Sparse training as the last transformation of an optax chain."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

import masksolve as ms
from masksolve.checks import integer, number

from ..patterns import LayerPatterns, Patterns
from ..plane import Plane
from .kinds import Choice, Where, choose, path_of
from .masks import apply
from .sharding import in_parts, spread_of

Density = Callable[[int], float]
"""From the number of steps to the share of weights that are kept."""

_SMALL_M = 4
"""Up to this m a solve from prices is no faster than one without (measured on 2:4-T)."""


class SparsifyState(NamedTuple):
    """State of the transformation: a pytree of arrays, saved with the optimizer's.

    Attributes
    ----------
    step : array of int32
        Steps so far.
    masks : pytree of bool arrays
        Structure of the parameters; a single True for what is not masked.
    prices : dict from str to (rows, columns)
        Dual prices of each masked leaf, from which its next solve starts.
    priced : dict from str to array of int32
        The n of each masked leaf's masks, which its prices are for; 0 before the first.
    """

    step: jax.Array
    masks: Any
    prices: dict[str, tuple[jax.Array, jax.Array]]
    priced: dict[str, jax.Array]


@dataclass(frozen=True)
class Sparsifier:
    """What `sparsify` returns: a gradient transformation, and what a training needs beside it."""

    pattern: ms.Pattern | Mapping[str, ms.Pattern | str]
    refresh_every: int | None
    decay: float
    density: Density | None
    where: Where | None
    planes: Mapping[str, Plane] | None
    shardings: Mapping[str, NamedSharding] | None
    warm_start: bool
    options: Mapping[str, Any]

    def init(self, params: Any) -> SparsifyState:
        """Find the first masks."""
        double = {path_of(keys) for keys, leaf in jax.tree.flatten_with_path(params)[0] if _is_double(leaf)}
        zero, chosen, prices = jnp.zeros((), jnp.int32), self._chosen(params), {}
        for choice in chosen:
            self._pattern_at(_pattern_of(choice), 0)  # one that has no n to grow is refused before a callback
            if tiles := self._priced_tiles(choice):
                dtype = float if choice.path in double else jnp.float32
                rows, columns = _pattern_of(choice).lines
                prices[choice.path] = jnp.zeros((tiles, rows), dtype), jnp.zeros((tiles, columns), dtype)
        priced = {choice.path: zero for choice in chosen}
        return self._refreshed(params, SparsifyState(zero, None, prices, priced))

    def update(self, updates: Any, state: SparsifyState, params: Any = None) -> tuple[Any, SparsifyState]:
        """Pass the updates on; count the step, and find masks of the parameters after it if they are due.

        Raises
        ------
        ValueError
            Without ``params``.
        """
        if params is None:
            raise ValueError("params must be given to update(), as optax.adamw asks for them too")
        state = state._replace(step=state.step + 1)
        if self.refresh_every is None:
            return updates, state
        moved = jax.tree.map(lambda p, u: jnp.asarray(p + u).astype(jnp.asarray(p).dtype), params, updates)
        due = state.step % self.refresh_every == 0
        return updates, jax.lax.cond(due, self._refreshed, lambda _, state: state, moved, state)

    def effective(self, params: Any, state: Any) -> Any:
        """Give the parameters that the model computes with; differentiate the loss through it.

        Dense parameters receive the gradient of every entry (straight-through), plus ``decay`` times
        their value outside the masks; with static masks, that of the kept entries.

        Parameters
        ----------
        params : pytree of arrays
        state : SparsifyState, or an optimizer's state that holds one

        Returns
        -------
        pytree of arrays
        """
        masks = _state_in(state).masks
        if self.refresh_every is None:
            return apply(params, masks)
        through = partial(_straight_through, self.decay)
        return jax.tree.map(lambda p, kept: p if jnp.ndim(kept) == 0 else through(p, kept), params, masks)

    def finalize(self, params: Any, state: Any, *, allow_unfinished: bool = False) -> Any:
        """Bake the masks in.

        Raises
        ------
        PatternViolationError
            If a mask does not follow the pattern yet, as when training ended before its ramp.
        """
        masks = _state_in(state).masks
        kept = {path_of(keys): each for keys, each in jax.tree.flatten_with_path(masks)[0]}
        for choice in self._chosen(params):
            assert choice.plane is not None
            pattern = replace(_pattern_of(choice), constraint="at_most")
            verification = ms.verify(np.asarray(choice.plane.matrices(kept[choice.path])), pattern)
            if not verification.ok and not allow_unfinished:
                raise ms.PatternViolationError(
                    f"the mask of '{choice.path}' must follow '{choice.pattern}' by now, but has "
                    f"{verification}\nTrain until density= has reached the pattern and the masks were "
                    f"refreshed since, or pass allow_unfinished=True"
                )
        return apply(params, masks)

    def choices(self, params: Any) -> list[Choice]:
        """List every leaf of two axes or more: masked, or why not."""
        return choose(params, self.pattern, where=self.where, planes=self.planes)

    def _chosen(self, params: Any) -> list[Choice]:
        choices = self.choices(params)
        chosen = [choice for choice in choices if not choice.skipped]
        if not chosen:
            listed = "; ".join(f"'{choice.path}' {choice.skipped}" for choice in choices[:5])
            raise ValueError(
                f"params must have a leaf to mask to '{LayerPatterns.of(self.pattern)}': "
                f"{listed or 'none has two axes'}"
            )
        return chosen

    def _priced_tiles(self, choice: Choice) -> int:
        """Count the tiles whose prices are kept; 0 where a solve does not start from any."""
        assert choice.plane is not None
        pattern = _pattern_of(choice)
        *batch, rows, columns = choice.plane.shape(choice.shape)
        tall, wide = pattern.tile_shape
        warm = self.warm_start and self.refresh_every and pattern.transposable
        if not warm or max(tall, wide) <= _SMALL_M or rows % tall or columns % wide:
            return 0
        return math.prod(batch) * (rows // tall) * (columns // wide)

    def _refreshed(self, params: Any, state: SparsifyState) -> SparsifyState:
        leaves = {path_of(keys): leaf for keys, leaf in jax.tree.flatten_with_path(params)[0]}
        masks, prices, priced = {}, {}, {}
        for choice in self._chosen(params):
            held = {choice.path: state.prices[choice.path]} if choice.path in state.prices else {}
            leaf = jax.lax.stop_gradient(leaves[choice.path])
            numbers = state.step, state.priced[choice.path]
            masks[choice.path], after, priced[choice.path] = self._found(choice, leaf, held, numbers)
            prices.update(after)
        tree = jax.tree.map_with_path(lambda keys, _: masks.get(path_of(keys), jnp.ones((), bool)), params)
        return SparsifyState(state.step, tree, prices, priced)

    def _found(self, choice: Choice, leaf: Any, prices: Any, numbers: Any) -> tuple[Any, Any, Any]:
        """Find the mask of a leaf, on each device for its own part if the leaf is spread."""
        assert choice.plane is not None
        find: Callable[..., Any] = partial(self._called, choice)
        spread = self._spread(choice.path, leaf)
        if spread is not None:
            find = in_parts(find, spread, choice.shape, choice.plane, _pattern_of(choice))
        mask, after, priced = find(leaf, prices, numbers)
        return mask, after, priced

    def _spread(self, path: str, leaf: Any) -> NamedSharding | None:
        declared = [each for name, each in (self.shardings or {}).items() if fnmatchcase(path, name)]
        return declared[0] if declared else spread_of(leaf)

    def _called(self, choice: Choice, leaf: Any, prices: Any, numbers: Any) -> tuple[Any, Any, Any]:
        """Call the host with a leaf, or a part of one; its mask, prices, and the n that they are for."""
        plane = choice.plane
        assert plane is not None
        matrices = plane.matrices(leaf)
        shapes = _like(matrices, bool), jax.tree.map(_like, prices), _like(numbers[1])
        solve = partial(self._solve, choice.path, _pattern_of(choice))
        mask, after, priced = jax.pure_callback(solve, shapes, matrices, prices, *numbers)
        return plane.weight(mask, leaf.shape), after, priced

    def _solve(
        self, path: str, final: ms.Pattern, w: Any, prices: Any, step: Any, priced: Any
    ) -> tuple[Any, Any, Any]:
        """Find the mask of a leaf, on the host."""
        pattern = self._pattern_at(final, int(step))
        warm = path in prices and int(priced) == pattern.n
        try:
            result = ms.solve(
                np.asarray(w),
                pattern,
                score="magnitude",
                duals=path in prices,
                tiles=False,
                warm_start=ms.Prices(*map(np.asarray, prices[path])) if warm else None,
                **self.options,
            )
        except (TypeError, ValueError) as error:
            error.add_note(f"in the leaf '{path}' of params")
            raise
        after = {}
        if path in prices:
            assert result.duals is not None
            pairs = zip(result.duals, prices[path], strict=True)
            after[path] = tuple(np.asarray(each, like.dtype) for each, like in pairs)
        return np.asarray(result.mask), after, np.asarray(pattern.n, np.int32)

    def _pattern_at(self, final: ms.Pattern, step: int) -> ms.Pattern:
        if self.density is None:
            return final
        share = number("density(step)", self.density(step), least=0, most=1)
        return final.relaxed(share)


def _pattern_of(choice: Choice) -> ms.Pattern:
    """Give the pattern of a leaf that is masked."""
    assert choice.pattern is not None
    return choice.pattern


def sparsify(
    pattern: Patterns,
    *,
    refresh_every: int | None = None,
    decay: float = 0.0,
    density: Density | None = None,
    where: Where | None = None,
    planes: Mapping[str, Plane] | None = None,
    shardings: Mapping[str, NamedSharding] | None = None,
    warm_start: bool = True,
    backend: str = "auto",
    workers: int = 1,
) -> Sparsifier:
    """Train with optimal N:M masks: a gradient transformation, to be the last of an ``optax.chain``.

    It leaves the updates alone and keeps masks in its state. The loss is computed from
    ``sparsifier.effective(params, state)``. Works eagerly and inside ``jit``, where masks are found on the
    host by a callback when they are due. The state is a pytree: saved and loaded with the optimizer's,
    a resumed training goes on bit for bit.

    Parameters
    ----------
    pattern : Pattern or str, or mapping from str to them
        One-directional patterns run along an axis of the kernel as Flax has it, (inputs, outputs):
        ``"2:4 axis=-2"`` groups inputs. One for all leaves, or one by paths or wildcards, as for
        `mask_tree`; `masksolve.allocate` finds them.
    refresh_every : int, optional
        *Dynamic* masks: find them again every so many steps; gradients pass straight through. By default
        masks are *static*: found once, and only the entries that they keep are trained.
    decay : float
        Weight decay of the entries outside a dynamic mask, in their gradient (SR-STE).
    density : callable, optional
        From the number of steps to the share of weights kept, such as
        `masksolve.adapters.torch.CubicRamp`; masks follow n:m with the least n that reaches it, never
        below the pattern's. Called on the host.
    where, planes
        Which leaves, and their axes, as for `mask_tree`; leaves that do not fit are left alone, which
        ``sparsifier.choices(params)`` tells.
    shardings : mapping from str to NamedSharding, optional
        How leaves are spread over devices, from paths or wildcards. Needed under ``jit`` only, and only on
        meshes with ``Auto`` axes; otherwise it is seen. Masks are spread as their leaves are, and found by
        every device for its own part, where that holds whole tiles.
    warm_start : bool
        Start each solve at the last prices where it helps (transposable patterns, m above 4).
    backend, workers
        As for `masksolve.solve`.

    Returns
    -------
    Sparsifier

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it should be.

    References
    ----------
    Zhou et al. Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch. ICLR 2021
    (SR-STE).

    Examples
    --------
    >>> params = {"kernel": jnp.sin(jnp.arange(64.0)).reshape(8, 8)}
    >>> sparsifier = sparsify("2:4-T", refresh_every=2)
    >>> state = sparsifier.init(params)
    >>> loss = lambda params: jnp.sum(sparsifier.effective(params, state)["kernel"] ** 2)
    >>> gradient = jax.grad(loss)(params)
    >>> updates, state = sparsifier.update(jax.tree.map(lambda g: -0.1 * g, gradient), state, params)
    >>> int(state.step), int(state.masks["kernel"].sum())
    (1, 32)
    """
    patterns = LayerPatterns.of(pattern)
    if refresh_every is not None:
        integer("refresh_every", refresh_every, least=1)
    number("decay", decay, least=0)
    for name, value in (("density", density), ("where", where)):
        if value is not None and not callable(value):
            raise TypeError(f"{name} must be callable, got {value!r}")
    if refresh_every is None and (decay or density is not None):
        raise ValueError("decay= and density= work on dynamic masks only; give refresh_every= too")
    return Sparsifier(
        pattern=dict(pattern) if isinstance(pattern, Mapping) else patterns.first,
        refresh_every=refresh_every,
        decay=float(decay),
        density=density,
        where=where,
        planes=planes,
        shardings=shardings,
        warm_start=warm_start,
        options={"backend": backend, "workers": workers},
    )


def _is_double(leaf: Any) -> bool:
    """Whether prices are float64, as those of float64 scores are."""
    return bool(jnp.result_type(leaf) == jnp.float64)


def _like(array: Any, dtype: Any = None) -> Any:
    """Describe an array to a callback."""
    describe: Callable[..., Any] = jax.ShapeDtypeStruct
    return describe(array.shape, dtype or array.dtype)


def _state_in(state: Any) -> SparsifyState:
    """Find the one state of ours in that of a chain."""
    parts = jax.tree.leaves(state, is_leaf=lambda each: isinstance(each, SparsifyState))
    ours = [each for each in parts if isinstance(each, SparsifyState)]
    if len(ours) != 1:
        raise ValueError(f"state must hold one SparsifyState, got {len(ours)}")
    return ours[0]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _straight_through(decay: float, weight: jax.Array, kept: jax.Array) -> jax.Array:
    return jnp.where(kept, weight, 0)


def _forward(decay: float, weight: jax.Array, kept: jax.Array) -> tuple[jax.Array, Any]:
    return jnp.where(kept, weight, 0), (weight, kept) if decay else None


def _backward(decay: float, saved: Any, gradient: jax.Array) -> tuple[jax.Array, None]:
    if decay:
        weight, kept = saved
        gradient = gradient + jnp.asarray(decay, weight.dtype) * jnp.where(kept, 0, weight)
    return gradient, None


_straight_through.defvjp(_forward, _backward)
