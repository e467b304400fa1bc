"""Channel permutations: what they gain, and how long the search takes.

``python -m benchmarks.permutation`` prints the first table of docs/permutations.md, ``--large 2048 4096`` the
one of large matrices, which takes some minutes, and ``--picture PATH`` draws the page's pictures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import masksolve as ms

from .instances import Array, real_matrices

LAYERS = 6


def uniform(seed: int) -> Array:
    """The yardstick of Pool and Yu 2021: 64 by 128 uniform scores."""
    return np.random.default_rng(seed).random((64, 128)).astype(np.float32)


def encoder_layer(layer: int) -> tuple[Array, Array]:
    """Magnitudes of the matrices around a hidden dimension of MiniLM, (1536, 384) and (384, 1536)."""
    found = real_matrices(rf"encoder\.layer\.{layer}\.(intermediate|output)\.dense\.weight")
    up, down = map(np.abs, found)
    return up, down


def efficacy(found: ms.permutation.Permutation) -> float:
    """Share of the way from the identity to the ceiling."""
    return (found.objective - found.before) / (found.ceiling - found.before)


class Uniform:
    """Efficacy and time on the yardstick."""

    params = ([0, 10, 60],)
    param_names = ("restarts",)

    def time_search(self, restarts: int) -> None:
        ms.permutation.search(uniform(0), "2:4", restarts=restarts)

    def track_efficacy(self, restarts: int) -> float:
        """Mean over ten seeds."""
        found = [ms.permutation.search(uniform(seed), "2:4", restarts=restarts) for seed in range(10)]
        return float(np.mean([efficacy(each) for each in found]))


class Encoder:
    """Hidden dimension of the first layer of a sentence encoder."""

    params = (["2:4", "2:4-T", "4:8-T"],)
    param_names = ("pattern",)

    def setup(self, pattern: str) -> None:
        up, down = encoder_layer(0)
        self.members, self.total = [(up, -2), (down, -1)], float(up.sum() + down.sum())

    def time_search(self, pattern: str) -> None:
        ms.permutation.search(self.members, pattern)

    def track_gain(self, pattern: str) -> float:
        """Retained share gained."""
        found = ms.permutation.search(self.members, pattern)
        return (found.objective - found.before) / self.total


class Square:
    """Both axes of a Gaussian matrix."""

    params = (["2:4-T", "4:8-T"], [128, 384])
    param_names = ("pattern", "size")

    def setup(self, pattern: str, size: int) -> None:
        self.scores = np.abs(np.random.default_rng(0).standard_normal((size, size), dtype=np.float32))

    def time_search(self, pattern: str, size: int) -> None:
        ms.permutation.search(self.scores, pattern, axes=(-2, -1))

    def peakmem_search(self, pattern: str, size: int) -> None:
        ms.permutation.search(self.scores, pattern, axes=(-2, -1))


def _row(name: str, total: float, search: Any, **options: Any) -> str:
    wall, processor = time.perf_counter(), time.process_time()
    found = search(**options)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    kept = " ".join(f"{each / total:.4f}" for each in (found.before, found.objective, found.ceiling))
    times = f"{processor:7.2f} {wall:7.2f}"
    return f"{name:34} {kept}  {100 * efficacy(found):5.1f} %  {len(found.rounds) - 1:4} {times}"


HEADER = f"{'':34} before after  ceiling effic. rounds  cpu s  wall s"


def _rows(workers: int) -> Iterator[str]:
    yield HEADER
    for restarts in (0, 60):
        found, start = [], time.process_time()
        for seed in range(10):
            found.append(ms.permutation.search(uniform(seed), "2:4", restarts=restarts))
        seconds = (time.process_time() - start) / 10
        share = 100 * np.mean([efficacy(each) for each in found])
        yield f"uniform 64x128, 2:4, {restarts:2} restarts: efficacy {share:.1f} %, {seconds:.2f} s each"
    for pattern in ("2:4", "2:4-T", "4:8-T"):
        for layer in range(LAYERS if pattern == "2:4-T" else 1):
            up, down = encoder_layer(layer)
            total = float(up.sum(dtype=np.float64) + down.sum(dtype=np.float64))
            yield _row(
                f"MiniLM hidden {layer}, {pattern}", total, ms.permutation.search,
                scores=[(up, -2), (down, -1)], pattern=pattern, workers=workers,
            )  # fmt: skip
    for pattern in ("2:4", "2:4-T", "4:8-T", "8:16-T"):
        yield _gaussian(384, pattern, workers)


def _gaussian(size: int, pattern: str, workers: int, time_limit: float | None = None) -> str:
    scores = np.abs(np.random.default_rng(0).standard_normal((size, size), dtype=np.float32))
    return _row(
        f"Gaussian {size}x{size}, {pattern}, both axes", float(scores.sum(dtype=np.float64)),
        ms.permutation.search, scores=scores, pattern=pattern, axes=(-2, -1), workers=workers,
        time_limit=time_limit,
    )  # fmt: skip


def _large(sizes: list[int], patterns: list[str], workers: int, time_limit: float) -> Iterator[str]:
    yield HEADER
    for size in sizes:
        for pattern in patterns:
            yield _gaussian(size, pattern, workers, time_limit)


def draw(path: Path) -> None:
    """Draw a matrix before and after, and retained score by round, into ``path``/permutation-*.png."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rng = np.random.default_rng(0)
    small = np.abs(rng.standard_normal((16, 32))) * np.exp(
        rng.standard_normal((16, 1)) + rng.standard_normal(32)
    )
    found = ms.permutation.search(small, "2:4-T", axes=(-2, -1), restarts=20)
    figure, axes = plt.subplots(2, 2, figsize=(9, 5), layout="constrained")
    for column, (title, scores) in enumerate((("before", small), ("after", found.take(small)))):
        mask = ms.solve(scores, "2:4-T").mask
        axes[0, column].imshow(np.log(scores), cmap="viridis")
        axes[1, column].imshow(np.where(mask, np.log(scores), np.nan), cmap="viridis")
        axes[0, column].set_title(f"scores {title}")
        axes[1, column].set_title(f"kept {title}: {scores[mask].sum() / small.sum():.1%}")
    for ax in axes.flat:
        ax.set(xticks=np.arange(-0.5, 32, 4), yticks=np.arange(-0.5, 16, 4), xticklabels=[], yticklabels=[])
        ax.grid(color="white", linewidth=0.6)
    figure.savefig(path / "permutation-matrix.png", dpi=110)
    figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    up, down = encoder_layer(0)
    total = float(up.sum(dtype=np.float64) + down.sum(dtype=np.float64))
    for pattern, color in (("2:4", "C0"), ("2:4-T", "C1")):
        found = ms.permutation.search([(up, -2), (down, -1)], pattern)
        ax.plot(np.array(found.rounds) / total, color=color, label=f"{pattern}, by round")
        ax.axhline(found.ceiling / total, color=color, linestyle="--", label=f"{pattern}, ceiling")
    ax.set(
        xlabel="round", ylabel="retained share of magnitudes", title="hidden dimension of MiniLM's layer 0"
    )
    ax.legend()
    figure.savefig(path / "permutation-rounds.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--large", type=int, nargs="+", metavar="SIZE", help="only Gaussian matrices so large"
    )
    parser.add_argument("--patterns", nargs="+", default=["2:4-T", "4:8-T"], help="of the large matrices")
    parser.add_argument("--time-limit", type=float, default=560, help="seconds for each large matrix")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--picture", type=Path, help="folder to draw the documentation's pictures into")
    arguments = parser.parse_args()
    if arguments.large:
        rows = _large(arguments.large, arguments.patterns, arguments.workers, arguments.time_limit)
    else:
        rows = _rows(arguments.workers)
    for row in rows:
        print(row, flush=True)
    if arguments.picture:
        draw(arguments.picture)


if __name__ == "__main__":
    main()
