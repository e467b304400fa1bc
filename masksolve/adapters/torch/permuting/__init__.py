"""Reordering a model's channels without changing its outputs.

``atoms.py`` keeps the book of channels, ``values.py`` follows them through single operations, ``graph.py``
through an exported model, ``dimensions.py`` reads off what may move, and ``permute.py`` searches and applies.
"""
