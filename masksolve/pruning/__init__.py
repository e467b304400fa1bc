"""What scores and repaired weights come from: arrays in, arrays out.

::

    calibration data -> statistics.py -> a Gram matrix
    saliency.py          weights -> scores                 (public face: masksolve.saliency)
    reconstruction.py    weights -> mask, repaired weights (public face: masksolve.reconstruction)
        admm.py sparsegpt.py least_squares.py adam.py        one method each
        layer.py recipe.py                                   a whole layer by one object of settings
    unbiased.py          gradients -> fewer, right on average (public face: masksolve.unbiased)
    layer_problem.py     the checks and the scaling that the methods share
    projection.py        the way to `masksolve.solve`
    space.py             library, device and precision
    blas.py              threads of the linear algebra behind NumPy
"""
