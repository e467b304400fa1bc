"""Optimal N:M and transposable N:M sparsity masks, with a certificate.

The way of the data, one file an arrow::

    array in -> pattern -> problem -> tiling -> layout -> backend -> certificate -> result -> array out
                pattern.py problem.py tiling.py layout/   backends/  certificate/   result.py
                           (the only validation of arrays)
    solve.py reads as this line from top to bottom; certifying.py checks and proves what a backend answers.

Around the line: frameworks/ (arrays of other libraries), budgets/ (which part keeps how many), pruning/ (what
scores and repaired weights come from), checkpoints/ (files), packing/, diversity/ and hardware.py (analysis),
adapters/ (torch and JAX), cli/.
"""

from importlib.util import find_spec

if find_spec("masksolve._ext.tiles") is None:  # Python was started in a clone, whose sources come first
    raise ImportError(
        "masksolve is imported from a source folder whose compiled modules were not built: run "
        "`pip install -e .` in it, or start Python in another folder"
    )

from . import checkpoints, diversity, hardware, plot
from ._version import __version__
from .backends import backends
from .budgets import Allocation, DenseTiles, Levels, allocate, dense_tiles
from .certificate import Certificate, Verification, Violation, verify
from .certificate import recompute as recompute_certificate
from .errors import (
    BackendFailedError,
    BackendRefusedError,
    BackendUnavailableError,
    CheckpointError,
    InfeasibleError,
    MaskSolveError,
    PatternViolationError,
    SignedScoresWarning,
    TimeLimitError,
)
from .formulation import Formulation, formulation
from .installation import show_config
from .packing import Packed, PackedTiles, pack, unpack
from .pattern import Pattern
from .pruning import permutation, reconstruction, saliency, unbiased
from .result import MaskResult, SolveInterrupted
from .solve import solve
from .types import Prices, Status, TileSums

__all__ = [
    "Allocation",
    "BackendFailedError",
    "BackendRefusedError",
    "BackendUnavailableError",
    "Certificate",
    "CheckpointError",
    "DenseTiles",
    "Formulation",
    "InfeasibleError",
    "Levels",
    "MaskResult",
    "MaskSolveError",
    "Packed",
    "PackedTiles",
    "Pattern",
    "PatternViolationError",
    "Prices",
    "SignedScoresWarning",
    "SolveInterrupted",
    "Status",
    "TileSums",
    "TimeLimitError",
    "Verification",
    "Violation",
    "__version__",
    "allocate",
    "backends",
    "checkpoints",
    "dense_tiles",
    "diversity",
    "formulation",
    "hardware",
    "pack",
    "permutation",
    "plot",
    "recompute_certificate",
    "reconstruction",
    "saliency",
    "show_config",
    "solve",
    "unbiased",
    "unpack",
    "verify",
]


def __dir__() -> list[str]:
    """Names for completion: the public ones."""
    return __all__
