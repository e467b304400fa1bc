"""`python -m benchmarks.on_device` from end to end, on whatever device there is."""

from __future__ import annotations

import numpy as np
import pytest

import masksolve as ms

torch = pytest.importorskip("torch")
pytest.importorskip("array_api_compat")

from benchmarks import on_device  # noqa: E402


def test_the_product_with_all_masks_finds_the_optimum() -> None:
    masks = on_device.all_masks()
    assert masks.shape == (90, 16)
    assert len(np.unique(masks, axis=0)) == 90
    scores = torch.randn((8, 12), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mask = on_device.by_product(scores, torch.from_numpy(masks).to(scores))
    best = ms.solve(scores, "2:4-T", score="magnitude")
    assert ms.verify(mask, "2:4-T").ok
    assert float(scores.abs()[mask].sum()) == pytest.approx(best.objective, rel=1e-14)


def test_it_prints_a_line_for_every_contestant(capsys: pytest.CaptureFixture[str]) -> None:
    on_device.main(
        ["--size", "64", "--repeats", "1", "--patterns", "2:4", "2:4-T", "4:8-T", "--dtypes", "bfloat16"]
    )
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| 64")]
    seen = {tuple(cell.strip() for cell in line.split("|")[3:5]): line for line in lines}
    assert ("2:4-T", "90 patterns") in seen
    assert ("2:4", "entropic") not in seen
    for pattern in ("2:4", "2:4-T", "4:8-T"):
        assert {"floor", "batched", "exact, host"} <= {name for at, name in seen if at == pattern}
        for name in ("batched", "exact, host"):
            assert float(seen[pattern, name].split("|")[-2]) < 1e-6
    assert 0 <= float(seen["4:8-T", "entropic"].split("|")[-2]) < 0.02
