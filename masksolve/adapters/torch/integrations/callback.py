"""What the callbacks of trainers share."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from masksolve.checks import keywords_of, known_options

from ...patterns import LayerPatterns, Patterns
from ..training.sparsifier import Sparsifier
from ..training.sparsify import sparsify


class Callback:
    """Settings of a sparse training that begins when a trainer calls, and its Sparsifier from then on.

    Each trainer's callback documents them.
    """

    too_early: ClassVar[str]
    """What to say of a call for which there is no Sparsifier yet."""

    def __init__(self, pattern: Patterns = "2:4", *, allow_unfinished: bool = False, **options: Any) -> None:
        # What is wrong is refused before training begins.
        own = keywords_of(type(self).__init__)
        known_options(type(self).__name__, options, keywords_of(sparsify), beside=own)
        patterns = LayerPatterns.of(pattern)
        self.pattern: Patterns = patterns.first if patterns.alone else pattern
        self.options = options
        self.allow_unfinished = allow_unfinished
        self.sparsifier: Sparsifier | None = None

    def _begin(self, model: nn.Module) -> Sparsifier:
        self.sparsifier = sparsify(model, self.pattern, **self.options)
        return self.sparsifier

    @property
    def _open(self) -> Sparsifier:
        if self.sparsifier is None:
            raise RuntimeError(self.too_early)
        return self.sparsifier

    def _end(self) -> None:
        self._open.finalize(allow_unfinished=self.allow_unfinished)
