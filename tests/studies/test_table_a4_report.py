"""The tables and the images of the scaled-down Table A.4."""

import gzip
import math
import sys

import numpy as np
import pytest
from places import ROOT

torch = pytest.importorskip("torch")
pytest.importorskip("scipy")

sys.path.append(str(ROOT))  # behind the installed masksolve

from scipy import stats  # noqa: E402

from examples.table_a4 import data as images  # noqa: E402
from examples.table_a4.report import Results, bits, correlation_table, everything  # noqa: E402
from examples.table_a4.runs import COMPARED, DENSE, RULES, plan  # noqa: E402
from examples.table_a4.training import Regime  # noqa: E402

# Tables


def made_up(score):
    """Lines whose accuracy is ``score(run)``."""
    shared = {"data": "", "part": "test", "regime": vars(Regime())}
    runs = plan(range(4))
    return [
        {
            **run._asdict(),
            **shared,
            "retained": [len(run.rule) / 20],
            "density": [0.5],
            "optimal": [0.99],
            "accuracy": score(run),
        }
        for run in runs
    ]


def test_differences_are_paired():
    noise = np.random.default_rng(0).normal(size=(4, 2))
    results = Results(made_up(lambda run: 80 + 9 * run.seed + noise[run.seed, int(run.solver == "greedy")]))
    got = results.difference("tuned", ("2:4-T", "exact"), ("2:4-T", "greedy"))
    test = stats.ttest_rel(noise[:, 0], noise[:, 1])
    low, high = test.confidence_interval(0.95)
    assert (got.mean - got.half, got.mean + got.half) == pytest.approx((low, high))
    assert got.pairs == 4
    same = results.difference("tuned", ("2:4-T", "greedy"), ("8:16-T", "greedy"))
    assert (same.mean, same.half) == (0, 0)


def test_only_complete_seeds_count():
    lines = made_up(lambda run: 1000 * (run.seed == 2) + 50)
    lines = [line for line in lines if (line["seed"], line["mode"], line["rule"]) != (2, "tuned", "1:2")]
    results = Results(lines)
    assert results.seeds == {"scratch": [0, 1, 2, 3], "tuned": [0, 1, 3], "pruned": [0, 1, 2, 3]}
    assert (results.accuracies("4:8", "exact", "tuned") == 50).all()
    with pytest.raises(ValueError, match="'pruned', but no seed is complete"):
        Results([line for line in lines if line["mode"] != "pruned"])


def test_correlation_with_diversity():
    regime = Regime()
    exact = {rule: bits(rule, regime, "exact") for rule in RULES} | {DENSE: 99}
    table = correlation_table(Results(made_up(lambda run: exact[run.rule])))
    cells = [line.split("|")[2:-1] for line in table.splitlines()[2:]]
    for cell in cells[0]:
        assert cell.strip().startswith("1.00 (p")
        assert cell.strip().endswith("; 1.00 ± 0.00")
    published = [bits(rule, regime, "paper") for rule in RULES]
    expected = stats.spearmanr(published, [exact[rule] for rule in RULES]).statistic
    assert expected < 1
    assert all(cell.strip().startswith(f"{expected:.2f} (p") for cell in cells[1])


def test_correlation_with_equal_accuracies_is_undefined():
    assert "| nan (p = nan); nan ± nan |" in correlation_table(Results(made_up(lambda run: 10)))


def test_bits_of_64_entries():
    regime = Regime()
    assert bits("2:4", regime, "exact") == pytest.approx(16 * math.log2(6))
    assert bits("2:4-T", regime, "exact") == pytest.approx(4 * math.log2(90))
    assert bits("2:4-T", regime, "paper") == pytest.approx(4 * math.log2(144))
    assert bits("4:8 sequential", regime, "exact") == pytest.approx(8 * math.log2(5))
    assert bits("1:2-T", regime, "exact") == pytest.approx(16)
    assert bits("4:8", regime, "exact") < bits("unstructured", regime, "exact") < 64


def test_tables_have_every_sort():
    text = everything(Results(made_up(lambda run: 80 + len(run.rule) / 7 + run.seed)))
    assert all(f"| {rule} " in text for rule in (DENSE, *RULES))
    assert text.count("Algorithm 1") == len(COMPARED) + 1
    assert "nan" not in text


# Data


def test_parts_are_apart_and_standardised():
    data = images.load("shipped")
    assert [len(part.y) for part in data[1:]] == [399, 100, 100]
    pixels = np.concatenate([part.x.reshape(len(part.y), -1).numpy() for part in data[1:]])
    assert len(np.unique(pixels, axis=0)) == 599, "no image is in two parts"
    assert data.train.x.mean() == pytest.approx(0, abs=1e-5)
    assert data.train.x.std() == pytest.approx(1, rel=1e-5)


def test_fashion_files_are_read(tmp_path):
    rng = np.random.default_rng(0)
    written = {}
    for part, count in (("train", 12), ("t10k", 5)):
        pixels = rng.integers(256, size=(count, 28, 28), dtype=np.uint8)
        written[part] = pixels, np.arange(count, dtype=np.uint8)
        for kind, header, array in zip(("images-idx3", "labels-idx1"), (16, 8), written[part], strict=True):
            content = gzip.compress(bytes(header) + array.tobytes())
            (tmp_path / f"{part}-{kind}-ubyte.gz").write_bytes(content)
    found = images.load(str(tmp_path))
    assert [part.y.tolist() for part in found[1:]] == [list(range(10)), [10, 11], [0, 1, 2, 3, 4]]
    pooled = written["t10k"][0].reshape(5, 1, 14, 2, 14, 2).mean(axis=(3, 5))
    seen = written["train"][0][:10].reshape(10, 14, 2, 14, 2).mean(axis=(2, 4))
    expected = (pooled - seen.mean()) / seen.std(ddof=1)
    np.testing.assert_allclose(found.test.x.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(SystemExit, match="dataset-fashion-mnist"):
        images.load(str(tmp_path))
