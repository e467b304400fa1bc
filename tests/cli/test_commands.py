"""``masksolve verify``, ``backends``, ``demo`` and the program itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from weight_files import GOOD, fail, folder, gaussian, program, run, succeed

import masksolve as ms
from masksolve.backends.networkx import Networkx
from masksolve.cli import demo, progress
from masksolve.remedies import pip_install

# verify


def test_verify_reports_every_tensor(tmp_path: Path) -> None:
    pruned = gaussian(8, 8)
    pruned[~ms.solve(np.abs(pruned), "2:4-T").mask] = 0
    broken = pruned.copy()
    broken[5, 4:] = 1
    save_file({"fine": pruned, "broken": broken, "bias": gaussian(8)}, tmp_path / "m.safetensors")
    result = run("verify", tmp_path / "m.safetensors", "--pattern", "2:4-T")
    assert result.exit_code == 1
    assert re.search(r"fine +8x8 +1 +ok", result.output)
    assert re.search(r"left alone: 1 axis +1", result.output)
    assert "tile 3, row 1 keeps 4, expected at most 2" in result.output
    assert (
        run("verify", tmp_path / "m.safetensors", "--pattern", "2:4-T", "--exclude", "broken").exit_code == 0
    )


def test_verify_looks_at_columns_of_transposable_patterns(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.tile([1.0, 0.0], (4, 2)))
    assert run("verify", tmp_path / "w.npy", "--pattern", "2:4").exit_code == 0
    assert run("verify", tmp_path / "w.npy", "--pattern", "2:4-T").exit_code == 1


def test_names_cannot_command_the_terminal(tmp_path: Path) -> None:
    save_file({"a\x1b[2J[red]": gaussian(4, 4)}, tmp_path / "m.safetensors")
    output = succeed(
        "prune", tmp_path / "m.safetensors", "-o", tmp_path / "o.safetensors", "--pattern", "2:4"
    )
    assert "\x1b" not in output
    assert "[red]" in output


# backends, version, demo


def test_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Networkx, "requires", "no_such_module")
    lines = succeed("backends").splitlines()
    for info in ms.backends():
        (row,) = (line for line in lines if re.match(rf" ?{info.name} ", line))
        assert ("exact " if info.exact else "heuristic ") in row
        assert row.split()[-1] == ("yes" if info.unavailable is None else "no")
    assert f"networkx: needs no_such_module: {pip_install('networkx')}" in lines


def test_version() -> None:
    assert succeed("--version").strip() == f"masksolve {ms.__version__}"


@pytest.mark.parametrize("width", [80, 100])
def test_demo(width: int) -> None:
    result = run("demo", width=width)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= width
    assert "\x1b" not in result.stdout
    rows = {line.split()[0]: line for line in lines if re.match(r" ?\d+:\d+", line)}
    assert tuple(rows) == demo.PATTERNS


def test_demo_tells_the_truth() -> None:
    network, images, labels = demo._load()
    assert network.accuracy(images, labels) > 0.95
    for name in ("2:4", "4:8-T", "16:32-T"):
        outcome = demo.prune(network, name, images, labels)
        hidden = [np.abs(weights).astype(np.float64) for weights in network.weights[:-1]]
        best = sum(ms.solve(scores, name, backend="highs").objective for scores in hidden)
        assert outcome.exact == pytest.approx(best / sum(map(np.sum, hidden)), rel=1e-6)
        assert outcome.greedy <= outcome.exact + 1e-12
        assert outcome.gap <= 1e-6
        assert 0.8 < outcome.accuracy <= 1


def test_pruning_the_shipped_network_with_the_command_gives_the_accuracy_of_the_demo(tmp_path: Path) -> None:
    network, images, labels = demo._load()
    source = Path(demo.__file__).parent.parent / "data" / "digits_mlp.npz"
    target = tmp_path / "pruned.npz"
    succeed("prune", source, "-o", target, "--pattern", "4:8-T", "--exclude", "layer3.*")
    with np.load(target) as archive:
        weights = [archive[f"layer{layer}.weight"] for layer in (1, 2, 3)]
    accuracy = demo.Network(weights, network.biases).accuracy(images, labels)
    assert accuracy == demo.prune(network, "4:8-T", images, labels).accuracy


# The real program


def test_program(tmp_path: Path) -> None:
    (tmp_path / "w.npy").write_bytes(GOOD)
    assert (
        program("prune", tmp_path / "w.npy", "-o", tmp_path / "o.npy", "--pattern", "2:4-T").returncode == 0
    )
    assert program("verify", tmp_path / "o.npy", "--pattern", "2:4-T").returncode == 0
    refused = program("verify", tmp_path / "w.npy", "--pattern", "2:4-T")
    assert refused.returncode == 1
    assert refused.stderr == ""
    missing = program("verify", tmp_path / "none.npy", "--pattern", "2:4-T")
    assert missing.returncode == 2
    assert "Traceback" not in missing.stderr


def test_program_where_only_ascii_can_be_printed() -> None:
    shown = program("demo", PYTHONIOENCODING="ascii", PYTHONUTF8="0", COLUMNS="80")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.isascii()


def test_a_missing_package_is_named_with_its_remedy() -> None:
    code = "import sys; sys.modules['rich'] = None; from masksolve.cli import main; main()"
    refused = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr == f"masksolve: the command line needs rich: {pip_install('cli')}\n"


# Large models


def test_a_model_of_many_layers_is_summarised(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", layers=30)
    printed = succeed("prune", source, "-o", tmp_path / "out", "--pattern", "4:8-T", width=80)
    lines = printed.splitlines()
    assert max(len(line) for line in lines if not line.startswith("wrote")) <= 80  # paths stay whole
    assert len(lines) < 30
    assert re.search(r"model\.layers\.\*\.mlp\.experts\.down_proj +4x32x64 +30", printed)
    assert re.search(r"router +30 +model\.layers\.\*\.mlp\.gate\.weight", printed)
    checked = succeed("verify", tmp_path / "out", width=80)
    assert len(checked.splitlines()) < 20
    broken = run("verify", source, "--pattern", "4:8-T", "--report", tmp_path / "r.json", width=80)
    assert broken.exit_code == 1
    assert len(broken.stdout.splitlines()) < 40
    assert "and 87 more tensors" in broken.stdout
    found = json.loads((tmp_path / "r.json").read_text())
    assert sum(said["violations"] > 0 for said in found["tensors"].values()) == 90


def test_a_dry_run_says_what_would_happen(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    printed = succeed("prune", source, "--pattern", "2:4", "--dry-run")
    assert "Nothing was written" in printed
    assert re.search(r"embedding +1 +model\.embed_tokens\.weight", printed)
    assert os.listdir(tmp_path) == ["in"]
    assert "--output must be given" in fail("prune", source, "--pattern", "2:4")
    assert "pattern must be given" in fail("prune", source, "-o", tmp_path / "out")


def test_progress_is_printed_where_there_is_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_PAUSE", 0.0)
    result = run("prune", folder(tmp_path / "in"), "-o", tmp_path / "out", "--pattern", "2:4")
    lines = result.stderr.splitlines()
    told = r"(copying|solving): 1/\d+ tensors, [\d.]+ \w+ of [\d.]+ kB, about \d+:\d\d left"
    assert re.fullmatch(told, lines[0])
    assert any(line.startswith("solving: ") for line in lines)
    assert lines[-1].startswith("writing: ")


def test_violations_as_json(tmp_path: Path) -> None:
    weights = np.tile(np.array([[1.0, 2.0, 0.0, 0.0]]), (6, 2))
    weights[2, 4:] = [1, 1, 1, 0]
    np.save(tmp_path / "w.npy", weights)
    result = run("verify", tmp_path / "w.npy", "--pattern", "2:4", "--report", tmp_path / "found.json")
    assert result.exit_code == 1
    said = json.loads((tmp_path / "found.json").read_text())
    assert not said["ok"]
    (tensor,) = said["tensors"].values()
    assert tensor["violations"] == 1
    wrong = {"tile": 5, "axis": "group", "index": 0, "kept": 3, "least": 0, "most": 2}
    assert tensor["first"] == [wrong]
