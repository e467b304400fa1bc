"""Certificates of tiles on their device, by formulas that ask no solver."""

from __future__ import annotations

from typing import Any

from .frame import Bounds, Frame, Tiles


def certify(xp: Any, tiles: Tiles, mask: Any, rows: Any, columns: Any) -> tuple[Any, Any]:
    """Objective and dual bound of every tile, (T,) each, in float64.

    The formula is that of `masksolve.certificate`; nothing here trusts the solver. Prices that are
    not finite give the bound infinity. JAX has float64 only where ``jax_enable_x64`` is set.
    """
    frame = Frame.of(xp, tiles)
    if "float64" not in xp.__array_namespace_info__().dtypes():
        raise TypeError(f"certify needs float64, which {xp.__name__} does not offer; JAX: jax.enable_x64")
    pairs = []
    for first, last in frame.chunks(tiles.scores.shape[0]):
        part = tiles.part(first, last)
        u, v = (xp.astype(prices[first:last, :], xp.float64) for prices in (rows, columns))
        finite = xp.all(xp.isfinite(u), axis=1) & xp.all(xp.isfinite(v), axis=1)
        bound = _bound(
            xp, part, *(xp.where(finite[:, None], prices, xp.zeros_like(prices)) for prices in (u, v))
        )
        kept = xp.astype(part.scores, xp.float64) * xp.astype(mask[first:last, :, :], xp.float64)
        pairs.append((xp.sum(kept, axis=(1, 2)), xp.where(finite, bound, xp.full_like(bound, xp.inf))))
    objectives, bounds = zip(*pairs, strict=True)
    return xp.concat(objectives), xp.concat(bounds)


def _bound(xp: Any, part: Tiles, rows: Any, columns: Any) -> Any:
    """Dual bound of finite prices in float64."""
    reduced = xp.astype(part.scores, xp.float64) - rows[:, :, None] - columns[:, None, :]
    gain = xp.maximum(reduced, xp.zeros_like(reduced))
    if part.keep is not None:
        gain = xp.where(part.keep, reduced, gain)
    if part.drop is not None:
        gain = gain * xp.astype(~part.drop, xp.float64)
    worth = _worth(xp, rows, part.row_bounds) + _worth(xp, columns, part.column_bounds)
    return xp.sum(gain, axis=(1, 2)) + worth


def feasible(xp: Any, tiles: Tiles, mask: Any) -> Any:
    """Whether each tile of ``mask`` keeps what lines may and must, and obeys the forced choices, (T,)."""
    good = xp.ones(mask.shape[:1], dtype=xp.bool, device=mask.device)
    counted = xp.astype(mask, xp.int32)
    for axis, (least, most) in ((2, tiles.row_bounds), (1, tiles.column_bounds)):
        counts = xp.sum(counted, axis=axis, dtype=xp.int32)
        good = good & xp.all((counts >= least) & (counts <= most), axis=1)
    if tiles.keep is not None:
        good = good & ~xp.any(tiles.keep & ~mask, axis=(1, 2))
    if tiles.drop is not None:
        good = good & ~xp.any(tiles.drop & mask, axis=(1, 2))
    return good


def _worth(xp: Any, prices: Any, bounds: Bounds) -> Any:
    least, most = bounds
    return xp.sum(xp.maximum(least * prices, most * prices), axis=1)
