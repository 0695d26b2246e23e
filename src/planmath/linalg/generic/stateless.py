"""The function for a single product."""

from __future__ import annotations

from typing import Any

import numpy as np

from planmath.core import remembered
from planmath.core.execution import Execution
from planmath.core.options import as_given
from planmath.core.typed import of_two_or_lists
from planmath.linalg.generic.operation import Matmul
from planmath.linalg.generic.options import MatmulOptions, MatmulOptionsDict
from planmath.linalg.generic.qualifiers import MatrixQualifier


@of_two_or_lists
def matmul(
    a: Any,
    b: Any,
    /,
    c: Any = None,
    *,
    alpha: complex | None = None,
    beta: complex | None = None,
    qualifiers: MatrixQualifier | None = None,
    options: MatmulOptions | MatmulOptionsDict | dict[str, Any] | None = None,
    execution: Execution | str | dict[str, Any] | None = None,
    stream: Any = None,
) -> Any:
    """Multiply matrices once: ``alpha * a @ b + beta * c``.

    Parameters
    ----------
    a, b, c, alpha, beta, qualifiers, options, execution, stream
        As for `Matmul`.

    Returns
    -------
    array
        As for `Matmul.execute`; a list of them for lists.

    Examples
    --------
    >>> import numpy as np
    >>> from planmath.linalg import DiagonalMatrixQualifier, GeneralMatrixQualifier, matmul, matrix_qualifiers_dtype
    >>> qualifiers = np.full(2, GeneralMatrixQualifier.create(), dtype=matrix_qualifiers_dtype)
    >>> qualifiers[0] = DiagonalMatrixQualifier.create()
    >>> matmul(np.array([1.0, 10]), np.array([[1.0, 2], [3, 4]]), qualifiers=qualifiers)
    array([[ 1.,  2.],
           [30., 40.]])
    """
    options, key = as_given(MatmulOptions, options), None
    if not isinstance(a, list | tuple) and not isinstance(qualifiers, list | tuple):
        known = None if qualifiers is None else np.asarray(qualifiers).tobytes()
        arrays = (a, b) if c is None else (a, b, c)
        base = getattr(b, "base", None)  # whether b may be a.T
        one = base is not None and (base is a or base is getattr(a, "base", None))
        key = remembered.key_of("generic matmul", arrays, execution, options, known, one)
    return remembered.run_once(
        key,
        lambda: Matmul(
            a, b, c, alpha=alpha, beta=beta, qualifiers=qualifiers, options=options, execution=execution, stream=stream
        ),
        lambda product: product.plan(stream=stream),
        lambda product: product.reset_operands(
            a=a, b=b, c=c, alpha=1 if alpha is None else alpha, beta=beta if c is not None else None
        ),
        None if stream is None else lambda product: product.execute(stream=stream),
    )
