"""What a solve returns."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from . import storage
from .frameworks import to_numpy
from .pattern import Pattern
from .rounding import relative_gap
from .types import Prices, Score, Status, TileSums

_AT_ONCE = 1 << 20
"""Entries that are summed in float64 at a time."""


@dataclass(frozen=True, eq=False)
class MaskResult:
    """A mask, what it keeps, and the proof of how good it is.

    Attributes
    ----------
    mask : array of bool
        Shape, array type and device of the scores; True = kept.
    objective : float
        Sum of the kept scores, in float64.
    bound : float
        Proven upper bound on the sum that any mask can keep, rounding included; inf if none was computed.
    status : Status
        OPTIMAL means that every tile is proven: its own bound is at most 1e-6 (prices in float32) or 1e-12
        (float64) above what it keeps, relative to its own kept sum of absolute scores.
    backend : str
        Name of the backend that ran.
    pattern : Pattern
    duals : Prices or None
        Dual prices that give ``bound``: ``rows`` (tiles, r) and ``columns`` (tiles, c) for tiles of r rows
        and c columns, in row-major order over (batch, tile row, tile column); for one-directional patterns
        ``rows`` is (groups, 1) and ``columns`` is None. By default they are kept if they take
        at most 4 MiB or, for transposable patterns, no more memory than the mask;
        ``solve(..., duals=True)`` always keeps them.
    tiles : TileSums or None
        Objective and bound of every tile. By default they are kept if they take at most 1 MiB (65,536
        tiles); ``solve(..., tiles=True)`` always keeps them.
    stats : mapping
        ``tiles``, ``seconds``, ``workers``, ``chosen_because``; ``open``, the number of tiles that are not
        proven optimal, with ``worst_tile`` and ``worst_gap`` if there are any; ``negative_share`` if the
        scores look like raw weights; and counts that the backend reports.
    score : {"value", "magnitude", "square"}
        What an entry x of the scores was worth: x, abs(x), or x * x.

    Examples
    --------
    >>> import numpy as np, masksolve as ms
    >>> weights = np.random.default_rng(0).standard_normal((64, 64))
    >>> result = ms.solve(weights, "4:8-T", score="magnitude")
    >>> print(result)  # doctest: +ELLIPSIS
    OPTIMAL: in every tile, the bound proves that no mask keeps more
      pattern   4:8-T, keep 4 of 8 in rows and columns, 50% zeros
      kept      ..., and no mask keeps more than ... (gap ...)
      mask      64 x 64, 64 tiles, of which 0 are not proven optimal
      backend   exact, ... s
    >>> result.density, round(result.retained(weights), 2)
    (0.5, 0.74)
    """

    mask: Any
    objective: float
    bound: float
    status: Status
    backend: str
    pattern: Pattern
    duals: Prices | None = None
    tiles: TileSums | None = None
    stats: Mapping[str, Any] = field(default_factory=dict)
    score: Score = "value"

    @property
    def gap(self) -> float:
        """Relative gap ``(bound - objective) / abs(bound)``; 0 is a perfect proof."""
        return relative_gap(self.objective, self.bound)

    @property
    def density(self) -> float:
        """Share of entries that the mask keeps (0 for an empty array)."""
        mask: Any = to_numpy("mask", self.mask)
        return float(np.count_nonzero(mask) / max(math.prod(mask.shape), 1))

    def retained(self, scores: npt.ArrayLike) -> float:
        """Share that the mask keeps of what all entries are worth, by the result's ``score``.

        Parameters
        ----------
        scores : array of real numbers, shape of the mask
            The scores, or weights, that were solved; the result does not hold on to them.

        Returns
        -------
        float
            ``objective`` over the sum of all positive scores: what a mask without a pattern could keep.
            1.0 if no score is positive and nothing is lost.

        Raises
        ------
        ValueError
            If the shape is not that of the mask.
        """
        array: Any = np.asarray(to_numpy("scores", scores))
        shape = tuple(self.mask.shape)
        if array.shape != shape:
            raise ValueError(f"scores must have the shape of the mask {shape}, got {array.shape}")
        whole = math.fsum(map(self._worth, np.array_split(array, -(-array.size // _AT_ONCE) or 1)))
        return float(self.objective / whole) if whole else 1.0

    def _worth(self, scores: npt.NDArray[Any]) -> float:
        """Sum of what entries are worth, if they are worth anything."""
        values = scores.astype(np.float64)
        if self.score == "square":
            values *= values
        return float((np.abs(values) if self.score == "magnitude" else np.maximum(values, 0.0)).sum())

    def save(self, file: str | os.PathLike[str] | BinaryIO) -> None:
        """Write the mask and its certificate to a NumPy archive (``.npz``, readable by ``numpy.load``).

        The mask takes a bit an entry; dual prices and sums of tiles are written if the result holds them
        (``solve(..., duals=True, tiles=True)``). Arrays come back as NumPy's.

        Parameters
        ----------
        file : str, path or binary file
            Written as it is named; nothing is appended to it. A file of that name is replaced when the new
            one is complete.
        """
        storage.save({each.name: getattr(self, each.name) for each in fields(self)}, file)

    @classmethod
    def load(cls, file: str | os.PathLike[str] | BinaryIO) -> MaskResult:
        """Read what `save` wrote.

        A file proves nothing, whoever wrote it: `masksolve.recompute_certificate` does, from the scores,
        the mask and, if there are any, the dual prices.

        Raises
        ------
        ValueError
            If the file is not such an archive, or its parts do not fit together.

        Examples
        --------
        >>> import io, numpy as np, masksolve as ms
        >>> scores = np.random.default_rng(0).random((16, 16))
        >>> archive = io.BytesIO()
        >>> ms.solve(scores, "2:4-T").save(archive)
        >>> _ = archive.seek(0)
        >>> again = ms.MaskResult.load(archive)
        >>> proof = ms.recompute_certificate(scores, again.mask, again.pattern, again.duals)
        >>> bool(np.isclose(proof.objective, again.objective)), proof.bound - proof.objective < 1e-12
        (True, True)
        """
        return cls(**storage.load(file))

    def __repr__(self) -> str:
        return (
            f"MaskResult({self.status.name}, pattern='{self.pattern}', shape={tuple(self.mask.shape)}, "
            f"objective={self.objective:.9g}, gap={self.gap:.2g}, backend='{self.backend}')"
        )

    def __str__(self) -> str:
        rows = [f"{name:<9} {text}" for name, text in self._rows().items()]
        return "\n  ".join([f"{self.status.name}: {self.status.value.partition(': ')[2]}", *rows])

    def _repr_html_(self) -> str:
        """Show the result in a notebook: what `str` says, beside a corner of the mask."""
        return storage.as_html(str(self.status), self._rows(), self.mask, self.pattern)

    def _rows(self) -> dict[str, str]:
        """Say in words what there is to say of the result."""
        stats, bound = self.stats, "no bound was computed"
        if self.bound < math.inf:
            bound = f"no mask keeps more than {self.bound:.9g} (gap {self.gap:.2g})"
        proven = f", of which {stats['open']} are not proven optimal" if "open" in stats else ""
        words = repr(self.pattern).partition(", ")[2].removesuffix(")")
        seconds = f", {stats['seconds']:.3g} s" if "seconds" in stats else ""
        shape = " x ".join(map(str, self.mask.shape))
        return {
            "pattern": f"{self.pattern}, {words}",
            "kept": f"{self.objective:.9g}, and {bound}",
            "mask": shape + (f", {stats['tiles']} tiles{proven}" if "tiles" in stats else ""),
            "backend": f"{self.backend}{seconds}",
        }


class SolveInterrupted(KeyboardInterrupt):
    """Ctrl-C during a solve; ``result`` holds what was solved so far.

    Tiles that were not reached hold a fixed pattern, as under ``Status.TIME_LIMIT``.
    """

    def __init__(self, result: MaskResult) -> None:
        super().__init__(f"interrupted: {result!r}")
        self.result = result
