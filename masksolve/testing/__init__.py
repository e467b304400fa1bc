"""The conformance kit: what every backend must hold, checked from its own tests.

::

    from masksolve.testing import check_backend

    def test_conformance():
        check_backend("my_backend")

It needs NumPy and masksolve, raises AssertionError, and works under any test runner.
"""

from .conformance import Conformance, check_backend
from .families import FAMILIES, bfloat16_rounded
from .subject import Arrays

__all__ = ["FAMILIES", "Arrays", "Conformance", "bfloat16_rounded", "check_backend"]
