"""What other tools and papers call things, for errors that guess what was meant."""

ARGUMENTS_ELSEWHERE = {
    "solver": "backend",
    "method": "backend",
    "criterion": "score",
    "abs": "score",
    "threads": "workers",
    "n_jobs": "workers",
    "timeout": "time_limit",
    "callback": "progress",
    "verbose": "progress",
    "init": "warm_start",
    "forced": "keep",
}
"""What other tools call an argument of `masksolve.solve`."""

BACKENDS_ELSEWHERE = {
    "scipy": "highs",
    "linprog": "highs",
    "milp": "highs",
    "gurobi": "highs",
    "cplex": "highs",
    "cp-sat": "ortools",
    "google": "ortools",
    "tsenor": "entropic",
    "sinkhorn": "entropic",
    "optimal transport": "entropic",
    "algorithm 1": "cover",
    "2-approximation": "cover",
    "venom": "columns",
    "brute force": "enumerate",
    "optimal": "exact",
    "flow": "exact",
    "cpu": "exact",
    "numpy": "exact",
    "gpu": "auto",
    "cuda": "auto",
    "torch": "auto",
    "jax": "auto",
}
"""What other tools and papers call a method; on a GPU, ``auto`` finds the right one."""
