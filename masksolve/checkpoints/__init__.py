"""Files and folders of weights: planned, pruned tensor by tensor, resumed, and proven again.

::

    folder.py ─► formats.py ─► entries.py      what there is to read, and its bytes
        │
    selection.py ─► plan.py                    which tensors, which pattern, why not
        │
    work.py                                    the unit of work: a part of a tensor, done anywhere
        │
    run.py ─► journal.py, output.py            handing out, writing down, putting in place
        │
    report.py, page.py, certificates.py, verifying.py, packing.py

    allocating.py, dense_grid.py               which tensor keeps how many, and which tiles all, for one total
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from ..budgets import Allocation, DenseTiles
from ..packing.metadata import Encoding
from ..pattern import Pattern
from . import packing, run, verifying
from .allocating import allocate_plan, dense_plan, recipe_text
from .folder import open_checkpoint
from .plan import Plan, make_plan
from .report import Report, TensorReport
from .run import Progress
from .selection import Selection, read_recipe

__all__ = [
    "Plan",
    "Progress",
    "Report",
    "TensorReport",
    "allocate",
    "dense_tiles",
    "pack",
    "plan",
    "prune",
    "recipe_text",
    "verify",
]


def plan(
    source: str | Path,
    pattern: Pattern | str | None = None,
    *,
    recipe: str | Path | Mapping[str, Any] | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    axes: tuple[int, int] | None = None,
    backend: str = "auto",
    options: Mapping[str, Any] | None = None,
) -> Plan:
    """Say what `prune` would do with every tensor, and why; reads headers only and writes nothing.

    Parameters
    ----------
    source, pattern, recipe, include, exclude, axes, backend, options
        As in `prune`.

    Returns
    -------
    Plan
        ``steps`` (one a tensor: ``entry``, ``pattern`` or ``skipped``), ``bytes``, and ``seconds()``,
        which solves a sample and estimates the rest.

    Raises
    ------
    CheckpointError
        If the source cannot be read, or every tensor would be left alone.
    """
    if pattern is None and recipe is None:
        raise ValueError("pattern must be given, or a recipe that names patterns; got neither")
    rules = () if recipe is None else read_recipe(Path(recipe) if isinstance(recipe, str) else recipe)
    checkpoint = open_checkpoint(Path(source))
    selection = Selection(
        pattern=None if pattern is None else Pattern.parse(pattern),
        rules=rules,
        include=tuple(include),
        exclude=tuple(exclude),
        axes=axes,
        config=checkpoint.config,
    )
    return make_plan(checkpoint, selection, {"backend": backend, **(options or {})})


def allocate(
    source: str | Path,
    pattern: Pattern | str,
    *,
    sparsity: float | None = None,
    choices: Sequence[int] | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    axes: tuple[int, int] | None = None,
    backend: str = "auto",
    workers: int = 1,
    options: Mapping[str, Any] | None = None,
    progress: verifying.Told | None = None,
) -> Allocation:
    """Choose how many of every m weights each tensor of a checkpoint keeps, so that most is kept in all.

    The scores are the magnitudes. Tensors are read in parts of a few megabytes, and nothing is written;
    the allocation's ``recipe()`` is one for `prune`.

    Parameters
    ----------
    source, include, exclude, axes, backend, workers, options
        As in `prune`.
    pattern, sparsity, choices
        As in `masksolve.allocate`; the sparsity is that of the tensors that are pruned.
    progress : callable, optional
        Called with a tensor's name, and how many bytes of how many are done.

    Returns
    -------
    Allocation

    Raises
    ------
    CheckpointError
        If something cannot be read, or every tensor would be left alone.
    ValueError
        If the sparsity cannot be reached, or `masksolve.solve` refuses a tensor, which the message names.
    """
    made = plan(
        source, pattern, include=include, exclude=exclude, axes=axes, backend=backend, options=options
    )
    return allocate_plan(made, sparsity=sparsity, choices=choices, workers=workers, progress=progress)


def dense_tiles(
    source: str | Path,
    pattern: Pattern | str,
    *,
    share: float | None = None,
    sparsity: float | None = None,
    tile: int | tuple[int, int] = 128,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    backend: str = "auto",
    workers: int = 1,
    options: Mapping[str, Any] | None = None,
    progress: verifying.Told | None = None,
) -> DenseTiles:
    """Choose the tiles of all tensors of a checkpoint that stay dense, so that most is kept in all.

    The scores are the magnitudes. Tensors are read in parts of a few megabytes, and nothing is written; the
    result has no masks, but a ``recipe()`` for `prune`, which names the dense tiles of every tensor.

    Parameters
    ----------
    source, include, exclude, backend, workers, options
        As in `prune`.
    pattern, share, sparsity, tile
        As in `masksolve.dense_tiles`; share and sparsity are those of the tensors that are pruned.
    progress : callable, optional
        Called with a tensor's name, and how many bytes of how many are done.

    Returns
    -------
    DenseTiles

    Raises
    ------
    CheckpointError
        If something cannot be read, every tensor would be left alone, or one is no matrix.
    ValueError
        If an argument is not what it should be, or `masksolve.solve` refuses a tensor; the message names it.
    """
    made = plan(source, pattern, include=include, exclude=exclude, backend=backend, options=options)
    sizes = (tile, tile) if isinstance(tile, int) else tile
    return dense_plan(made, sizes, share=share, sparsity=sparsity, workers=workers, progress=progress)


def prune(
    source: str | Path,
    target: str | Path,
    pattern: Pattern | str | None = None,
    *,
    recipe: str | Path | Mapping[str, Any] | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    axes: tuple[int, int] | None = None,
    backend: str = "auto",
    options: Mapping[str, Any] | None = None,
    workers: int = 1,
    executor: Executor | None = None,
    resume: bool = True,
    force: bool = False,
    certificate: str | Path | None = None,
    worst: bool = False,
    progress: run.Listener | None = None,
) -> Report:
    """Write a checkpoint in which the weights that an optimal mask drops are zero.

    The scores are the magnitudes. Kept weights, other tensors and metadata stay as they are, bit for
    bit. Tensors are read, solved and written in parts of a few megabytes, so that memory depends on the
    number of workers and not on the checkpoint.

    Parameters
    ----------
    source : str or Path
        A ``.safetensors``, ``.npy``, ``.npz``, ``.pt``, ``.pth`` or ``.bin`` file, a folder of such
        files, or a folder's ``*.index.json``. Only ever read.
    target : str or Path
        A file with the suffix of ``source``, or a folder; appears in one step when it is complete.
        Files of torch become ``.safetensors``.
    pattern : Pattern or str, optional
        For all tensors that ``recipe`` does not name.
    recipe : str, Path or mapping, optional
        Patterns by glob on tensor names, first match first; a TOML file holds them in ``[patterns]``.
        `allocate` and `dense_tiles` find some.
    include, exclude : sequence of str
        Globs on tensor names. Embeddings, heads, norms and routers are pruned only if a glob names
        them, as ``"lm_head*"`` does and ``"*"`` does not.
    axes : (int, int), optional
        Row and column axis of tensors with more than two axes. Stacks of experts need none.
    backend, options
        A backend of `masksolve.solve` and its options.
    workers : int
        Threads that solve; -1 for all processors. The output does not depend on it.
    executor : concurrent.futures.Executor, optional
        Does the work instead of threads of this process. Its workers must see the same paths.
    resume : bool
        Go on with what an earlier run with the same arguments has finished. False: begin anew, and
        leave nothing behind on failure.
    force : bool
        Allow ``target`` to be ``source`` itself, or an earlier output of other settings.
    certificate : str or Path, optional
        File that receives the proof, for `verify`.
    worst : bool
        Also note the tile of each tensor that keeps least, for the page of a report.
    progress : callable, optional
        Called with a `Progress` in the caller's thread.

    Returns
    -------
    Report

    Raises
    ------
    CheckpointError
        If something cannot be read, written or gone on with; nothing stands under ``target`` then that
        did not before.
    ValueError
        If `masksolve.solve` refuses a tensor, which the message names.
    """
    made = plan(
        source,
        pattern,
        recipe=recipe,
        include=include,
        exclude=exclude,
        axes=axes,
        backend=backend,
        options=options,
    )
    return run.carry_out(
        made,
        Path(target),
        workers=workers,
        executor=executor,
        resume=resume,
        force=force,
        certificate=None if certificate is None else Path(certificate),
        worst=worst,
        progress=progress,
    )


def verify(
    path: str | Path,
    pattern: Pattern | str | None = None,
    *,
    recipe: str | Path | Mapping[str, Any] | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    axes: tuple[int, int] | None = None,
    exactly: bool = False,
    certificate: str | Path | None = None,
    original: str | Path | None = None,
    progress: verifying.Told | None = None,
) -> verifying.Findings:
    """Check the non-zeros of a checkpoint against a pattern, or prove its masks optimal again.

    Parameters
    ----------
    path : str or Path
        As ``source`` of `prune`.
    pattern, recipe, include, exclude, axes
        As in `prune`. Without a pattern and a recipe, those that the folder's own ``masksolve.json`` names.
    exactly : bool
        Also count groups with fewer non-zeros than the pattern keeps. A kept weight may be zero.
    certificate, original : str or Path
        The certificate that `prune` wrote, and the checkpoint before pruning: every mask is proven
        again from them, in NumPy and without a solver; ``pattern`` and the like play no part.
    progress : callable, optional
        Called with a tensor's name, and how much of everything is done.

    Returns
    -------
    Findings
        ``ok``, and one row a tensor: ``tensors``, or ``proofs`` with a certificate.

    Raises
    ------
    CheckpointError
        If something cannot be read, or there is nothing to check.
    """
    if certificate is not None:
        before = None if original is None else Path(original)
        return verifying.Findings(
            proofs=verifying.check_certificate(Path(path), Path(certificate), before, progress)
        )
    made = _plan_of_pruned(path, pattern, recipe=recipe, include=include, exclude=exclude, axes=axes)
    if not exactly:
        made = verifying.at_most(made)
    return verifying.Findings(verifying.check_patterns(made, progress))


def pack(
    path: str | Path,
    target: str | Path,
    pattern: Pattern | str | None = None,
    *,
    recipe: str | Path | Mapping[str, Any] | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    axes: tuple[int, int] | None = None,
    encoding: Encoding = "positions",
    align: int = 8,
) -> dict[str, dict[str, Any]]:
    """Write the values that pruned tensors keep, and their positions as streams of bits, for hardware.

    Parameters
    ----------
    path, pattern, recipe, include, exclude, axes
        As in `verify`: the pruned checkpoint, and which of its tensors follow which pattern.
    target : str or Path
        A ``.safetensors`` file, which is made in memory; `masksolve.checkpoints.packing` says what it holds.
    encoding, align
        As in `masksolve.hardware.metadata`.

    Returns
    -------
    dict
        How to read each tensor, by name, as the file says it, too.

    Raises
    ------
    CheckpointError
        If something cannot be read or written, or a tensor does not follow its pattern.
    """
    made = _plan_of_pruned(path, pattern, recipe=recipe, include=include, exclude=exclude, axes=axes)
    return packing.write_packed(made, Path(target), encoding, align)


def _plan_of_pruned(
    path: str | Path,
    pattern: Pattern | str | None,
    *,
    recipe: str | Path | Mapping[str, Any] | None,
    **choice: Any,
) -> Plan:
    """Plan by the patterns that are given, or else by those that the folder's ``masksolve.json`` names."""
    if pattern is None and recipe is None:
        return verifying.published_plan(Path(path))
    return plan(path, pattern, recipe=recipe, **choice)
