"""The page and the report of a run."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from weight_files import folder, gaussian, succeed

import masksolve as ms
from masksolve.checkpoints.page import write_page
from masksolve.checkpoints.work import worst_tile


def page(path: Path) -> ET.Element:
    """The page, which is well formed but for what HTML writes without an end."""
    text = path.read_text(encoding="utf-8").replace("<!DOCTYPE html>", "")
    for bare in (
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
    ):
        text = text.replace(bare, "")
    return ET.fromstring(text.replace("<br>", "<br/>"))


@pytest.mark.parametrize("pattern", ["2:4", "4:8-T"])
def test_the_page_shows_every_tensor_and_the_worst_tiles(tmp_path: Path, pattern: str) -> None:
    source = folder(tmp_path / "in")
    report = ms.checkpoints.prune(source, tmp_path / "out", pattern, worst=True)
    write_page(report, tmp_path / "page.html")
    tree = page(tmp_path / "page.html")
    shown = {code.text for code in tree.iter("code")}
    assert {tensor.name for tensor in report.pruned} <= shown
    assert {"model.embed_tokens.weight", "lm_head.weight"} <= shown
    tiles = [svg for figure in tree.iter("figure") for svg in figure.iter("svg")]
    assert len(tiles) == 6
    m = ms.Pattern.parse(pattern).m
    for svg in tiles:
        crossed = sum(1 for path in svg.iter("path"))
        assert crossed == m * m - m * ms.Pattern.parse(pattern).n
    assert f"{100 * report.retained:.2f} %" in (tmp_path / "page.html").read_text()


def test_the_page_asks_no_network_and_escapes_names(tmp_path: Path) -> None:
    save_file({"<script>alert(1)</script>": gaussian(8, 8)}, tmp_path / "w.safetensors")
    target = tmp_path / "o.safetensors"
    succeed(
        "prune", tmp_path / "w.safetensors", "-o", target, "--pattern", "2:4", "--html", tmp_path / "p.html"
    )
    text = (tmp_path / "p.html").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "http" not in text
    assert "src=" not in text
    page(tmp_path / "p.html")


@pytest.mark.parametrize("shape", [(16, 24), (3, 16, 8), (17, 25)])
def test_the_worst_tile_is_the_worst(shape: tuple[int, ...]) -> None:
    scores = np.abs(gaussian(*shape)).astype(np.float64)
    scores[..., :8, :8] = 0
    mask = ms.solve(scores, "4:8-T pad").mask
    found = worst_tile(scores, mask, ms.Pattern.parse("4:8-T"))
    shares = {
        (batch, row, column): kept.sum() / tile.sum()
        for batch, (matrix, kept_matrix) in enumerate(
            zip(scores.reshape(-1, *shape[-2:]), mask.reshape(-1, *shape[-2:]), strict=True)
        )
        for row in range(0, shape[-2] - 7, 8)
        for column in range(0, shape[-1] - 7, 8)
        for tile in [matrix[row : row + 8, column : column + 8]]
        for kept in [tile[kept_matrix[row : row + 8, column : column + 8]]]
        if tile.sum()
    }
    place = min(shares, key=shares.__getitem__)
    assert found["share"] == pytest.approx(shares[place])
    assert tuple(found["at"]) == place
    assert worst_tile(scores[..., :4, :], mask[..., :4, :], ms.Pattern.parse("4:8-T")) is None


def test_the_report_is_json(tmp_path: Path) -> None:
    source = folder(tmp_path / "in")
    file = tmp_path / "r.json"
    succeed(
        "prune", source, "-o", tmp_path / "out", "--pattern", "2:4", "--backend", "greedy", "--report", file
    )
    said = json.loads(file.read_text())
    assert said["gap"] is None
    assert 0.5 < said["retained"] < 1
    assert {key.partition(":")[0] for key in said["tensors"]} == {
        f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)
    }
