"""Accuracy under ten sorts of masks, a scaled-down Table A.4: ``python -m examples.table_a4``.

``--backward`` compares SLoPe's, Bi-Mask's and transposable masks and pruned gradients instead. Every run
appends a line to ``runs.jsonl`` in ``--out``; started again, the command goes on from there.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import time
from pathlib import Path
from typing import Any

from .report import Results, backward_table, everything, markdown
from .runs import DENSE, Run, Setting, perform_all, plan, plan_backward, read
from .training import Regime

QUICK = Regime(images=399, steps=45, batch=32, refresh=12)
CHOSEN_BY = (DENSE, "2:4")
COLUMNS = (*Run._fields, "accuracy", "loss")
STATISTICS = ("retained", "density", "optimal", "flipped")


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m examples.table_a4", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny data that masksolve ships, two seeds")
    parser.add_argument("--data", help="fashion (the default), shipped (with --quick), or a folder")
    parser.add_argument("--validation", action="store_true", help="what settings are chosen by: dense, 2:4")
    parser.add_argument("--backward", action="store_true", help="compare ways to sparse backward products")
    parser.add_argument("--seeds", type=int, help="how many (default 10, 2 with --quick)")
    parser.add_argument("--steps", type=int, help="training steps, if not the usual ones")
    parser.add_argument("--processes", type=int, default=1, help="of one thread each")
    parser.add_argument(
        "--out", type=Path, default=Path("build/table_a4"), help="folder; runs found there are kept"
    )
    parser.add_argument(
        "--figures", type=Path, help="folder for the figures (matplotlib) and the runs as CSV"
    )
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> None:
    """Train what is missing, then show the tables and draw the figures."""
    arguments = parse(words)
    if arguments.figures and importlib.util.find_spec("matplotlib") is None:
        raise SystemExit("--figures needs matplotlib: pip install matplotlib")
    arguments.out.mkdir(parents=True, exist_ok=True)
    setting = _setting(arguments)
    planned = plan_backward if arguments.backward else plan
    runs = planned(range(arguments.seeds or (2 if arguments.quick else 10)))
    if arguments.validation:
        runs = [run for run in runs if run.rule in CHOSEN_BY]
    file = arguments.out / "runs.jsonl"
    begun = time.perf_counter()
    for count, line in enumerate(perform_all(runs, setting, file, processes=arguments.processes), 1):
        print(
            f"{count:>4} of at most {len(runs)}, {time.perf_counter() - begun:6.0f} s: {line['mode']:>7} "
            f"{line['rule']:<14} {line['solver']:<6} seed {line['seed']}: {line['accuracy']:.2f} %",
            flush=True,
        )
    lines = [line for line in read(file, setting) if Run(*(line[name] for name in Run._fields)) in set(runs)]
    if arguments.validation:
        print(_listed(lines))
        return
    heading = f"\n{setting.regime}\n{setting.data}, {setting.part} images\n\n"
    if arguments.backward:
        print(heading + backward_table(lines))
        return
    results = Results(lines)
    print(heading + everything(results))
    if arguments.figures:
        _draw(results, lines, arguments.figures)


def _setting(arguments: argparse.Namespace) -> Setting:
    regime = QUICK if arguments.quick else Regime()
    if arguments.steps:
        regime = Regime(**{**vars(regime), "steps": arguments.steps})
    data = arguments.data or ("shipped" if arguments.quick else "fashion")
    return Setting(data, regime, "validation" if arguments.validation else "test", arguments.out)


def _listed(lines: list[dict[str, Any]]) -> str:
    rows = [[*Run._fields, "accuracy"]]
    return markdown(rows + [[str(line[name]) for name in rows[0]] for line in sorted(lines, key=_run)])


def _run(line: dict[str, Any]) -> Run:
    return Run(*(line[name] for name in Run._fields))


def _draw(results: Results, lines: list[dict[str, Any]], folder: Path) -> None:
    from . import plots

    folder.mkdir(parents=True, exist_ok=True)
    plots.diversity(results, folder / "accuracy_diversity.svg")
    plots.solvers(results, folder / "accuracy_solvers.svg")
    with (folder / "accuracy_runs.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*COLUMNS, *STATISTICS])
        for line in sorted(lines, key=_run):
            last = [f"{line[name][-1]:.5f}" if line[name] else "" for name in STATISTICS]
            table.writerow([*(line[name] for name in COLUMNS), *last])


if __name__ == "__main__":
    main()
