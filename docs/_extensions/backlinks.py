"""Links from the pages with the source back to the reference.

Sphinx keeps one documented module name for each source file, and so writes dead anchors where some objects
of a file are documented as ``masksolve.NAME`` and others as ``masksolve.FILE.NAME``.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

from sphinx.application import Sphinx

_LINK = re.compile(r'(class="viewcode-back" href=")([^"#]+)#([^"]+)"')


def mend(app: Sphinx, page: str, _template: str, context: dict[str, Any], _tree: Any) -> None:
    """Point the links of one page at anchors that the reference has."""
    if not page.startswith("_modules/") or "body" not in context:
        return
    entries = app.env.domains.python_domain.objects.items()
    places = {
        name: entry.docname for name, entry in entries if not entry.aliased
    }  # other names have no anchor

    def mended(found: re.Match[str]) -> str:
        start, target, anchor = found.groups()
        document = posixpath.normpath(posixpath.join(posixpath.dirname(page), target)).removesuffix(".html")
        parts = anchor.split(".")
        endings = (".".join(parts[first:]) for first in range(len(parts)))
        names = [name for name, place in places.items() if place == document]
        there = next(
            (name for end in endings for name in names if name == end or name.endswith(f".{end}")), anchor
        )
        return f'{start}{target}#{there}"'

    context["body"] = _LINK.sub(mended, context["body"])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("html-page-context", mend)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
