"""planmath's functions on any arrays that speak DLPack, with results of the same package.

JAX's arrays and those of other packages are taken where they are in memory, on the CPU or a CUDA device, and results
are handed over the same way, without copies; on the CPU read-only memory too. Besides: NumPy's scalars and subclasses
(results are plain arrays), and dask's arrays, which are computed first. What is being traced, as within ``jax.jit``,
has no memory: `planmath.interfaces.jax` has functions for that.

`adapted` makes such a function of any other of planmath's.

Examples
--------
>>> import numpy as np
>>> from planmath.interfaces import array_api
>>> array_api.matmul(np.float64(2) * np.eye(2), np.eye(2))
array([[2., 0.],
       [0., 2.]])
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from planmath import fft as transforms
from planmath import linalg, tensor
from planmath.core.arrays import package_of
from planmath.native.forks import load_module

__all__ = ["adapted", "contract", "fft", "ifft", "irfft", "matmul", "rfft", "solve"]

#: DLPack's numbers of devices: memory of the host, plain and of CUDA's; memory of CUDA devices, and what both reach.
_HOST, _CUDA = (1, 3), (2, 13)


def _namespace(array: Any) -> ModuleType | Any | None:
    """What makes arrays of the same package, where that is one that planmath does not know itself."""
    if isinstance(array, np.ndarray | np.generic | int | float | complex | list | tuple | str | dict) or array is None:
        return None
    if not hasattr(type(array), "__dlpack__"):
        if hasattr(type(array), "__dask_graph__"):
            return load_module("numpy")
        return None
    try:
        package_of(array, "the array")
    except TypeError:
        if hasattr(array, "__array_namespace__"):
            return array.__array_namespace__()
        raise TypeError(
            f"an operand is a {type(array).__module__}.{type(array).__qualname__}, which speaks DLPack, and names no "
            "array namespace to hand results to (__array_namespace__); convert it, for example with numpy.from_dlpack"
        ) from None
    return None


def _taken(array: Any) -> Any:
    """The same memory as an array of NumPy, or of CuPy or PyTorch on a device."""
    if isinstance(array, np.generic):
        return np.asarray(array)
    if hasattr(type(array), "__dask_graph__"):
        return np.asarray(array)
    if _namespace(array) is None:
        return array
    try:
        kind = array.__dlpack_device__()[0]
    except AttributeError:
        raise TypeError(
            f"an operand is a {type(array).__name__}, which has no memory while a program is traced, as in jax.jit, "
            "jax.vmap and jax.grad: planmath.interfaces.jax has functions for that"
        ) from None
    if kind in _HOST:
        return np.from_dlpack(array)
    if kind not in _CUDA:
        raise ValueError(f"an operand is on the device {array.__dlpack_device__()}; expected the CPU or a CUDA device")
    for name in ("cupy", "torch"):
        try:
            return load_module(name).from_dlpack(array)
        except ImportError:
            continue
    raise TypeError("operands of other packages on a CUDA device need CuPy or PyTorch to be taken; install one of them")


def _handed(namespace: Any, result: Any) -> Any:
    """A result as an array of a package."""
    if isinstance(result, tuple):
        return tuple([_handed(namespace, part) for part in result])
    if isinstance(result, dict):
        return {name: _handed(namespace, part) for name, part in result.items()}
    if not hasattr(result, "__dlpack__"):
        return result
    return namespace.from_dlpack(result if all(step > 0 for step in result.strides) else result.copy())


def adapted(function: Callable[..., Any]) -> Callable[..., Any]:
    """A stateless function for arrays of any package.

    Parameters
    ----------
    function : callable
        Of planmath, with arrays as positional arguments, or as values of dictionaries such as ``epilog_inputs``.

    Returns
    -------
    callable
        With the same arguments. Operands of several packages that planmath does not know are an error.
    """

    @functools.wraps(function)
    def of_any(*arguments: Any, **named: Any) -> Any:
        inside = [x for given in named.values() if isinstance(given, dict) for x in given.values()]
        namespaces = [space for x in (*arguments, *named.values(), *inside) if (space := _namespace(x)) is not None]
        if any(space is not namespaces[0] for space in namespaces):
            names = ", ".join(sorted({getattr(space, "__name__", str(space)) for space in namespaces}))
            raise TypeError(f"the operands are of several packages: {names}; convert them to one")
        arguments = tuple([_taken(x) for x in arguments])
        named = {
            name: {key: _taken(x) for key, x in given.items()} if isinstance(given, dict) else _taken(given)
            for name, given in named.items()
        }
        result = function(*arguments, **named)
        return _handed(namespaces[0], result) if namespaces else result

    return of_any


fft, ifft = adapted(transforms.fft), adapted(transforms.ifft)
rfft, irfft = adapted(transforms.rfft), adapted(transforms.irfft)
matmul = adapted(linalg.advanced.matmul)
contract = adapted(tensor.contract)
solve = adapted(linalg.direct_solver)
