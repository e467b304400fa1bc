"""The study of a language model: small, on made-up pages and a made-up model, through the command itself."""

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("matplotlib")
sys.path.append(str(Path(__file__).parents[2]))

from torch import nn  # noqa: E402

from examples.language_model import __main__ as command  # noqa: E402
from examples.language_model import model as models  # noqa: E402
from examples.language_model import scale, study, tables, texts  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = 40


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, hidden):
        return hidden + self.down(self.up(hidden).relu())


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.model = nn.Module()
        self.model.word = nn.Embedding(WORDS, 16)
        self.model.layers = nn.ModuleList(Layer() for _ in range(3))
        self.head = nn.Linear(16, WORDS, bias=False)

    def forward(self, input_ids):
        hidden = self.model.word(input_ids)
        for layer in self.model.layers:
            hidden = layer(hidden)
        return SimpleNamespace(logits=self.head(hidden))


def tokenizer(text, return_tensors):
    assert return_tensors == "pt"
    return {"input_ids": torch.tensor([[sum(map(ord, word)) % WORDS for word in text.split()]])}


def sentence(number):
    return f"Sentence {number} of these pages says in thirteen words nothing that is worth reading."


@pytest.fixture
def root(tmp_path):
    """Pages as the packages have them: DocBook's divisions and Sphinx's paragraphs, code in between."""
    book = tmp_path / texts.HANDBOOK
    book.mkdir(parents=True)
    for page in range(10):
        prose = "".join(f'<div class="para">{sentence(100 * page + k)}</div>' for k in range(20))
        (book / f"page{page}.html").write_text(f"<div>menu</div>{prose}<pre>code</pre>")
    for part in ("tutorial", "howto", "faq"):
        folder = tmp_path / texts.PYTHON / part
        folder.mkdir(parents=True)
        prose = "".join(f"<p>{part}: {sentence(k)}</p>" for k in range(20))
        (folder / "index.html").write_text(f"{prose}<p>Too short.</p><p>No code: <pre>x = 1.</pre></p>")
    return tmp_path


class TestTexts:
    def test_prose_alone_once_and_in_order(self, root):
        found = texts.paragraphs(root / texts.HANDBOOK)
        assert found == [sentence(100 * page + k) for page in range(10) for k in range(20)]
        found = texts.paragraphs(root / texts.PYTHON / "faq")
        assert len(found) == 20
        assert not any("Too short" in each or "x = 1" in each for each in found)

    def test_calibration_and_test_do_not_overlap(self, root):
        found = texts.corpora(root)
        parts = [set(found[name].split("\n\n")) for name in ("calibration", "handbook", "python")]
        assert [len(part) for part in parts] == [160, 40, 60]
        assert not parts[0] & parts[1]

    def test_missing_packages_are_named(self, tmp_path):
        with pytest.raises(texts.MissingTextsError, match="apt-get install debian-handbook"):
            texts.corpora(tmp_path)


class TestModel:
    def test_perplexity_by_its_definition(self):
        model, tokens = Tiny(), torch.randint(WORDS, (3, 7), generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            chances = model(tokens).logits.double().softmax(-1)
        logs = [chances[i, j, tokens[i, j + 1]].log().item() for i in range(3) for j in range(6)]
        assert models.perplexity(model, tokens) == pytest.approx(math.exp(-np.mean(logs)), rel=1e-5)

    def test_windows_of_splits_do_not_overlap(self):
        text = " ".join(chr(97 + k % 26) * (1 + k // 26) for k in range(200))
        whole = tokenizer(text, "pt")["input_ids"][0]
        one, other = (models.windows(tokenizer, text, 10, 8, first=first) for first in (0, 10))
        pieces = {tuple(piece.tolist()) for piece in whole.split(8)}
        assert {tuple(each.tolist()) for each in (*one, *other)} <= pieces
        assert not torch.equal(one, other)
        with pytest.raises(ValueError, match="25 windows of 8 tokens, 30 are needed"):
            models.windows(tokenizer, text, 10, 8, first=20)


class TestCommand:
    @pytest.fixture(autouse=True)
    def tiny(self, monkeypatch):
        monkeypatch.setattr(command, "load", lambda: (Tiny(), tokenizer))

    @pytest.fixture
    def words(self, root):
        options = ["--patterns", "2:4", "2:4-T", "--masks", "exact", "greedy", "--threads", "1"]
        return ["--quick", "--texts", str(root), "--json", str(root / "rows.json"), *options]

    def test_quick_run_goes_on_and_draws(self, words, root, capsys):
        command.main([*words, "--plot", str(root)])
        first = capsys.readouterr().out
        rows = json.loads((root / "rows.json").read_text())
        assert len(rows) == 1 + 3 * len(study.METHODS), "greedy masks of 2:4 are the exact ones"
        assert (root / "language_model.png").stat().st_size > 10000
        errors = {(r["pattern"], r["method"], r["masks"]): r["error"] for r in rows}
        for pattern in ("2:4", "2:4-T"):
            mine = {method: errors[pattern, method, "exact"] for method in study.METHODS}
            assert min(mine, key=mine.get) == "ADMM"
        command.main(words)
        again = capsys.readouterr().out
        assert "split 0" in first
        assert "split 0" not in again
        assert again == first[first.index("| perplexity") :]

    def test_the_table_of_the_documentation_by_default(self):
        asked = command.wanted(command.parse([]))
        assert len(set(asked)) == len(asked)
        methods = {method for method in study.METHODS if "+" not in method}
        for pattern in study.PATTERNS:
            mine = [each for each in asked if each.pattern == pattern and each.masks == "exact"]
            permuted = set(study.PERMUTED) if pattern == "2:4-T" else set()
            assert {each.method for each in mine if not each.split} == methods | permuted
        some = command.wanted(command.parse(["--methods", "ADMM", "--splits", "3"]))
        assert some == [study.Contest(pattern, "ADMM", "exact", 3) for pattern in study.PATTERNS]

    def test_a_run_that_was_stopped_goes_on(self, words, root, monkeypatch):
        words = [*words, "--methods", "AdaPrune", "Wanda"]
        left = [1, 1]

        def stopping(*given):
            left.pop()
            return study.pruned(*given)

        monkeypatch.setattr(command, "pruned", stopping)
        with pytest.raises(IndexError):
            command.main(words)
        before = json.loads((root / "rows.json").read_text())
        assert len(before) == 3
        monkeypatch.setattr(command, "pruned", study.pruned)
        command.main(words)
        after = json.loads((root / "rows.json").read_text())
        assert len(after) == 1 + 6
        assert after[:3] == before

    def test_several_splits_have_a_spread(self, words, capsys):
        command.main([*words, "--methods", "AdaPrune", "--splits", "0", "1"])
        assert " ± " in capsys.readouterr().out

    def test_missing_texts_end_the_command(self, tmp_path):
        with pytest.raises(SystemExit, match="apt-get install"):
            command.main(["--quick", "--texts", str(tmp_path)])


def test_empty_cells_stay_empty():
    rows = [
        study.Row("dense", "dense", "", 0, 0, 0.0, {"handbook": 20.0}, 0.0, 0.0),
        study.Row("2:4", "ADMM", "exact", 0, 16, 0.1, {"handbook": 30.0}, 1.0, 2.0),
        study.Row("2:4-T", "Wanda", "exact", 0, 16, 0.2, {"handbook": 40.0}, 1.0, 2.0),
    ]
    found = tables.report(rows)
    assert "| perplexity, handbook (dense 20.0) |  2:4 | 2:4-T |" in found
    assert "| ADMM, exact masks, 16 windows     | 30.0 |       |" in found


def test_layers_of_any_size_are_timed():
    found = scale.measure((16, 32), "2:4-T", 64, "cpu")
    assert found.keys() == {"seconds", "processor_seconds", "iterations", "error"}
    assert 0 < found["error"] < 1
    assert found["iterations"] > 2
