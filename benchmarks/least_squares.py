"""Ways to fit the kept weights of a layer: ``python -m benchmarks.least_squares``.

All rows of a 2:4 mask, by factorising every row's normal equations as AdaPrune's authors state the problem,
one after another; by masksolve's ``method="cholesky"``; and by conjugate gradients for all rows at once.
``--threads 1 2`` shows what the threads of BLAS make of each.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

import masksolve as ms

FloatArray = npt.NDArray[Any]
Fit = Callable[[FloatArray, FloatArray, FloatArray], FloatArray]


def layer(outputs: int, inputs: int, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Weights, and the Gram matrix of inputs that depend on each other, in float32."""
    rng = np.random.default_rng(seed)
    rank = inputs // 4
    shared = rng.standard_normal((2 * inputs, rank)) @ rng.standard_normal((rank, inputs)) / rank**0.5
    x = shared + 0.5 * rng.standard_normal((2 * inputs, inputs))
    gram = (x.T @ x).astype(np.float32)
    return rng.standard_normal((outputs, inputs)).astype(np.float32), gram


def row_by_row(w: FloatArray, mask: FloatArray, gram: FloatArray) -> FloatArray:
    """The former way: a Cholesky factorisation in float64 for each row, no two rows at once."""
    wide = gram.astype(np.float64)
    wide += 0.01 * np.trace(wide) / len(wide) * np.eye(len(wide))
    found = np.zeros(w.shape)
    for row, kept in enumerate(mask):
        factor = np.linalg.cholesky(wide[np.ix_(kept, kept)])
        right = wide[kept] @ w[row]
        found[row, kept] = np.linalg.solve(factor.T, np.linalg.solve(factor, right))
    return found


WAYS: dict[str, Fit] = {
    "row by row, float64": row_by_row,
    "cholesky": lambda w, mask, gram: ms.reconstruction.least_squares(w, mask, gram, method="cholesky"),
    "pcg": lambda w, mask, gram: ms.reconstruction.least_squares(w, mask, gram, method="pcg"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--outputs", type=int, default=256)
    parser.add_argument("--inputs", type=int, default=2048)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    arguments = parser.parse_args()
    w, gram = layer(arguments.outputs, arguments.inputs)
    mask = ms.solve(w, "2:4", score="magnitude").mask
    print(f"{arguments.outputs} outputs, {arguments.inputs} inputs, 2:4")
    print(f"{'way':22} threads  seconds  processor  error above the least")
    least = np.inf
    for name in arguments.ways:
        for threads in arguments.threads:
            with threadpool_limits(threads):
                begun, processor = time.perf_counter(), time.process_time()
                found = WAYS[name](w, mask, gram)
                seconds, processor = time.perf_counter() - begun, time.process_time() - processor
            error = damped_error(w, found, gram)
            least = min(least, error)
            print(f"{name:22} {threads:7d} {seconds:8.2f} {processor:10.2f}  {error / least - 1:.3%}")


def damped_error(w: FloatArray, found: FloatArray, gram: FloatArray) -> float:
    """What is minimised, in float64."""
    change, wide = found.astype(np.float64) - w, gram.astype(np.float64)
    damping = 0.01 * np.trace(wide) / len(wide)
    return float(np.sum(change @ wide * change) + damping * np.sum(change**2))


if __name__ == "__main__":
    main()
