"""The study of pruning without training: small, on made-up data, through the command itself."""

import copy
import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("threadpoolctl")
pytest.importorskip("matplotlib")
pytest.importorskip("scipy")
sys.path.append(str(Path(__file__).parents[2]))

from torch import nn  # noqa: E402

import masksolve as ms  # noqa: E402
from benchmarks import resnet  # noqa: E402
from examples.post_training import __main__ as post_training  # noqa: E402
from examples.post_training import digit_study, digits, encoder, sentences, tables  # noqa: E402
from examples.post_training.record import Record  # noqa: E402

PLAN = digits.Plan(width=8, epochs=12, sparse_epochs=1, calibration=100)
PATTERNS = ("2:4", "2:4-T")


pytestmark = pytest.mark.usefixtures("one_thread")


def made_up(_name):
    """Images like digits in that there are ten kinds of them, noisy."""
    rng = np.random.default_rng(0)
    kinds = rng.random((10, 1, 12, 12))
    labels = rng.integers(0, 10, 400)
    images = kinds[labels] + rng.normal(0, 0.3, (400, 1, 12, 12))
    return images.astype(np.float32), labels, "made up"


@pytest.fixture
def images(monkeypatch):
    monkeypatch.setattr(resnet, "digits", made_up)
    return digits.load("auto")


@pytest.fixture
def dense(images):
    return digits.train(images, PLAN, 0)


def nonzero(model):
    return {
        name: module.weight != 0
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d))
    }


class TestDigits:
    def test_images_are_split_without_overlap(self, images):
        everything = torch.cat([images.train, images.test])
        assert (len(images.train), len(images.test)) == (320, 80)
        assert len(everything.flatten(1).unique(dim=0)) == 400

    def test_training_learns_and_can_be_repeated(self, images, dense):
        assert digits.accuracy(dense, images) > 50
        again = digits.train(images, PLAN, 0)
        for one, other in zip(dense.parameters(), again.parameters(), strict=True):
            torch.testing.assert_close(one, other)

    def test_accuracy_counts(self, images):
        class Always(nn.Module):
            def forward(self, x):
                return nn.functional.one_hot(torch.full((len(x),), 3), 10)

        assert digits.accuracy(Always(), images) == 100 * (images.test_labels == 3).double().mean()

    def test_sparse_training_keeps_the_pattern_and_learns_on(self, images, dense):
        sparse = digits.train_sparse(dense, images, PLAN, "4:8-T", 0)
        kept = nonzero(sparse)
        inner = list(kept)[1:-1]
        assert all(ms.verify(_planes(kept[name]), "4:8-T at_most").ok for name in inner)
        assert all(kept[name].float().mean() > 0.4 for name in inner)
        moved = sparse[3].path[0].weight.detach()
        assert ((moved != dense[3].path[0].weight) & (moved != 0)).any()

    def test_every_method_on_every_pattern(self, images, dense):
        rows = digit_study.from_dense(dense, images, PLAN, 7, patterns=PATTERNS, tell=lambda _: None)
        assert [row.method for row in rows[:2]] == ["dense", "dense + BNT"]
        assert {(row.pattern, row.masks) for row in rows[2:]} == {
            ("2:4", "exact"),
            ("2:4-T", "exact"),
            ("2:4-T", "greedy"),
        }
        assert {row.seed for row in rows} == {7}
        for pattern, masks in {(row.pattern, row.masks) for row in rows[2:]}:
            errors = {row.method: row.error for row in rows if (row.pattern, row.masks) == (pattern, masks)}
            assert errors.keys() == {"one-shot", "BiasFix", "BNT", "AdaPrune", "AdaPrune + BNT"}
            assert errors["AdaPrune"] < 0.5 * errors["one-shot"]

    def test_lost_entries_are_counted(self, images, dense):
        trained = digits.train_sparse(dense, images, PLAN, "4:8", 0)
        before, model = nonzero(trained), copy.deepcopy(trained)
        lost, error = digit_study.walk(model, ("4:8", "2:4"), None)
        after = nonzero(model)
        inner = list(before)[1:-1]
        gone = sum(int((before[name] & ~after[name]).sum()) for name in inner)
        assert error is None
        assert lost == pytest.approx(gone / sum(int(before[name].sum()) for name in inner), rel=0.01)
        assert all(ms.verify(_planes(after[name]), "2:4 at_most").ok for name in inner)


def _planes(kept):
    return kept.permute(2, 3, 0, 1).numpy() if kept.ndim == 4 else kept.numpy()


class TestRecord:
    def row(self, seed=0):
        return digit_study.Row(seed, "dense", "2:4", "exact", "AdaPrune", 95.0, 0.1)

    def test_goes_on_from_its_file(self, tmp_path):
        file = tmp_path / "figures.json"
        first = Record({"seeds": (1, 2)}, file)
        first.add("resnet", [self.row()])
        second = Record({"seeds": (1, 2)}, file)
        assert second.rows == first.rows
        second.add("resnet", [self.row(1)])
        assert [row["seed"] for row in json.loads(file.read_text())["resnet"]] == [0, 1]

    def test_refuses_figures_for_other_settings(self, tmp_path):
        file = tmp_path / "figures.json"
        Record({"seeds": 1}, file).add("resnet", [self.row()])
        with pytest.raises(ValueError, match="other settings"):
            Record({"seeds": 2}, file)


class TestTables:
    def test_spread(self):
        assert tables.spread([1.0, 3.0]) == "2.0 ± 1.4"
        assert tables.spread([1.25]) == "1.2"
        assert tables.spread([]) == ""

    def test_means_over_seeds(self):
        rows = [
            digit_study.Row(seed, "dense", pattern, "exact" if pattern else "", method, accuracy)
            for (seed, accuracy), (pattern, method) in itertools.product(
                [(0, 90.0), (1, 92.0)], [("", "dense"), ("2:4", "one-shot")]
            )
        ]
        found = tables.digits(rows)
        assert "| 2:4, exact masks | 91.0 ± 1.4 |" in found
        assert found.endswith("dense 91.0 ± 1.4 %; 2 seeds.")


class TestCommand:
    @pytest.fixture
    def tiny(self, images, monkeypatch):
        """Everything that the command reads, made up and small."""
        torch.manual_seed(0)
        model = encoder.Encoder(words=30, width=16, heads=2, hidden=32, depth=2).eval()
        texts = [sentences.Text(f"m{k}", f"w{k} " * (2 + k % 3)) for k in range(100)]
        monkeypatch.setattr(encoder, "load_encoder", lambda: model)
        monkeypatch.setattr(sentences, "first_sentences", lambda: texts)
        monkeypatch.setattr(
            encoder, "tokenize", lambda lines: [[int(w[1:]) % 30 for w in line.split()] for line in lines]
        )
        quick = replace(post_training.QUICK, images=None, plan=replace(PLAN, epochs=1))
        monkeypatch.setattr(post_training, "QUICK", quick)

    def test_quick_run_goes_on_and_draws(self, tiny, tmp_path, capsys):
        words = ["--quick", "--json", str(tmp_path / "f.json"), "--plot", str(tmp_path)]
        post_training.main(words)
        found = capsys.readouterr().out
        for title in (*tables.MEASURES.values(), "% of test images", "% of kept entries lost"):
            assert f"| {title}" in found or f" {title} |" in found
        drawn = sorted(file.name for file in tmp_path.glob("*.svg"))
        assert drawn == [f"post_training_{name}.svg" for name in ("convert", "layers", "minilm", "resnet")]
        before = (tmp_path / "f.json").read_bytes(), (tmp_path / drawn[0]).read_bytes()
        post_training.main(words)
        again = capsys.readouterr().out
        assert "seed 0:" in found
        assert "seed 0:" not in again
        assert again.partition("\n\n")[2] == found.partition("\n\n")[2]
        assert ((tmp_path / "f.json").read_bytes(), (tmp_path / drawn[0]).read_bytes()) == before

    def test_one_study_alone(self, tiny, capsys):
        post_training.main(["--quick", "--only", "convert"])
        found = capsys.readouterr().out
        assert "| 4:8 → 2:4 → 1:2" in found
        assert "AdaPrune, exact masks" not in found

    def test_figures_of_a_full_run_are_not_mixed_with_a_quick_one(self, tiny, tmp_path):
        file = tmp_path / "f.json"
        Record({"seeds": 3}, file).add("resnet", [])
        with pytest.raises(SystemExit, match="other settings"):
            post_training.main(["--quick", "--json", str(file)])
