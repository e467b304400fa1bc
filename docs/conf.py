"""Sphinx configuration: ``sphinx-build -W docs docs/_build``."""

import masksolve

project = "masksolve"
author = "The masksolve developers"
project_copyright = author
version = release = masksolve.__version__

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's Parameters sections say it
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
default_role = "py:obj"

html_theme = "furo"
html_title = f"masksolve {release}"
