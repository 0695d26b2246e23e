"""The functions for single contractions of two and three operands."""

from __future__ import annotations

from typing import Any

import numpy as np

from planmath.core import remembered
from planmath.core.execution import Execution
from planmath.core.options import as_given
from planmath.core.typed import of_tensors
from planmath.tensor.operation import BinaryContraction, TernaryContraction
from planmath.tensor.options import ContractionOptions, ContractionOptionsDict


@of_tensors
def binary_contraction(
    expr: Any,
    a: Any,
    b: Any,
    *,
    c: Any = None,
    alpha: complex = 1.0,
    beta: complex | None = None,
    out: Any = None,
    qualifiers: np.ndarray | None = None,
    stream: Any = None,
    options: ContractionOptions | ContractionOptionsDict | dict[str, Any] | None = None,
    execution: Execution | str | dict[str, Any] | None = None,
) -> Any:
    """Contract two tensors once: ``alpha * a b + beta * c``.

    Parameters
    ----------
    expr, a, b, c, out, qualifiers, stream, options, execution
        As for `BinaryContraction`.
    alpha, beta
        As for `BinaryContraction.execute`.

    Returns
    -------
    array

    Examples
    --------
    >>> import numpy as np
    >>> from planmath.tensor import binary_contraction
    >>> binary_contraction("ij,j->i", np.array([[1.0, 2], [3, 4]]), np.array([1.0, -1]), alpha=2)
    array([-2., -2.])
    """
    options, key = as_given(ContractionOptions, options), None
    if out is None and qualifiers is None:
        arrays = (a, b) if c is None else (a, b, c)
        key = remembered.key_of("binary_contraction", arrays, execution, options, expr)
    return remembered.run_once(
        key,
        lambda: BinaryContraction(
            expr, a, b, c=c, out=out, qualifiers=qualifiers, stream=stream, options=options, execution=execution
        ),
        lambda contraction: contraction.plan(stream=stream),
        lambda contraction: contraction.reset_operands(a=a, b=b, c=c),
        lambda contraction: contraction._execute_once(alpha, beta, stream),
    )


@of_tensors
def ternary_contraction(
    expr: Any,
    a: Any,
    b: Any,
    c: Any,
    *,
    d: Any = None,
    alpha: complex = 1.0,
    beta: complex | None = None,
    out: Any = None,
    qualifiers: np.ndarray | None = None,
    stream: Any = None,
    options: ContractionOptions | ContractionOptionsDict | dict[str, Any] | None = None,
    execution: Execution | str | dict[str, Any] | None = None,
) -> Any:
    """Contract three tensors once: ``alpha * a b c + beta * d``.

    Parameters
    ----------
    expr, a, b, c, d, out, qualifiers, stream, options, execution
        As for `TernaryContraction`.
    alpha, beta
        As for `TernaryContraction.execute`.

    Returns
    -------
    array

    Examples
    --------
    >>> import numpy as np
    >>> from planmath.tensor import ternary_contraction
    >>> ternary_contraction("i,ij,j", np.array([1.0, 2]), np.array([[1.0, 2], [3, 4]]), np.array([1.0, 1]))
    array(17.)
    """
    options, key = as_given(ContractionOptions, options), None
    if out is None and qualifiers is None:
        arrays = (a, b, c) if d is None else (a, b, c, d)
        key = remembered.key_of("ternary_contraction", arrays, execution, options, expr)
    return remembered.run_once(
        key,
        lambda: TernaryContraction(
            expr, a, b, c, d=d, out=out, qualifiers=qualifiers, stream=stream, options=options, execution=execution
        ),
        lambda contraction: contraction.plan(stream=stream),
        lambda contraction: contraction.reset_operands(a=a, b=b, c=c, d=d),
        lambda contraction: contraction._execute_once(alpha, beta, stream),
    )
