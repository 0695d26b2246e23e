"""Doors that programs already stand at: planmath behind the interfaces of other packages.

Each module is imported by itself, with the package that it is for:

=============== ===================================================================================================
module          what it is
=============== ===================================================================================================
`scipy_fft`     a backend of `scipy.fft`
`numpy_fft`     the functions of `numpy.fft` by name
`scipy_sparse`  `spsolve`, `factorized`, and inverses as SciPy's linear operators
`opt_einsum`    what opt_einsum asks of a backend; `planmath.tensor.einsum` has NumPy's signature
`torch`         products, transforms and contractions with gradients, for `torch.compile`, `vmap` and `torch.export`
`jax`           transforms and products for `jax.jit`, `vmap` and `grad`, on the CPU
`array_api`     planmath's functions on any arrays that speak DLPack, such as JAX's
=============== ===================================================================================================
"""
