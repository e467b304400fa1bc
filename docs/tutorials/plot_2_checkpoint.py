"""
Prune a checkpoint
==================

From a file of weights to a pruned one, with the command line and by hand. Needs
``pip install "masksolve[cli,plot]"``.
"""

# %%
# A small trained network comes with the package. Its weights are put into a file as models are published.
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

import masksolve as ms
from masksolve.cli import main

folder = Path(tempfile.mkdtemp())
trained = dict(np.load(str(files("masksolve") / "data" / "digits_mlp.npz")))
save_file(trained, folder / "model.safetensors")
print({name: array.shape for name, array in trained.items()})


# %%
# On a command line this would be
#
# .. code-block:: sh
#
#     masksolve prune model.safetensors -o pruned.safetensors --pattern 4:8-T
#     masksolve verify pruned.safetensors --pattern 4:8-T
def command(*words: str) -> None:
    """Do what a shell does with a command."""
    sys.argv = list(words)
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise


command(*f"masksolve prune {folder}/model.safetensors -o {folder}/pruned.safetensors --pattern 4:8-T".split())

# %%
# What went? Layers that the pattern does not fit stay as they were.
pruned = load_file(folder / "pruned.safetensors")
for name, array in pruned.items():
    print(f"{name:<4} {array.shape!s:<12} {np.mean(array == 0):.0%} zeros")

# %%
# The same in Python, for one layer, with a picture of where the magnitude went.
name = max(trained, key=lambda each: trained[each].size if trained[each].ndim == 2 else 0)
result = ms.solve(trained[name], "4:8-T", score="magnitude")
print(f"{name}: {result.retained(trained[name]):.1%} of the magnitude is left")
ms.plot.retained(trained[name], result)

# %%
# Whoever receives the file checks it without knowing how it was made. Weights that happen to be zero must
# not count against it, hence ``at_most``.
print(ms.verify(pruned[name], "4:8-T at_most"))

# %%
# Next: a few samples repair much of what pruning breaks, see the pages on pruning without training.
