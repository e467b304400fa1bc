"""The pages: titles, links, formulas, and what must agree with the package."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import tomllib
import warnings
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


def run_script(text: str, folder: Path) -> str:
    """What a program prints; warnings, such as of scores that look like weights, are errors."""
    path = os.pathsep.join(map(str, (ROOT, *filter(None, [os.environ.get("PYTHONPATH")]))))
    environment = os.environ | {
        "PYTHONPATH": path,
        "MPLBACKEND": "agg",
        "PYTHONWARNINGS": "error::UserWarning",
    }
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_page_has_one_title() -> None:
    for page in PAGES:
        assert re.match(r"# \S", page.read_text()), page
    titles = Counter(page.read_text().partition("\n")[0] for page in PAGES)
    assert [title for title, count in titles.items() if count > 1] == []


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


def test_the_citation_has_what_its_format_asks_for() -> None:
    """The fields that the Citation File Format 1.2.0 asks for, and those that the package says, too."""
    citation = (ROOT / "CITATION.cff").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    fields = dict(re.findall(r"^([a-z-]+):[ \n]*(.*)$", citation, re.MULTILINE))
    assert {"cff-version", "message", "title", "authors"} <= set(fields)
    assert (fields["cff-version"], fields["type"]) == ("1.2.0", "software")
    assert fields["license"] == project["license"]
    assert fields["url"] == f'"{project["urls"]["Documentation"]}"'
    assert fields["authors"] == f'- name: "{project["authors"][0]["name"]}"'


def test_tutorials_say_what_they_need_and_run_from_anywhere() -> None:
    scripts = [*ROOT.glob("docs/tutorials/*.py"), *ROOT.glob("docs/gallery/*.py")]
    assert len(scripts) >= 8
    for script in scripts:
        text = script.read_text()
        assert re.match(r'"""\n.+\n=+\n\n', text), script.name
        compile(text, str(script), "exec")
        assert "/tmp" not in text


def test_the_landing_page_runs_as_it_stands(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / "index.md").read_text(), re.M | re.S)
    assert blocks
    shown = run_script("".join(blocks), tmp_path)
    assert "OPTIMAL" in shown


@pytest.mark.parametrize("script", sorted(ROOT.glob("docs/tutorials/*.py")), ids=lambda script: script.stem)
def test_tutorials_run_as_they_stand(script: Path, tmp_path: Path) -> None:
    """Where the site's cards lead, line by line, in a folder of their own and without a screen."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("scipy")
    pytest.importorskip("networkx")
    pytest.importorskip("safetensors")
    run_script(script.read_text(), tmp_path)


def test_cards_of_the_landing_page_lead_to_tutorials_and_tested_pages() -> None:
    """So that whoever comes with one of the five aims finds code that runs."""
    cards = (ROOT / "docs" / "index.md").read_text().split(":::{grid-item-card}")[1:]
    linked = [set(re.findall(r"\]\(([\w/.-]+)", card)) for card in cards]
    tutorials = {
        f"auto_tutorials/plot_{name}.rst" for name in ("2_checkpoint", "3_hardware", "4_formulation")
    }
    tested = tutorials | {"sparse_training.md", "frameworks.md"}
    assert all(links & tested for links in linked)
    assert tested <= set().union(*linked)


EXAMPLES = [page for page in PAGES if ">>> " in page.read_text() and page.name != "frameworks.md"]


@pytest.mark.parametrize("page", EXAMPLES, ids=lambda page: page.name)
def test_examples_run_as_they_stand(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Those of frameworks.md, where each section needs another library, are run by a test of their own."""
    if ">>> import torch" in page.read_text():
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ms.SignedScoresWarning)  # no example shall lead into a warning
        outcome = doctest.testfile(str(page), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert outcome.attempted
    assert not outcome.failed


def test_code_without_answers_parses_and_names_what_exists() -> None:
    """Blocks that need a model or a cluster of the reader's cannot run here."""
    for page in [ROOT / "README.md", *PAGES]:
        for block in re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.M | re.S):
            if ">>> " not in block:
                compile(block, str(page), "exec")
                for name in re.findall(r"\bms\.(\w+)", block):
                    assert hasattr(ms, name), f"{page.name}: ms.{name}"


def test_the_readmes_lines_for_torch_run_on_a_small_model() -> None:
    torch = pytest.importorskip("torch")
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    (block,) = (block for block in blocks if "import torch as mt" in block)
    torch.manual_seed(0)
    layers = [torch.nn.Linear(16, 16) for _ in range(4)]
    readers = {
        "model": torch.nn.Sequential(*layers),
        "data": range(41),
        "samples": torch.randn(64, 16),
        "example_inputs": (torch.randn(2, 16),),
    }
    exec(compile(block, "README.md", "exec"), readers)
    assert ms.verify(layers[1].weight.detach().numpy(), "4:8-T at_most").ok
