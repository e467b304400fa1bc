"""Chains of like blocks in a model, such as the layers of a transformer, found by their structure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import nn
from torch.nn.parameter import is_lazy


class Chain(NamedTuple):
    """Blocks that run one after another, each on what the one before it gave.

    Attributes
    ----------
    name : str
        Of the container in the model.
    names : tuple of str
        Of the blocks in the model.
    blocks : tuple of Module
    """

    name: str
    names: tuple[str, ...]
    blocks: tuple[nn.Module, ...]

    def holds(self, layer: str) -> bool:
        """Whether a layer of this name is in one of the blocks."""
        return any(layer == name or layer.startswith(f"{name}.") for name in self.names)


def has_matrix(module: nn.Module) -> bool:
    """Whether a parameter of the module's own is a matrix, or may be one where it has no values yet."""
    return any(is_lazy(each) or each.ndim > 1 for each in module.parameters(recurse=False))


def find_chains(model: nn.Module, blocks: str | Sequence[str] | bool = True) -> list[Chain]:
    """Find the chains of blocks in a model.

    Parameters
    ----------
    model : Module
    blocks : bool, str or sequence of str
        True finds every ModuleList or Sequential of at least two modules of the same class that hold
        layers with matrices and are none themselves, the outermost of them. Names of such containers say
        which to take. False takes none.

    Raises
    ------
    TypeError, ValueError
        If ``blocks`` is something else, or names what is no container of blocks.
    """
    if isinstance(blocks, bool):
        return list(_found(model)) if blocks else []
    names = [blocks] if isinstance(blocks, str) else list(blocks)
    modules = dict(model.named_modules())
    chains = []
    for name in names:
        container = modules.get(name)
        if not isinstance(container, (nn.ModuleList, nn.Sequential)) or not len(container):
            raise ValueError(
                f"blocks must be True, False or names of ModuleLists or Sequentials in the model, such as "
                f"{[chain.name for chain in _found(model)] or 'model.layers'}, got {name!r}"
            )
        chains.append(_chain(name, container))
    return chains


def _found(model: nn.Module) -> Iterator[Chain]:
    taken: list[str] = []
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in taken if outer) or "" in taken
        if inside or not isinstance(module, (nn.ModuleList, nn.Sequential)):
            continue
        if _alike(list(module)):
            taken.append(name)
            yield _chain(name, module)


def _alike(children: list[nn.Module]) -> bool:
    return (
        len(children) > 1
        and len({id(child) for child in children}) == len(children)
        and len({type(child) for child in children}) == 1
        and not isinstance(children[0], nn.ModuleList)
        and not has_matrix(children[0])
        and all(any(has_matrix(part) for part in child.modules()) for child in children)
    )


def _chain(name: str, container: nn.Module) -> Chain:
    children = tuple(container.children())
    prefix = f"{name}." if name else ""
    return Chain(name, tuple(f"{prefix}{number}" for number, _ in container.named_children()), children)
