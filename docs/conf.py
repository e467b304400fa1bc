"""Sphinx configuration: ``sphinx-build -W docs docs/_build``.

The tutorials and the gallery are scripts that run while the site is built, so a script that fails, or warns,
fails the build. Nothing is fetched: neither inventories of other projects nor scripts for mathematics.
"""

import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

from numpydoc.xref import DEFAULT_LINKS

import masksolve

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "masksolve"
author = "The masksolve developers"
project_copyright = author
version = release = masksolve.__version__

extensions = [
    "backlinks",
    "mathml",
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "tutorials", "gallery", "**/sg_execution_times.rst", "sg_execution_times.rst"]

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc's Parameters sections say it
autodoc_member_order = "bysource"
autodoc_mock_imports = [name for name in ("torch", "jax") if find_spec(name) is None]
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"
numpydoc_xref_aliases = {
    name: f"masksolve.{name}"
    for name in (
        "MaskResult",
        "Pattern",
        "Prices",
        "TileSums",
        "Status",
        "Verification",
        "Packed",
        "Certificate",
    )
}
DEFAULT_LINKS.clear()  # to glossaries of Python and NumPy, which would have to be fetched
default_role = "py:obj"

sphinx_gallery_conf = {
    "examples_dirs": ["tutorials", "gallery"],
    "gallery_dirs": ["auto_tutorials", "auto_gallery"],
    "filename_pattern": r"\.py",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "only_warn_on_example_error": False,
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "min_reported_time": 1e9,
    "image_scrapers": ("matplotlib",),
    "matplotlib_animations": False,
    "remove_config_comments": True,
    "doc_module": ("masksolve",),
    "backreferences_dir": None,
    "default_thumb_file": None,
    "reference_url": {"masksolve": None},
    "capture_repr": ("_repr_html_", "__repr__"),
    "ignore_repr_types": "matplotlib",
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
warnings.simplefilter("error", masksolve.SignedScoresWarning)  # examples say what they mean

html_theme = "furo"
html_title = f"masksolve {release}"
html_static_path = ["_static"]
html_css_files = ["masksolve.css"]
html_theme_options = {"navigation_with_keys": True}
