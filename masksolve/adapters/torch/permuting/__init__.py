"""Reordering a model's channels without changing its outputs.

``atoms.py`` keeps the book of channels, ``values.py`` and ``operations.py`` follow them through
single operations, ``following.py`` through an exported model, with ``graph.py`` as its memory,
``dimensions.py`` reads off what may move, ``permute.py`` searches, and ``apply.py`` writes the orders found.
"""
