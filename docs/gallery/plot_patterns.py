"""
What patterns keep
==================

All of these drop half of the weights. A larger group leaves more masks to choose from; transposable ones
leave fewer.
"""

import matplotlib.pyplot as plt
import numpy as np

import masksolve as ms

weights = np.random.default_rng(8).standard_normal((512, 512)).astype(np.float32)
sizes = [2, 4, 8, 16, 32, 64]
kept = {
    ending: [ms.solve(weights, f"{m // 2}:{m}{ending}", score="magnitude").retained(weights) for m in sizes]
    for ending in ("", "-T")
}
everything = np.sort(np.abs(weights), axis=None)
limit = everything[everything.size // 2 :].sum() / everything.sum()

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
ax.plot(sizes, kept[""], "o-", color="#1f5fa8", label="one direction")
ax.plot(sizes, kept["-T"], "s-", color="#d9822b", label="transposable")
ax.axhline(limit, color="#7a8794", linestyle="--", label="no pattern at all")
ax.set_xscale("log", base=2)
ax.set_xticks(sizes, [f"{m // 2}:{m}" for m in sizes])
ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
ax.set(xlabel="pattern", ylabel="retained magnitude")
ax.legend()
