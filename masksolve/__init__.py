"""Optimal N:M and transposable N:M sparsity masks, with a certificate.

The way of the data, one file an arrow::

    array in -> pattern -> problem -> tiles -> backend -> certificate -> result -> array out
                pattern.py problem.py tiles.py backends/  certificate.py result.py
                           (the only validation)
    solve.py reads as this line from top to bottom.
"""

from . import checkpoints, diversity, hardware
from ._version import __version__
from .backends import backends
from .certificate import Certificate, Verification, Violation, verify
from .certificate import recompute as recompute_certificate
from .installation import show_config
from .errors import (
    BackendFailedError,
    BackendRefusedError,
    BackendUnavailableError,
    CheckpointError,
    InfeasibleError,
    MaskSolveError,
    PatternViolationError,
    TimeLimitError,
)
from .packing import Packed, pack, unpack
from .pattern import Pattern
from .pruning import reconstruction, saliency
from .result import MaskResult, SolveInterrupted, Status
from .solve import solve
from .tiles import Prices

__all__ = [
    "BackendFailedError",
    "BackendRefusedError",
    "BackendUnavailableError",
    "Certificate",
    "CheckpointError",
    "InfeasibleError",
    "MaskResult",
    "MaskSolveError",
    "Packed",
    "Pattern",
    "PatternViolationError",
    "Prices",
    "SolveInterrupted",
    "Status",
    "TimeLimitError",
    "Verification",
    "Violation",
    "__version__",
    "backends",
    "checkpoints",
    "diversity",
    "hardware",
    "pack",
    "recompute_certificate",
    "reconstruction",
    "saliency",
    "show_config",
    "solve",
    "unpack",
    "verify",
]
