"""Which tensors are pruned, under which pattern, and why the others are not."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..pattern import Pattern
from ..roles import inputs_come_first, is_expert_stack, role_of
from .dense_grid import DenseGrid, grid_of
from .entries import WIDTHS, Entry
from .folder import check_existence

Axes = tuple[int, int]


@dataclass(frozen=True)
class Rule:
    """A line of a recipe: the pattern (None: leave dense) of tensors whose name matches a glob."""

    glob: str
    pattern: Pattern | None
    axes: Axes | None = None
    dense: DenseGrid | None = None

    def as_json(self) -> list[Any]:
        """Everything that it says."""
        known: list[Any] = [self.glob, str(self.pattern or "dense"), self.axes]
        return known if self.dense is None else [*known, self.dense.as_json()]


@dataclass(frozen=True)
class Treatment:
    """How a tensor is pruned.

    Attributes
    ----------
    pattern : Pattern
    order : tuple of int
        Axes of the tensor in an order that ends with the rows and columns of its matrices.
    dense : DenseGrid or None
        Tiles that are left alone; they are then tiles of the tensor's one matrix.
    """

    pattern: Pattern
    order: tuple[int, ...]
    dense: DenseGrid | None = None


@dataclass(frozen=True)
class Selection:
    """The choice of tensors.

    Attributes
    ----------
    pattern : Pattern or None
        For tensors that no rule matches; None: those stay dense.
    rules : tuple of Rule
        The first that matches counts.
    include, exclude : tuple of str
        Globs on tensor names; an empty ``include`` admits every name, ``exclude`` wins.
    axes : (int, int) or None
        Row and column axis of tensors with more than two axes, the others being a batch. None: only
        stacks of experts are pruned among those, on their last two axes.
    config : mapping
        The model's ``config.json``.
    """

    pattern: Pattern | None
    rules: tuple[Rule, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    axes: Axes | None = None
    config: Mapping[str, Any] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """Everything that decides about tensors, as JSON can hold it."""
        return {
            "pattern": None if self.pattern is None else str(self.pattern),
            "recipe": [rule.as_json() for rule in self.rules],
            "include": list(self.include),
            "exclude": list(self.exclude),
            "axes": None if self.axes is None else list(self.axes),
        }

    def treat(self, entry: Entry, *, named: bool = True) -> Treatment | str:
        """Say how a tensor is pruned, or why it is left alone.

        Parameters
        ----------
        entry : Entry
        named : bool
            Whether the name is the tensor's own. The only tensor of a ``.npy`` file is called after
            the file, which says nothing about what it is for.
        """
        rule = next((rule for rule in self.rules if fnmatchcase(entry.name, rule.glob)), None)
        pattern = self._chosen(entry.name, rule)
        if isinstance(pattern, str):
            return pattern
        if entry.dtype not in WIDTHS:
            lost = " (bfloat16? NumPy files lose its name)" if entry.dtype == "|V2" else ""
            return f"dtype {entry.dtype}{lost} is not float8, float16, bfloat16, float32 or float64"
        count = len(entry.shape)
        if count < 2:
            return f"{count} axes" if count != 1 else "1 axis"
        role = role_of(entry.name) if named else None
        globs = (*self.include, *(() if rule is None else (rule.glob,)))
        if role is not None and not any(
            role_of(glob) == role and fnmatchcase(entry.name, glob) for glob in globs
        ):
            return role
        axes = (rule.axes if rule is not None else None) or self.axes
        return _lay(entry, pattern, axes, self.config, None if rule is None else rule.dense)

    def _chosen(self, name: str, rule: Rule | None) -> Pattern | str:
        """Give the pattern that options and recipe choose for a name, or why they choose none."""
        if self.include and not _matches(name, self.include):
            return "not included"
        if _matches(name, self.exclude):
            return "excluded"
        pattern = self.pattern if rule is None else rule.pattern
        if pattern is None:
            return "no line of the recipe matches" if rule is None else "dense in the recipe"
        return pattern


def _lay(
    entry: Entry,
    pattern: Pattern,
    axes: Axes | None,
    config: Mapping[str, Any],
    dense: DenseGrid | None = None,
) -> Treatment | str:
    """Lay a pattern on the matrices of a tensor, or say why it does not fit."""
    count = len(entry.shape)
    if count == 2:
        axes = (0, 1)
    elif axes is None and count == 3 and is_expert_stack(entry.name):
        axes = (1, 2)
    if axes is None:
        return f"{count} axes (see --axes)"
    row, column = axes
    if not (-count <= row < count and -count <= column < count and (row - column) % count):
        return f"has no two axes {row},{column}"
    matrix = (row % count, column % count)
    order = (*(axis for axis in range(count) if axis not in matrix), *matrix)
    if not pattern.transposable and pattern.axis == -1 and inputs_come_first(entry.name, config):
        if pattern.vector is not None:
            return "stored (inputs, outputs), whose transpose V:N:M would prune"
        pattern = replace(pattern, axis=-2)
    shape = tuple(entry.shape[axis] for axis in order)
    misfit = pattern.misfit(shape)
    if misfit is not None:
        return misfit.reason
    unfit = None if dense is None else dense.misfit(pattern, shape)
    return unfit or Treatment(pattern, order, dense)


def read_recipe(recipe: Path | Mapping[str, Any]) -> tuple[Rule, ...]:
    """Read rules: a table of patterns by glob, from a mapping or a TOML file.

    The table ``[patterns]`` of the file is read from top to bottom, and the first glob that matches a
    tensor's name counts. A value is a pattern, ``"dense"``, or a table with ``pattern`` and ``axes``, or with
    ``pattern``, ``dense`` and ``tile`` (see `masksolve.checkpoints.dense_tiles`).

    Raises
    ------
    CheckpointError
        If the file cannot be read as TOML or holds anything else.

    Examples
    --------
    >>> [str(rule.pattern) for rule in read_recipe({"*.mlp.*": "4:8-T", "*": "dense"})]
    ['4:8-T', 'None']
    """
    if isinstance(recipe, Mapping):
        return tuple(_rule("recipe", glob, value) for glob, value in recipe.items())
    check_existence(recipe, "recipe")
    try:
        table = tomllib.loads(recipe.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"recipe '{recipe}': {error.strerror or error}") from error
    except ValueError as error:
        raise CheckpointError(f"recipe '{recipe}' must be TOML: {error}") from error
    if set(table) != {"patterns"} or not isinstance(table["patterns"], dict):
        raise CheckpointError(
            f"recipe '{recipe}' must hold one table [patterns] with lines such as '\"*.mlp.*\" = \"4:8-T\"', "
            f"got {', '.join(table) or 'nothing'}"
        )
    return tuple(_rule(f"recipe '{recipe}'", glob, value) for glob, value in table["patterns"].items())


def _rule(where: str, glob: str, value: object) -> Rule:
    table = value if isinstance(value, Mapping) else {"pattern": value}
    axes: Any = table.get("axes")
    if set(table) - {"pattern", "axes", "dense", "tile"} or not (axes is None or _are_axes(axes)):
        raise CheckpointError(
            f"{where}: {glob!r} must be a pattern, 'dense', or a table such as "
            f"{{pattern = '2:4', axes = [0, 1]}}; got {value!r}"
        )
    dense = grid_of(f"{where}: {glob!r}", table)
    pattern = table.get("pattern")
    try:
        parsed = None if pattern == "dense" else Pattern.parse(pattern)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{where}: {glob!r}: {error}") from error
    if parsed is None and dense is not None:
        raise CheckpointError(f"{where}: {glob!r}: dense and tile go with a pattern for the other tiles")
    return Rule(glob, parsed, None if axes is None else (axes[0], axes[1]), dense)


def _are_axes(axes: object) -> bool:
    return isinstance(axes, list | tuple) and len(axes) == 2 and all(type(axis) is int for axis in axes)


def _matches(name: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)
