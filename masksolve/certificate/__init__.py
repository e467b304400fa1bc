"""Proofs: bounds from dual prices, prices for any mask, and the check of a mask against its pattern.

No step here asks a solver, and none is shared with one.
"""

from .bound import Proofs, feasible, prove
from .prices import price
from .recomputation import Certificate, recompute
from .settling import settle, tolerance_of
from .verification import Verification, Violation, verify

__all__ = [
    "Certificate",
    "Proofs",
    "Verification",
    "Violation",
    "feasible",
    "price",
    "prove",
    "recompute",
    "settle",
    "tolerance_of",
    "verify",
]
