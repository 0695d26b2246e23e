"""The function for a single product."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

import numpy as np

from planmath.core import remembered
from planmath.core.execution import Execution
from planmath.core.options import as_given
from planmath.linalg.advanced.algorithm import Algorithm
from planmath.linalg.advanced.enums import MatmulEpilog
from planmath.linalg.advanced.operation import Matmul
from planmath.linalg.advanced.options import (
    MatmulOptions,
    MatmulOptionsDict,
    MatmulPlanPreferences,
    MatmulPlanPreferencesDict,
    MatmulQuantizationScales,
    MatmulQuantizationScalesDict,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from planmath.linalg.advanced.options import MatmulArguments

#: The package's own type, of operands and result.
A = TypeVar("A")


@overload
def matmul(
    a: NDArray[Any], b: NDArray[Any], /, c: Any = None, *, epilog: None = None, **arguments: Unpack[MatmulArguments]
) -> NDArray[Any]: ...
@overload
def matmul(a: A, b: A, /, c: Any = None, *, epilog: None = None, **arguments: Unpack[MatmulArguments]) -> A: ...
@overload  # with auxiliary results a tuple
def matmul(
    a: Any, b: Any, /, c: Any = None, *, epilog: MatmulEpilog | None, epilog_inputs: dict[str, Any] | None = None,
    **arguments: Unpack[MatmulArguments],
) -> Any: ...  # fmt: skip
def matmul(
    a: Any,
    b: Any,
    /,
    c: Any = None,
    *,
    alpha: complex | None = None,
    beta: complex | None = None,
    epilog: MatmulEpilog | None = None,
    epilog_inputs: dict[str, Any] | None = None,
    qualifiers: np.ndarray | None = None,
    quantization_scales: MatmulQuantizationScales | MatmulQuantizationScalesDict | dict[str, Any] | None = None,
    options: MatmulOptions | MatmulOptionsDict | dict[str, Any] | None = None,
    execution: Execution | str | dict[str, Any] | None = None,
    preferences: MatmulPlanPreferences | MatmulPlanPreferencesDict | dict[str, Any] | None = None,
    algorithm: Algorithm | None = None,
    stream: Any = None,
    out: Any = None,
) -> Any:
    """Multiply matrices once: ``epilog(alpha * a @ b + beta * c)``.

    Parameters
    ----------
    a, b, c, alpha, beta, qualifiers, quantization_scales, options, execution, stream
        As for `Matmul`.
    epilog, epilog_inputs, preferences
        As for `Matmul.plan`.
    algorithm : Algorithm, optional
        The one to use.
    out : array, or tuple of array and dict, optional
        Where to put the result: with the layout that `Matmul.empty_result` gives.

    Returns
    -------
    array, or tuple of array and dict
        As for `Matmul.execute`.

    Examples
    --------
    >>> import numpy as np
    >>> from planmath.linalg.advanced import matmul
    >>> matmul(np.array([[1.0, 2], [3, 4]]), np.array([1.0, -1]), alpha=2)
    array([-2., -2.])
    """
    options, key = as_given(MatmulOptions, options), None
    if all(x is None for x in (c, qualifiers, quantization_scales, algorithm, preferences)):
        inputs = epilog_inputs or {}
        arrays = (a, b, *inputs.values()) if isinstance(inputs, dict) else (a, b, inputs)
        key = remembered.key_of("matmul", arrays, execution, options, alpha, epilog, tuple(inputs))
    return remembered.run_once(
        key,
        lambda: Matmul(
            a, b, c, alpha=alpha, beta=beta, qualifiers=qualifiers, quantization_scales=quantization_scales,
            options=options, execution=execution, stream=stream,
        ),
        lambda product: product.plan(
            preferences=preferences, algorithms=algorithm, epilog=epilog, epilog_inputs=epilog_inputs, stream=stream
        ),
        lambda product: product.reset_operands(a=a, b=b, epilog_inputs=epilog_inputs),
        None if stream is None and out is None else lambda product: product.execute(stream=stream, out=out),
    )  # fmt: skip
