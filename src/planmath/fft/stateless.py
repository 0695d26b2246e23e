"""The functions for single use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from planmath.core import remembered
from planmath.core.arrays import COMPLEX_OF, REAL_OF, WIDER, package_of
from planmath.core.execution import Execution, resolve_execution
from planmath.core.options import as_given, as_options
from planmath.core.typed import of_one
from planmath.fft.callbacks import borrowed, said, with_callbacks
from planmath.fft.operation import FFT
from planmath.fft.options import FFTOptions, FFTOptionsDict
from planmath.fft.problem import unsupported_dtype


@of_one
def fft(
    operand: Any,
    /,
    *,
    axes: Sequence[int] | None = None,
    direction: Any = None,
    options: FFTOptions | FFTOptionsDict | dict[str, Any] | None = None,
    execution: Execution | str | dict[str, Any] | None = None,
    prolog: Any = None,
    epilog: Any = None,
    stream: Any = None,
    check_dtype: str | None = None,
    out: Any = None,
) -> Any:
    """Transform a complex array, forward unless `direction` says otherwise.

    Parameters
    ----------
    operand : numpy.ndarray, cupy.ndarray or torch.Tensor
        complex64 or complex128, of any shape and strides; on CUDA devices complex32 too.
    axes, options, execution, stream
        As for `FFT`.
    direction : FFTDirection, {'forward', 'inverse'} or {-1, 1}, optional
        Default: forward.
    prolog, epilog : DeviceCallable or dict, optional
        Callbacks, which take the place of loading and storing each element; see `compile_prolog` and `compile_epilog`.
    check_dtype : {'complex', 'real'}, optional
        Which operands to accept. Default: complex.
    out : array, optional
        Where to put the result: with the layout that `FFT.empty_result` gives.

    Returns
    -------
    array
        Of the operand's shape, dtype and package.

    Examples
    --------
    >>> import numpy as np, planmath
    >>> planmath.fft.fft(np.array([0, 1, 0, 0j])).round(3)
    array([ 1.+0.j,  0.-1.j, -1.+0.j,  0.+1.j])
    """
    direction = -1 if direction is None else direction
    return _single(
        "fft", check_dtype or "complex", operand, axes, direction, options, execution, prolog, epilog, stream, out
    )


@of_one
def ifft(
    operand: Any,
    /,
    *,
    axes: Sequence[int] | None = None,
    direction: Any = None,
    options: FFTOptions | FFTOptionsDict | dict[str, Any] | None = None,
    execution: Execution | str | dict[str, Any] | None = None,
    prolog: Any = None,
    epilog: Any = None,
    stream: Any = None,
    check_dtype: str | None = None,
    out: Any = None,
) -> Any:
    """Transform a complex array, inverse unless `direction` says otherwise. The result is not scaled.

    Parameters are those of `fft`.

    Examples
    --------
    >>> import numpy as np, planmath
    >>> a = np.array([1, 2, 3, 4j])
    >>> np.allclose(planmath.fft.ifft(planmath.fft.fft(a)) / a.size, a)
    True
    """
    direction = 1 if direction is None else direction
    return _single(
        "ifft", check_dtype or "complex", operand, axes, direction, options, execution, prolog, epilog, stream, out
    )


@of_one
def rfft(
    operand: Any,
    /,
    *,
    axes: Sequence[int] | None = None,
    options: FFTOptions | FFTOptionsDict | dict[str, Any] | None = None,
    execution: Execution | str | dict[str, Any] | None = None,
    prolog: Any = None,
    epilog: Any = None,
    stream: Any = None,
    out: Any = None,
) -> Any:
    """Transform a real array; the result has the half of the spectrum that determines the other.

    Parameters are those of `fft`, the operand being float32 or float64, or on CUDA devices float16.

    Returns
    -------
    array
        Complex, with ``n // 2 + 1`` elements along the last transformed axis.

    Examples
    --------
    >>> import numpy as np, planmath
    >>> planmath.fft.rfft(np.array([1.0, 2, 3, 4]))
    array([10.+0.j, -2.+2.j, -2.+0.j])
    """
    return _single("rfft", "real", operand, axes, None, options, execution, prolog, epilog, stream, out)


@of_one
def irfft(
    operand: Any,
    /,
    *,
    axes: Sequence[int] | None = None,
    options: FFTOptions | FFTOptionsDict | dict[str, Any] | None = None,
    execution: Execution | str | dict[str, Any] | None = None,
    prolog: Any = None,
    epilog: Any = None,
    stream: Any = None,
    out: Any = None,
) -> Any:
    """Transform a half spectrum back into a real array. The result is not scaled.

    Parameters are those of `fft`. Whether the result has an even or an odd number of elements along the last
    transformed axis is ``options.last_axis_parity``. The operand need not be Hermitian-symmetric: it is transformed as
    complex along the other axes, and then along the last one, which ignores the imaginary parts of its first element
    and, for an even number of results, of its last.

    Examples
    --------
    >>> import numpy as np, planmath
    >>> planmath.fft.irfft(planmath.fft.rfft(np.array([1.0, 2, 3, 4]))) / 4
    array([1., 2., 3., 4.])
    >>> planmath.fft.irfft(np.array([10 + 5j, -2 + 2j, -2 + 7j])) / 4
    array([1., 2., 3., 4.])
    """
    return _single("irfft", "complex", operand, axes, None, options, execution, prolog, epilog, stream, out)


def _single(
    name: str, domain: str, operand: Any, axes: Any, direction: Any, options: Any, execution: Any, prolog: Any,
    epilog: Any, stream: Any, out: Any = None,
) -> Any:  # fmt: skip
    """The transform of a stateless call."""
    if prolog is not None or epilog is not None:
        given = prolog, epilog
        return _single_with_callbacks(name, domain, operand, axes, direction, options, execution, given, stream, out)
    options = as_given(FFTOptions, options)
    chosen = None if axes is None else tuple(axes) if hasattr(axes, "__iter__") else axes
    key = remembered.key_of(name, (operand,), execution, options, direction, domain, chosen)
    return remembered.run_once(
        key,
        lambda: _specified(name, domain, operand, axes, options, execution),
        lambda transform: transform.plan(direction=direction, stream=stream),
        lambda transform: transform.reset_operand(operand),
        None if stream is None and out is None else lambda transform: transform.execute(stream=stream, out=out),
    )


def _single_with_callbacks(
    name: str, domain: str, operand: Any, axes: Any, direction: Any, options: Any, execution: Any,
    given: tuple[Any, Any], stream: Any, out: Any,
) -> Any:  # fmt: skip
    """The same with callbacks. The plan may be left to the next call, and must not hold what is the user's."""
    options = as_given(FFTOptions, options)
    callbacks = said("prolog", given[0]), said("epilog", given[1])
    chosen = tuple(axes) if hasattr(axes, "__iter__") else axes

    def plan(transform: FFT) -> None:
        problem = with_callbacks(transform._problem, *given)
        transform._plan_for(borrowed(problem), stream, direction)

    return remembered.run_once(
        remembered.key_of(name, (operand,), execution, options, direction, domain, chosen, callbacks),
        lambda: _specified(name, domain, operand, axes, options, execution),
        plan,
        lambda transform: transform.reset_operand(operand),
        None if stream is None and out is None else lambda transform: transform.execute(stream=stream, out=out),
    )


#: What to do with an operand of the other domain.
INSTEAD = {
    ("fft", "complex"): "use rfft(), or convert it to complex",
    ("ifft", "complex"): "convert it to complex",
    ("irfft", "complex"): "use rfft() to transform real values, or convert it to complex",
    ("rfft", "real"): "use fft(), or transform its real part",
    ("fft", "real"): "leave check_dtype away",
    ("ifft", "real"): "leave check_dtype away",
}


def _specified(name: str, domain: str, operand: Any, axes: Any, options: Any, execution: Any) -> FFT:
    chosen = as_options(FFTOptions, options)
    layout = package_of(operand, "operand").layout(operand, "operand")
    dtype = layout.dtype
    if domain not in ("complex", "real"):
        raise ValueError(f"check_dtype is {domain!r}; expected 'complex' or 'real'")
    expected, others = (REAL_OF, COMPLEX_OF) if domain == "complex" else (COMPLEX_OF, REAL_OF)
    if dtype in others:
        mend = INSTEAD[name, domain]
        if dtype in WIDER and resolve_execution(execution, layout.memory_space, layout.device_id).space == "cpu":
            wider = WIDER[dtype]  # half precision is for devices
            mend = f"convert it to {COMPLEX_OF[wider] if domain == 'complex' else REAL_OF[wider]}"
        raise ValueError(f"{name}() got an operand of dtype {dtype}; expected a {domain} one: {mend}")
    if dtype not in expected:
        raise ValueError(unsupported_dtype(dtype, f"{name}() got an operand of dtype {dtype}", domain))
    if name == "irfft":
        chosen = replace(chosen, fft_type=chosen.fft_type or "C2R")
    return FFT(operand, axes=axes, options=chosen, execution=execution)
