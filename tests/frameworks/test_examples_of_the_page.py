"""The examples of docs/frameworks.md run, section by section, where their framework is installed."""

import doctest
import re
import warnings

import pytest
from places import ROOT

import masksolve as ms

PAGE = ROOT / "docs" / "frameworks.md"
SECTIONS = {text.partition("\n")[0]: text for text in PAGE.read_text().split("\n## ") if ">>> " in text}


@pytest.mark.parametrize("heading", SECTIONS)
def test_examples_of_the_page(heading: str) -> None:
    section = SECTIONS[heading]
    for name in set(re.findall(r"^>>> import (\w+)", section, re.MULTILINE)):
        pytest.importorskip(name)
    test = doctest.DocTestParser().get_doctest(section, {}, heading, str(PAGE), 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ms.SignedScoresWarning)
        outcome = doctest.DocTestRunner().run(test, clear_globs=False)  # torch.compile looks at them later
    assert outcome.attempted
    assert not outcome.failed


def test_every_framework_has_a_section() -> None:
    assert list(SECTIONS) == ["torch", "JAX", "Array API", "TensorFlow"]
