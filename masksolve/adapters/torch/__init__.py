"""masksolve for torch: masks of weights, sparse training, and pruning without training."""

from importlib.util import find_spec

from masksolve.errors import BackendUnavailableError

if find_spec("torch") is None:
    raise BackendUnavailableError.needing("masksolve.adapters.torch", "torch", "torch")

from ..plane import Plane
from .layers import Choice, choose_weights
from .layout import as_matrices, from_matrices
from .masking import mask
from .permuting.permute import permute
from .permuting.report import PermuteReport
from .pruning.absorb import absorb_mean
from .pruning.adaprune import adaprune
from .pruning.batchnorm import retune_batchnorm
from .pruning.convert import convert
from .pruning.prune_report import AdaPruneReport, PrunedLayer
from .semi_structured import SemiStructured, to_semi_structured
from .training.parametrization import finalize
from .training.report import MaskRecord, SparsityReport
from .training.saving import effective_state
from .training.schedule import CubicRamp
from .training.sparsifier import Sparsifier
from .training.sparsify import prune_trained_model, sparsify

__all__ = [
    "AdaPruneReport",
    "Choice",
    "CubicRamp",
    "MaskRecord",
    "PermuteReport",
    "Plane",
    "PrunedLayer",
    "SemiStructured",
    "Sparsifier",
    "SparsityReport",
    "absorb_mean",
    "adaprune",
    "as_matrices",
    "choose_weights",
    "convert",
    "effective_state",
    "finalize",
    "from_matrices",
    "mask",
    "permute",
    "prune_trained_model",
    "retune_batchnorm",
    "sparsify",
    "to_semi_structured",
]
