"""Mathematics as MathML, which every browser sets by itself: no script, no fonts and no network are needed.

Docutils brings the converter; Sphinx does not use it by default. The other formats keep their own renderers.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util.math import get_node_equation_number

_MEANT = {r"\\dots(?![a-zA-Z])": r"\\ldots", r"\\big(?![a-zA-Z])": ""}
"""Commands that the converter does not know, and what says the same or nearly."""

_BRACE = re.compile(r"<mo>([{}])</mo>")
"""Braces of sets, which browsers would stretch to the height of the line unless told not to."""


def inline(translator: Any, node: nodes.math) -> None:
    """Write a formula in a line of text."""
    translator.body.append(_mathml(node, block=False))
    raise nodes.SkipNode


def display(translator: Any, node: nodes.math_block) -> None:
    """Write a formula on a line of its own, with its number if it has one."""
    translator.body.append('<div class="math">')
    if node["number"]:
        number = get_node_equation_number(translator, node)
        translator.body.append(f'<span class="eqno">({number})</span>')
    translator.body.append(_mathml(node, block=True))
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def _mathml(node: nodes.Node, *, block: bool) -> str:
    text = node.astext()
    for command, known in _MEANT.items():
        text = re.sub(command, known, text)
    try:
        return _BRACE.sub(r'<mo stretchy="false">\1</mo>', tex2mathml(text, as_block=block))
    except Exception as error:
        raise ValueError(f"cannot set the formula {text!r}: {error}") from error


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
