"""The problem: scores, pattern and forced choices, checked once, here and nowhere else."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from . import checks, pairs
from ._ext import arrays
from ._ext.arrays import DefaultArithmetic
from .arrays import boolean_array, check_real, check_shape, dtype_name, real_array
from .frameworks import Framework, framework_of
from .frameworks.compat import device_of
from .pattern import Pattern
from .rounding import total
from .tiling import Tiling, tiling_of
from .types import SCORES, SCORES_ELSEWHERE, BoolArray, Score

LARGEST_SINGLE = 2.0**96
"""Scores up to this are solved in float32 if it holds them exactly: their sums stay far from overflow."""

LARGEST_SUM = 1e300
"""Sums of the magnitudes of all scores stay below this."""

_DOUBLE = {"int32", "int64", "uint32", "uint64", "float64"}
"""Types with values that float32 does not hold."""

_NARROW = {"bool", "int8", "uint8", "float16", "bfloat16"}
"""Types whose sums of four float32 holds, as a rule."""

_ROOM = 8
"""More than as many times an entry as the sum of a pair, or of a block of two pairs, may be."""

_SAMPLE = 256
"""About how many entries are looked at to tell raw weights from scores."""

_FEWEST = 64
"""Smaller arrays have too few entries to tell."""


class UnfitScoresError(Exception):
    """A backend met a score that is not finite, or larger than it was told to expect."""


@dataclass(eq=False)
class MaskProblem:
    """Validated input of a solve.

    Attributes
    ----------
    scores : array, shape (..., R, C)
        Real numbers in the caller's own memory: never copied, never written. NumPy's on the host, or
        ``framework``'s where they are.
    pattern : Pattern
    keep, drop : array of bool, shape of ``scores``, or None
        Forced choices; no entry is in both.
    score : {"value", "magnitude", "square"}
        What an entry x of ``scores`` is worth: x, abs(x), or x * x.
    largest : float
        The largest absolute value (0 for an empty array); if ``checked`` is false, what ordinary values of
        this dtype stay below, and whoever reads them must make sure of it.
    checked : bool
        Whether the scores have been read and found finite.
    framework : Framework or None
        Whose arrays these are; None: NumPy's.
    tiling : Tiling
    entries : MaskProblem or None
        What was asked, where the pattern is one of pairs: then this problem is that of their sums (see
        `masksolve.pairs`).
    apart : tuple of int
        If it is not empty, ``scores`` are the first entries of pairs, and worth what all entries of the pair
        are worth together: how many bytes a first entry is from the other, along each axis of pairs.
    """

    scores: Any
    pattern: Pattern
    keep: Any | None
    drop: Any | None
    score: Score
    largest: float
    checked: bool
    framework: Framework | None
    tiling: Tiling
    entries: MaskProblem | None = None
    apart: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        scores: npt.ArrayLike,
        pattern: Pattern | str | tuple[int, int],
        keep: npt.ArrayLike | None = None,
        drop: npt.ArrayLike | None = None,
        *,
        score: str = "value",
        framework: Framework | None = None,
    ) -> MaskProblem:
        """Validate the caller's arguments; the scores' values are left to `read`, or to a backend.

        Reading a large array once more costs as much as solving small tiles, so a backend that looks at
        every score anyway does without `read`.

        Parameters
        ----------
        framework : Framework or None
            Solve the arrays of this framework where they are; None: in NumPy.

        Raises
        ------
        TypeError
            For arrays or dtypes that are not real numbers.
        ValueError
            For shapes, values or forced choices that no mask can satisfy.
        """
        pattern = Pattern.parse(pattern)
        worth: Any = checks.choice("score", score, SCORES, SCORES_ELSEWHERE)
        array: Any
        if framework is None:
            array = real_array("scores", scores)
        else:
            array = framework.native("scores", scores)
            framework.namespace(array)  # refuses the arrays of a library that has none
            check_real("scores", array)
        shape = tuple(array.shape)
        check_shape("scores", shape, pattern)
        problem = cls(
            scores=array,
            pattern=pattern,
            keep=_forced("keep", keep, array, framework),
            drop=_forced("drop", drop, array, framework),
            score=worth,
            largest=_ordinary(dtype_name(array), worth, math.prod(shape)),
            checked=False,
            framework=framework,
            tiling=tiling_of(pattern, shape),
        )
        problem._check_forced()
        if not pattern.pair:
            return problem
        with (
            DefaultArithmetic()
        ):  # denormal numbers add up whatever mode another library has left this thread in
            return problem._of_pairs() if framework is None else problem._of_sums()

    @property
    def xp(self) -> Any:
        """The array-API namespace of the arrays."""
        return np if self.framework is None else self.framework.namespace(self.scores)

    @property
    def asked(self) -> MaskProblem:
        """The problem as the caller put it, about entries."""
        return self if self.entries is None else self.entries

    @property
    def away(self) -> bool:
        """Whether the arrays are on an accelerator, and to be solved there."""
        return self.framework is not None and not self.framework.on_host(self.scores)

    @property
    def forced(self) -> bool:
        """Whether there are forced choices."""
        return self.keep is not None or self.drop is not None

    @property
    def size(self) -> int:
        """Number of scores."""
        return math.prod(self.scores.shape)

    @property
    def double(self) -> bool:
        """Whether to compute, and hand out prices, in float64; ``Job::in_double`` says the same.

        It is so where float32 does not hold every score exactly, or not sums of them safely. Whether it holds
        the sums of pairs of a narrow type is found out by adding them up; if not, they are read once more.
        """
        if self.apart:
            return self.checked or dtype_name(self.scores) not in _NARROW
        return dtype_name(self.scores) in _DOUBLE or not self.largest <= _most(LARGEST_SINGLE, self.score)

    def negative_share(self) -> float | None:
        """Share of negative entries in a sample, where weights may have been passed in place of scores.

        Raw weights are negative about half the time. Looking at a few hundred entries tells, and costs
        nothing beside a solve. None if signs say nothing: where ``score`` ignores them, in types without
        them, in small arrays, and in arrays that are not on the host.
        """
        if self.score != "value" or self.framework is not None or self.size < _FEWEST:
            return None
        if dtype_name(self.scores).startswith(("bool", "uint")):
            return None
        return arrays.negative_share(self.scores, math.ceil(_SAMPLE ** (1 / self.scores.ndim)))

    def read(self) -> MaskProblem:
        """Read the scores; the same problem with them found finite and small enough to be summed.

        Raises
        ------
        ValueError
            If a score is NaN or infinite, or sums would leave float64.
        """
        if self.checked:
            return self
        if self.apart and self.entries is not None:
            entries = self.entries.read()
            return replace(self, entries=entries, largest=entries.largest, checked=True)
        largest = self._largest()
        if not largest <= _most(LARGEST_SUM / max(self.size, 1), self.score):
            self._refuse(largest)
        return replace(self, largest=largest, checked=True)

    def spread(self, mask: Any) -> Any:
        """Mask of the entries that were asked for."""
        if self.entries is None:
            return mask
        return pairs.spread(self.xp, mask, self.entries.pattern, tuple(self.entries.scores.shape))

    @property
    def largest_score(self) -> float:
        """What no score exceeds, if no entry exceeds ``largest``."""
        if not self.apart:
            return self.largest
        return _ROOM * (self.largest**2 if self.score == "square" else self.largest)

    def summed(self) -> MaskProblem:
        """Turn pairs that are still to be added up into an array of their sums."""
        return self.entries._of_sums() if self.apart and self.entries is not None else self

    def _of_pairs(self) -> MaskProblem:
        """Problem of the pairs, which are added up when they are solved."""
        pattern = self.pattern.of_pairs
        keep, drop = self._forced_pairs()
        return replace(
            self,
            scores=pairs.firsts(self.scores, self.pattern),
            pattern=pattern,
            keep=keep,
            drop=drop,
            largest=min(self.largest, _most(LARGEST_SINGLE / _ROOM, self.score)),
            tiling=tiling_of(pattern, pairs.shape_of(self.pattern, self.scores.shape)),
            entries=self,
            apart=pairs.apart(self.scores, self.pattern),
        )

    def _of_sums(self) -> MaskProblem:
        """Problem of the pairs' sums as an array, in float32 if it holds what narrow types sum up to."""
        entries, xp = self.read(), self.xp
        pattern, shape = self.pattern.of_pairs, pairs.shape_of(self.pattern, tuple(self.scores.shape))
        with nullcontext() if self.framework is None else self.framework.double_precision():
            sums = pairs.sums(xp, entries.worth(entries.scores), self.pattern)
            if dtype_name(self.scores) in _NARROW and bool(xp.all(xp.astype(sums, xp.float32) == sums)):
                sums = xp.astype(sums, xp.float32)
        keep, drop = self._forced_pairs()
        largest = entries.largest**2 if self.score == "square" else entries.largest
        return MaskProblem(
            scores=sums,
            pattern=pattern,
            keep=keep,
            drop=drop,
            score="value",
            largest=2 * len(self.pattern.axes) * largest,
            checked=True,
            framework=self.framework,
            tiling=tiling_of(pattern, shape),
            entries=entries,
        )

    def _forced_pairs(self) -> tuple[Any | None, Any | None]:
        """Pairs that must be kept and dropped."""
        keep, drop = (x if x is None else pairs.touched(x, self.pattern) for x in (self.keep, self.drop))
        if keep is not None and drop is not None and bool(self.xp.any(keep & drop)):
            raise ValueError("keep and drop must not both be True in a pair, which is kept or dropped whole")
        return keep, drop

    def tail_sums(self) -> list[tuple[float, float]]:
        """Sum of what each tail is worth that ``remainder="dense"`` keeps whole, and a bound of it."""
        if self.pattern.remainder != "dense":
            return []
        with nullcontext() if self.framework is None else self.framework.double_precision():
            tails = self.tiling.tails(self.tiling.grouped(self.xp, self.scores))
            return [total(self.xp, self.xp.reshape(self.worth(tail), (-1,))) for tail in tails]

    def worth(self, values: Any) -> Any:
        """Give what some of the scores are worth, in float64."""
        wide = self.xp.astype(values, self.xp.float64)
        if self.score == "magnitude":
            return self.xp.abs(wide)
        return wide * wide if self.score == "square" else wide

    def _largest(self) -> float:
        if "float" not in dtype_name(self.scores):
            return self.largest
        if self.framework is None:
            return arrays.largest_magnitude(self.scores)
        if not self.size:
            return 0.0
        with self.framework.double_precision():
            return max(float(self.xp.max(self.scores)), -float(self.xp.min(self.scores)))

    def _refuse(self, largest: float) -> None:
        """Say which score cannot be taken; on the host, so that one of them can be pointed at."""
        array = self.scores if self.framework is None else self.framework.to_numpy("scores", self.scores)
        with np.errstate(invalid="ignore"):  # bfloat16's signalling NaNs
            wrong = np.argwhere(~np.isfinite(array))
        if len(wrong):
            raise ValueError(f"scores must be finite, got {array[tuple(wrong[0])]} at {_index(wrong[0])}")
        raise ValueError(
            f"scores must be small enough to be summed in float64, got magnitude {largest:.3g} in "
            f"{array.size} entries{' to be squared' if self.score == 'square' else ''}; scale them down"
        )

    def _check_forced(self) -> None:
        """Refuse contradictions; they are looked for where the arrays are and described on the host."""
        if self.drop is None:
            return
        if self.keep is not None and bool(self.xp.any(self.keep & self.drop)):
            both = np.argwhere(self._on_host("keep") & self._on_host("drop"))
            raise ValueError(
                f"keep and drop must not both be True for an entry; they are at {_index(both[0])}"
            )
        tails = self.tiling.tails(self.tiling.grouped(self.xp, self.drop))
        if any(bool(self.xp.any(tail)) for tail in tails):
            whole = {axis: self.scores.shape[axis] // m * m for axis, (_, m) in self.pattern.budgets.items()}
            raise ValueError(
                f"drop must be False in the tail that remainder='dense' keeps whole, from entry "
                f"{' and '.join(f'{first} along axis {axis}' for axis, first in whole.items())} on"
            )

    def _on_host(self, name: str) -> BoolArray:
        array = getattr(self, name)
        return array if self.framework is None else np.asarray(self.framework.to_numpy(name, array))


def _most(score: float, of: Score) -> float:
    """Return the largest magnitude of an entry whose score is at most ``score``."""
    if of != "square":
        return score
    root = math.sqrt(score)
    return root if root * root <= score else math.nextafter(root, 0.0)


def _ordinary(dtype: str, score: Score, size: int) -> float:
    """Return what ordinary values stay below; sums of a tile's are then far from overflow."""
    if "float" not in dtype:
        return 1.0 if dtype == "bool" else 2.0 ** int(dtype.lstrip("uint"))
    return _most(LARGEST_SUM / max(size, 1) if dtype == "float64" else LARGEST_SINGLE, score)


def _forced(name: str, value: Any, scores: Any, framework: Framework | None) -> Any | None:
    """Put a forced choice beside the scores, broadcast to their shape."""
    if value is None:
        return None
    shape = tuple(scores.shape)
    if framework is not None and framework_of(value) is framework:
        return _forced_there(name, value, scores, framework)
    array = boolean_array(name, value)
    try:
        broadcast = np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(
            f"{name} must be broadcastable to the shape of scores {shape}, got shape {array.shape}"
        ) from None
    return broadcast if framework is None else framework.from_numpy(broadcast, scores)


def _forced_there(name: str, value: Any, scores: Any, framework: Framework) -> Any:
    """Broadcast a forced choice that lies in the scores' framework, if it lies on their device."""
    array = framework.native(name, value)
    if dtype_name(array) != "bool":
        raise TypeError(f"{name} must be boolean (True and False), got dtype {array.dtype}")
    device, theirs = device_of(scores), device_of(array)
    if theirs != device:
        raise ValueError(f"{name} must be on the device of scores, {device}, got {theirs}")
    shape = tuple(scores.shape)
    try:
        return framework.namespace(scores).broadcast_to(array, shape)
    except (RuntimeError, ValueError):
        raise ValueError(
            f"{name} must be broadcastable to the shape of scores {shape}, got shape {tuple(array.shape)}"
        ) from None


def _index(where: npt.NDArray[np.intp]) -> str:
    return f"index [{', '.join(map(str, where))}]"
