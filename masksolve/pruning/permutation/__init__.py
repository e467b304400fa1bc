"""Orders of channels in which an N:M mask keeps more: search, and a ceiling that no order can pass.

`search` is the only public function. ``members.py`` says which entries of which matrices move together,
``exchange.py`` values every exchange of channels exactly, ``rounds.py`` chooses among them by assignment
problems, and ``ceiling.py`` proves the bound.
"""

from .search import Permutation, search

__all__ = ["Permutation", "search"]
