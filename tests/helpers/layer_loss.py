"""Layers to prune, their loss, and ADMM spelled out in NumPy without any shortcut, to measure ours by."""

import numpy as np

import masksolve as ms


def reference(w, hessian, pattern, damping=0.01, rho=0.1, most=100):
    """The mask of ALPS (Meng et al., NeurIPS 2024) by an eigendecomposition, without any shortcut."""
    hessian = hessian + damping * np.trace(hessian) / len(hessian) * np.eye(len(hessian))
    root = np.sqrt(np.diag(hessian))
    a, h = w * root, hessian / np.outer(root, root)
    values, vectors = np.linalg.eigh(h)
    mask = old = ms.solve(a * a, pattern).mask
    b, v = a * mask, np.zeros_like(a)
    for step in range(1, most + 1):
        x = (a @ h - v + rho * b) @ vectors / (values + rho) @ vectors.T
        y = x + v / rho
        mask = ms.solve(y * y, pattern).mask
        b = y * mask
        v = v + rho * (x - b)
        if step % 3 == 0:
            changed = (mask & ~old).sum() / mask.sum()
            if not changed:
                break
            rho *= 1.3 if changed >= 0.1 else 1.2 if changed >= 0.005 else 1.1
            old = mask
    return by_rows(w, mask, hessian), mask


def by_rows(w, mask, hessian):
    """Least squares of every row by its normal equations."""
    found = np.zeros_like(w)
    for row, kept in enumerate(mask):
        found[row, kept] = np.linalg.lstsq(hessian[np.ix_(kept, kept)], hessian[kept] @ w[row])[0]
    return found


def correlated(seed, outputs, inputs, samples=300):
    """Weights, and inputs of very different size that depend on each other."""
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((inputs, inputs)) * np.geomspace(0.02, 3, inputs)[:, None]
    x = rng.standard_normal((samples, inputs)) @ mix * np.exp(rng.standard_normal(inputs))
    return rng.standard_normal((outputs, inputs)), x


def damped_error(w, found, hessian):
    change = found.astype(np.float64) - w
    h = hessian + 0.01 * np.trace(hessian) / len(hessian) * np.eye(len(hessian))
    return float(np.sum(change @ h * change))
