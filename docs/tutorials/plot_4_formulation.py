"""
The optimisation problem as an object
=====================================

The linear programme, the flow network and text for other solvers, and what their answers prove. Needs
``pip install "masksolve[highs,networkx,ortools]"``.
"""

# %%
# Choose entries of a tile so that every row and column has n of them, and the sum of their scores is as
# large as possible: a b-matching. Here are two tiles.
import numpy as np
from scipy.optimize import linprog

import masksolve as ms

scores = np.random.default_rng(2).integers(0, 100, (4, 8)).astype(float)
problem = ms.formulation(scores, "2:4-T")
problem

# %%
# The linear programme. Its matrix is the incidence matrix of a bipartite graph, so that vertices are
# integral, and a simplex method ends on a mask.
lp = problem.lp()
bounds = np.stack([lp.lower, lp.upper], axis=1)
found = linprog(lp.costs, A_eq=lp.matrix, b_eq=lp.most, bounds=bounds, method="highs-ds")
mask = problem.mask(found.x)
values = set(np.round(found.x, 9).tolist())
print(lp.matrix.shape, "keeps", -found.fun, "with x in", values)

# %%
# HiGHS' marginals are dual prices. masksolve takes them like its own, and what they prove is computed in
# NumPy:
marginals = -found.eqlin.marginals.reshape(2, 8)  # two tiles: four rows, four columns
prices = ms.Prices(rows=marginals[:, :4], columns=marginals[:, 4:])
proof = ms.recompute_certificate(scores, mask, "2:4-T", prices)
print(proof)

# %%
# The flow network: units flow from rows to columns. Flow solvers want integers, so costs are rounded to
# as many bits as asked for.
import networkx as nx

network = problem.network(bits=30)
cost, flow = nx.network_simplex(network.networkx())
print("networkx keeps", -cost / network.scale)
print(network.mask(flow).astype(int))

# %%
# The same as text, for solvers that are not written in Python: DIMACS for flows, MPS for linear programmes.
print("\n".join(network.dimacs().splitlines()[:12]))
print("\n".join(problem.mps().splitlines()[:12]))

# %%
# And masksolve itself, which uses that tiles are small and many:
result = ms.solve(scores, "2:4-T")
assert result.objective == -found.fun
result
