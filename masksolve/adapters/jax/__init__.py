"""masksolve for JAX: masks of weights, of trees of parameters, and sparse training beside optax."""

from importlib.util import find_spec

from masksolve.errors import BackendUnavailableError

if find_spec("jax") is None:
    raise BackendUnavailableError.needing("masksolve.adapters.jax", "jax", "jax")

from ..plane import Plane
from .kinds import Choice, choose
from .masks import apply, mask, mask_tree
from .permuting import PermutedTree, permute
from .training import Sparsifier, SparsifyState, sparsify

__all__ = [
    "Choice",
    "PermutedTree",
    "Plane",
    "Sparsifier",
    "SparsifyState",
    "apply",
    "choose",
    "mask",
    "mask_tree",
    "permute",
    "sparsify",
]
