"""Triangular systems: products with the inverse of a triangular matrix, which is never formed."""

from __future__ import annotations

from typing import Any

import numpy as np

from planmath.core import remembered
from planmath.core.execution import Execution
from planmath.core.options import as_given
from planmath.core.typed import A_co, of_two
from planmath.linalg.generic.operation import Matmul
from planmath.linalg.generic.options import MatmulOptions, MatmulOptionsDict
from planmath.linalg.generic.problem import ProductProblem
from planmath.linalg.generic.qualifiers import (
    GeneralMatrixQualifier,
    MatrixQualifier,
    TriangularMatrixQualifier,
    matrix_qualifiers_dtype,
)

#: The letters of the qualifiers of triangular matrices, however they are stored.
TRIANGULAR = ("tr", "tb", "tp")


class TriangularSolver(Matmul[A_co]):
    """The solution of ``a @ x = alpha * b`` for a triangular matrix, planned once and executed many times.

    Parameters
    ----------
    a : array
        Triangular matrices (..., n, n), of which one triangle is read.
    b : array
        Right-hand sides (n,) or (..., n, m), of a's dtype and package. Batch shapes broadcast as NumPy's do.
    alpha : number, optional
        Default: 1.
    qualifier : numpy.ndarray, optional
        One element of `matrix_qualifiers_dtype`: what `TriangularMatrixQualifier.create` returns. Default: the lower
        triangle is read, and the diagonal with it. Those of `TriangularBandedMatrixQualifier` and
        `TriangularPackedMatrixQualifier` are for matrices in band and in packed storage.
    options : MatmulOptions or dict, optional
        Without `inplace`.
    execution : {'cpu', 'cuda'}, dict, ExecutionCPU or ExecutionCUDA, optional
        Where to compute. Default: where the operands are.
    stream : object, optional
        CUDA stream; without effect on the CPU.

    Raises
    ------
    TypeError, ValueError
        If the arguments do not describe triangular systems.

    Notes
    -----
    A 0 on the diagonal is divided by, as in BLAS: the solution then has infinities or NaN. So it has where a library
    multiplies by the reciprocal of an element on the diagonal that is out of range, as those of subnormal numbers are;
    `DirectSolver` looks at its solutions, and solves such systems as well. Systems with ``a.T``, or
    with x on the left side, are those of transposed arrays with the other triangle.

    Examples
    --------
    >>> import numpy as np
    >>> from planmath.linalg import TriangularSolver
    >>> with TriangularSolver(np.array([[2.0, np.nan], [1, 4]]), np.array([2.0, 9])) as solver:
    ...     solver.plan()
    ...     first = solver.execute()
    ...     solver.reset_operands(b=np.array([4.0, 2]))
    ...     second = solver.execute()
    >>> first
    array([1., 2.])
    >>> second
    array([2., 0.])
    """

    noun = "TriangularSolver"

    def __init__(
        self,
        a: Any,
        b: A_co,
        /,
        *,
        alpha: complex | None = None,
        qualifier: MatrixQualifier | None = None,
        options: MatmulOptions | MatmulOptionsDict | dict[str, Any] | None = None,
        execution: Execution | str | dict[str, Any] | None = None,
        stream: Any = None,
    ):
        element = TriangularMatrixQualifier.create() if qualifier is None else np.asarray(qualifier)
        fits = element.dtype == matrix_qualifiers_dtype and element.shape == ()
        if not fits or str(element["abbreviation"]) not in TRIANGULAR:
            raise ValueError(
                f"qualifier is {qualifier!r}; expected what TriangularMatrixQualifier.create() returns, or that of "
                "TriangularBandedMatrixQualifier or TriangularPackedMatrixQualifier"
            )
        both = np.array([element, GeneralMatrixQualifier.create()], matrix_qualifiers_dtype)
        super().__init__(a, b, alpha=alpha, qualifiers=both, options=options, execution=execution, stream=stream)

    def _specified(self, problem: ProductProblem) -> ProductProblem:
        return problem._replace(a=problem.a._replace(structure=problem.a.structure._replace(inverse=True)))


@of_two
def triangular_solve(
    a: Any,
    b: Any,
    /,
    *,
    alpha: complex | None = None,
    qualifier: MatrixQualifier | None = None,
    options: MatmulOptions | MatmulOptionsDict | dict[str, Any] | None = None,
    execution: Execution | str | dict[str, Any] | None = None,
    stream: Any = None,
) -> Any:
    """Solve triangular systems once: ``a @ x = alpha * b``.

    Parameters
    ----------
    a, b, alpha, qualifier, options, execution, stream
        As for `TriangularSolver`.

    Returns
    -------
    array
        x, of b's shape with the batch of both, in the order of b.

    Examples
    --------
    >>> import numpy as np
    >>> from planmath.linalg import FillMode, TriangularMatrixQualifier, triangular_solve
    >>> upper = TriangularMatrixQualifier.create(uplo=FillMode.UPPER)
    >>> triangular_solve(np.array([[2.0, 1], [0, 4]]), np.array([4.0, 8]), qualifier=upper)
    array([1., 2.])
    """
    options = as_given(MatmulOptions, options)
    known = None if qualifier is None else np.asarray(qualifier).tobytes()
    key = remembered.key_of("triangular solve", (a, b), execution, options, known)
    return remembered.run_once(
        key,
        lambda: TriangularSolver(
            a, b, alpha=alpha, qualifier=qualifier, options=options, execution=execution, stream=stream
        ),
        lambda solver: solver.plan(stream=stream),
        lambda solver: solver.reset_operands(a=a, b=b, alpha=1 if alpha is None else alpha),
        None if stream is None else lambda solver: solver.execute(stream=stream),
    )
