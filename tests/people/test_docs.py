"""The pages: titles, links, formulas, and what must agree with the package."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

import masksolve as ms
from masksolve.backends import _BUILT_IN, defaults, load

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(ROOT.joinpath("docs").rglob("*.md"))
FENCE = re.compile(r"^(`{3,}|:{3,}).*?^\1$", re.DOTALL | re.MULTILINE)


def prose(page: Path) -> str:
    """A page without its code."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text()))


def test_every_page_has_one_title() -> None:
    for page in PAGES:
        assert re.match(r"# \S", page.read_text()), page
    titles = Counter(page.read_text().partition("\n")[0] for page in PAGES)
    # Two pages of one topic, which the navigation calls by different names.
    assert [title for title, count in titles.items() if count > 1] in ([], ["# Pruning without training"])


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        path = target.partition("#")[0]
        if path and not path.startswith(("http:", "https:", "mailto:")):
            file = (page.parent / path).resolve()
            script = re.sub(r"/auto_(\w+)/", r"/\1/", str(file)).removesuffix(".rst")
            made = Path(f"{script}.py") if "auto_" in path else file
            assert made.exists() or made.name == "index.py", f"{page.name}: {target}"


def test_formulas_can_be_set_without_a_network() -> None:
    converter = pytest.importorskip("docutils.utils.math.latex2mathml")
    known = {r"\dots": r"\ldots", r"\big": ""}
    for page in PAGES:
        text = prose(page)
        for formula in re.findall(r"\$\$(.+?)\$\$|(?<!\$)\$([^$\n]+)\$(?!\$)", text, re.DOTALL):
            words = "".join(formula)
            for command, meant in known.items():
                words = re.sub(re.escape(command) + r"(?![a-zA-Z])", lambda _, meant=meant: meant, words)
            assert converter.tex2mathml(words), f"{page.name}: {words}"


def test_every_backend_and_option_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "backends.md").read_text()
    for name, place in _BUILT_IN.items():
        assert f"\n## {name}\n" in page
        assert place.replace(":", ".") in page
        described = " ".join(str(kind.__doc__) for kind in load(name).__mro__)
        for option in defaults(load(name)):
            assert f"    {option} : " in described, (name, option)


def test_every_public_name_is_in_the_reference() -> None:
    text = "\n".join(page.read_text() for page in ROOT.joinpath("docs", "reference").glob("*.md"))
    modules = {"diversity", "hardware", "plot", "reconstruction", "saliency", "permutation", "checkpoints"}
    for name in set(ms.__all__) - modules - {"__version__"}:
        documented = name in text or issubclass(getattr(ms, name), Exception)
        assert documented, name


def test_versions_agree() -> None:
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {ms.__version__}\n" in citation


def test_tutorials_say_what_they_need_and_run_from_anywhere() -> None:
    scripts = [*ROOT.glob("docs/tutorials/*.py"), *ROOT.glob("docs/gallery/*.py")]
    assert len(scripts) >= 8
    for script in scripts:
        text = script.read_text()
        assert re.match(r'"""\n.+\n=+\n\n', text), script.name
        compile(text, str(script), "exec")
        assert "/tmp" not in text
