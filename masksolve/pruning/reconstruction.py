"""Masks and weights for a layer's outputs, from the Gram matrix of its inputs.

All of it minimises the output error ``||(W' - W) X||^2 = sum((W' - W) H * (W' - W))`` with
``H = X X^T``: calibration data enter as `masksolve.saliency.Statistics.gram` and in no other way, so
that their number costs neither memory nor time here. Arrays of any library that masksolve reads are
computed in that library, on the device of the weights.

`admm` finds mask and weights together and has the least error; `sparsegpt` does so in one pass, at a
fraction of the time; `least_squares` fits weights to a mask that is given. `prune_layer` prunes a layer by
a `Recipe`, which names one of these, and never leaves a row worse than its mask alone would.
"""

from __future__ import annotations

from .admm import Iteration, admm
from .layer import Pruned, prune_layer
from .least_squares import least_squares, output_error
from .recipe import Recipe
from .sparsegpt import sparsegpt

__all__ = [
    "Iteration",
    "Pruned",
    "Recipe",
    "admm",
    "least_squares",
    "output_error",
    "prune_layer",
    "sparsegpt",
]
