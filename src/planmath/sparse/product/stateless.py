"""The sparse product for single use, which leaves its plan to the next call of the same kind."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np

from planmath.core import remembered
from planmath.core.execution import Execution
from planmath.core.options import as_given
from planmath.core.typed import of_one_that_is_sparse
from planmath.sparse.product.operands import Taken, take
from planmath.sparse.product.operation import Matmul
from planmath.sparse.product.options import MatmulOptions, MatmulOptionsDict
from planmath.sparse.product.problem import summary


@of_one_that_is_sparse
def matmul(
    a: Any,
    b: Any,
    /,
    c: Any = None,
    *,
    alpha: complex | None = None,
    beta: complex | None = None,
    qualifiers: Any = None,
    prologs: Mapping[str, Any] | None = None,
    epilog: Callable[[Any], Any] | None = None,
    semiring: Any = None,
    compute_capability: Any = None,
    options: MatmulOptions | MatmulOptionsDict | dict[str, Any] | None = None,
    execution: Execution | str | dict[str, Any] | None = None,
    stream: Any = None,
) -> Any:
    """Multiply tensors, some of which are sparse, once: ``alpha * a @ b + beta * c``.

    Parameters
    ----------
    a, b, c, alpha, beta, qualifiers, options, execution, stream
        As for `Matmul`.
    prologs, epilog, semiring, compute_capability
        As for `Matmul.plan`.

    Returns
    -------
    array
        As for `Matmul.execute`.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp
    >>> from planmath.sparse import matmul
    >>> matmul(sp.csr_array([[0.0, 2], [1, 0]]), np.array([[1.0, 2], [3, 4]]))
    array([[6., 8.],
           [1., 2.]])
    """
    options, key, taken = as_given(MatmulOptions, options), None, None
    try:
        taken = take(a, b, c)
        key = _key(taken, (a, b, c), execution, options, (alpha, beta), qualifiers, prologs, (epilog, semiring))
    except (TypeError, ValueError):  # which creating it explains
        pass
    return remembered.run_once(
        key,
        lambda: Matmul(
            a, b, c, alpha=alpha, beta=beta, qualifiers=qualifiers, options=options, execution=execution, stream=stream
        ),
        lambda product: product.plan(
            prologs=prologs, epilog=epilog, semiring=semiring, compute_capability=compute_capability, stream=stream
        ),
        lambda product: product._take_over(taken),
        None if stream is None else lambda product: product.execute(stream=stream),
    )


def _key(
    taken: Taken, given: tuple[Any, ...], execution: Any, options: Any, factors: tuple[Any, Any], qualifiers: Any,
    prologs: Any, functions: tuple[Any, Any],
) -> Hashable | None:  # fmt: skip
    """What a call has in common with one that can use its plan: all but values, and where entries are.

    A sparse operand with other entries has the plan prepared for them.
    """
    sparse = tuple((name, summary(x)._replace(nse=0, arrays=())) for name, x in taken.sparse.items())
    if prologs is not None:
        prologs = tuple(sorted(prologs.items())) if isinstance(prologs, Mapping) else prologs
    if isinstance(functions[1], Mapping | list):
        return None
    said = None if qualifiers is None else np.asarray(qualifiers).tobytes()
    numbers = tuple((type(x), x) for x in factors)
    # values of the first sparse operand say where it is
    places = [next(iter(taken.sparse.values())).val[:0], *taken.dense.values()]
    return remembered.key_of(
        "sparse matmul", places, execution, options, sparse, tuple(taken.dense), tuple(map(type, given)), numbers, said,
        prologs, functions,
    )
