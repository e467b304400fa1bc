"""The asv suite: time, peak memory and quality of whole ``masksolve.solve`` calls."""

from __future__ import annotations

from typing import Any

import masksolve as ms

from . import instances, least_squares
from .instances import FAMILIES, PATTERNS

DTYPES = ("float64", "float32", "float16", "bfloat16", "int8")
HEURISTICS = ("greedy", "cover")


class Families:
    """How the instance family and the pattern matter."""

    params = (list(FAMILIES), list(PATTERNS))
    param_names = ("family", "pattern")

    def setup(self, family: str, pattern: str) -> None:
        self.scores = instances.scores(family, (1024, 1536))

    def time_exact(self, family: str, pattern: str) -> None:
        ms.solve(self.scores, pattern, backend="exact")

    def track_retained(self, family: str, pattern: str) -> float:
        """Share of the sum of scores that the mask keeps."""
        result = ms.solve(self.scores, pattern, backend="exact")
        return result.objective / float(self.scores.sum(dtype="float64"))

    def track_gap(self, family: str, pattern: str) -> float:
        return ms.solve(self.scores, pattern, backend="exact").gap

    track_retained.unit = "share"
    track_gap.unit = "relative gap"


class Sizes:
    """How time and peak memory grow with the matrix."""

    params = (list(PATTERNS), [256, 1024, 4096])
    param_names = ("pattern", "size")

    def setup(self, pattern: str, size: int) -> None:
        self.scores = instances.scores("gaussian", (size, size))

    def time_exact(self, pattern: str, size: int) -> None:
        ms.solve(self.scores, pattern, backend="exact")

    def peakmem_exact(self, pattern: str, size: int) -> None:
        ms.solve(self.scores, pattern, backend="exact")


class Dtypes:
    """How the dtype and the order in memory matter."""

    params = (list(PATTERNS), list(DTYPES), ["C", "F"])
    param_names = ("pattern", "dtype", "order")

    def setup(self, pattern: str, dtype: str, order: str) -> None:
        square = instances.scores("gaussian", (1024, 1024), dtype)
        self.scores = square if order == "C" else square.T

    def time_exact(self, pattern: str, dtype: str, order: str) -> None:
        ms.solve(self.scores, pattern, backend="exact")

    def peakmem_exact(self, pattern: str, dtype: str, order: str) -> None:
        ms.solve(self.scores, pattern, backend="exact")


class Workers:
    """How time falls with threads."""

    params = (list(PATTERNS), [1, 2, 4])
    param_names = ("pattern", "workers")

    def setup(self, pattern: str, workers: int) -> None:
        self.scores = instances.scores("gaussian", (4096, 4096))

    def time_exact(self, pattern: str, workers: int) -> None:
        ms.solve(self.scores, pattern, backend="exact", workers=workers)


class Constraints:
    """What "at most" costs beside "exactly"."""

    params = (list(PATTERNS), ["exact", "at_most"])
    param_names = ("pattern", "constraint")

    def setup(self, pattern: str, constraint: str) -> None:
        self.scores = instances.scores("gaussian", (1024, 1024))
        self.pattern = pattern if constraint == "exact" else f"{pattern} at_most"

    def time_exact(self, pattern: str, constraint: str) -> None:
        ms.solve(self.scores, self.pattern, backend="exact")


class Heuristics:
    """The textbook heuristics: time, and what they lose."""

    params = (list(HEURISTICS), ["gaussian", "integer", "real"], list(PATTERNS))
    param_names = ("backend", "family", "pattern")

    def setup(self, backend: str, family: str, pattern: str) -> None:
        self.scores = instances.scores(family, (768, 768))

    def time_solve(self, backend: str, family: str, pattern: str) -> None:
        ms.solve(self.scores, pattern, backend=backend)

    def track_gap(self, backend: str, family: str, pattern: str) -> float:
        """Relative distance to the certified optimum."""
        optimum = ms.solve(self.scores, pattern, backend="exact")
        return gap(ms.solve(self.scores, pattern, backend=backend), optimum)


def gap(result: Any, optimum: Any) -> float:
    """How far a result's objective lies below the bound of a certified optimum."""
    return float((optimum.bound - result.objective) / optimum.bound)


class Columns:
    """V:N:M: columns for all rows of a tile, by width and number of rows."""

    params = (["64:2:8", "128:2:8", "64:2:16", "128:2:16", "64:2:32"],)
    param_names = ("pattern",)

    def setup(self, pattern: str) -> None:
        self.scores = instances.scores("gaussian", (1024, 2048))

    def time_solve(self, pattern: str) -> None:
        ms.solve(self.scores, pattern)

    def track_retained(self, pattern: str) -> float:
        """Share of the sum of scores that the mask keeps."""
        return ms.solve(self.scores, pattern).retained(self.scores)

    track_retained.unit = "share"


class Budgets:
    """Kept entries shared out over six layers, and over dense and sparse tiles, beside plain solves."""

    params = (["solve", "allocate", "dense tiles"], ["2:4", "4:8-T", "8:16-T"])
    param_names = ("what", "pattern")

    def setup(self, what: str, pattern: str) -> None:
        self.layers = [instances.scores("gaussian", (1024, 1024)) for _ in range(6)]

    def time_choose(self, what: str, pattern: str) -> None:
        if what == "allocate":
            ms.allocate(self.layers, pattern)
        elif what == "dense tiles":
            ms.dense_tiles(self.layers, pattern, share=0.25)
        else:
            for layer in self.layers:
                ms.solve(layer, pattern)


class LeastSquares:
    """Ways to fit the kept weights of a layer, and how far above the least their error is."""

    params = (["cholesky", "pcg"], [512, 2048])
    param_names = ("method", "inputs")
    timeout = 300

    def setup(self, method: str, inputs: int) -> None:
        self.w, self.gram = least_squares.layer(64, inputs)
        self.mask = ms.solve(self.w, "2:4", score="magnitude").mask

    def time_fit(self, method: str, inputs: int) -> None:
        ms.reconstruction.least_squares(self.w, self.mask, self.gram, method=method)

    def track_excess(self, method: str, inputs: int) -> float:
        """Share by which the error is above that of factorised rows in float64."""
        errors = [
            least_squares.damped_error(self.w, fit(self.w, self.mask, self.gram), self.gram)
            for fit in (least_squares.WAYS[method], least_squares.row_by_row)
        ]
        return errors[0] / errors[1] - 1

    track_excess.unit = "share"
