"""Products of operands that hypothesis draws: any shape, memory layout, dtype, batch, factors, epilog, provider."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from planmath.linalg.advanced import Matmul, MatmulEpilog, matmul
from planmath.linalg.advanced.providers import PROVIDERS
from tests.arrays import HOST_PACKAGES, package_of
from tests.linalg.operands import (
    COMPLEX,
    DTYPES,
    INTEGER,
    Case,
    dtype_of,
    place,
    poison,
    qualifiers,
    random_values,
    refused,
    wide,
)
from tests.linalg.reference import Reference, assert_near, reference, relu, squeezed
from tests.providers import available, on_host

#: The packages that are here. PyTorch is available as a provider once it is imported.
INSTALLED = [parameter.values[0] for parameter in HOST_PACKAGES if not parameter.marks[0].args[0]]

for _name in INSTALLED:
    import_module(_name)
LIBRARIES = available(on_host(PROVIDERS))


class Drawn(NamedTuple):
    """A multiplication with all that belongs to it."""

    case: Case
    a: Any
    b: Any
    c: Any
    alpha: complex
    beta: complex
    conjugate: tuple[bool, bool, bool]
    threads: int
    options: dict[str, Any]

    @property
    def arguments(self) -> dict[str, Any]:
        given = {
            "alpha": self.alpha,
            "options": self.options,
            "execution": {"name": "cpu", "num_threads": self.threads},
        }
        if self.c is not None:
            given["beta"] = self.beta
        if any(self.conjugate):
            given["qualifiers"] = qualifiers(*self.conjugate)
        return given

    @property
    def expected(self) -> Reference:
        exact = reference(
            self.case, self.a, self.b, self.c, alpha=self.alpha, beta=self.beta, conjugate=self.conjugate
        )  # fmt: skip
        return Reference(*(squeezed(x, self.a, self.b) for x in exact))


@st.composite
def layouts(draw: st.DrawFn, dimensions: int, package: str) -> Any:
    """A function that puts values into memory with gaps, the axes in any order that leaves the matrices usable."""
    batch = draw(st.permutations(range(dimensions - 2))) if dimensions > 2 else []
    matrix = draw(st.permutations(range(max(dimensions - 2, 0), dimensions)))
    slow = draw(st.integers(0, len(batch)))  # how many of the batch axes are slower than the matrices' slower axis
    order = [*batch[:slow], *matrix[:1], *batch[slow:], *matrix[1:]] if len(matrix) > 1 else matrix
    fastest = 1 if dimensions > 1 else draw(st.integers(1, 3))
    steps = {axis: fastest if axis == order[-1] else draw(st.sampled_from((1, 1, 2))) for axis in order}
    if package == "numpy":
        steps |= {axis: steps[axis] * draw(st.sampled_from((1, 1, -1))) for axis in batch}
    extra = draw(st.integers(0, 3))

    def arrange(values: np.ndarray) -> np.ndarray:
        extents = [values.shape[axis] * abs(steps[axis]) for axis in order]
        extents[-1] += extra
        memory = np.full(extents, poison(values.dtype))[..., : extents[-1] - extra]
        view = memory[tuple(slice(None, None, steps[axis]) for axis in order)]
        view = view.transpose([order.index(axis) for axis in range(values.ndim)])
        view[...] = values
        return view

    return arrange


def array_of(draw: st.DrawFn, shape: Sequence[int], dtype: str, result_dtype: str, package: str, scale: float) -> Any:
    values = random_values(shape, dtype, draw(st.integers(0, 1000))) * (1 if dtype in INTEGER else scale)
    return place(values, result_dtype, package, draw(layouts(len(shape), package)))


@st.composite
def products(draw: st.DrawFn, *, add: bool | None = None, inplace: bool = False, real: bool = False) -> Drawn:
    package = draw(st.sampled_from(INSTALLED))
    dtype = draw(st.sampled_from([d for d in DTYPES[package] if not (real and d in (*COMPLEX, *INTEGER))]))
    usable = [
        p for p in LIBRARIES
        if p != "torch" or (package == "torch" and dtype not in INTEGER and not refused(p, package, dtype))
    ]  # fmt: skip
    provider = draw(st.sampled_from([None, *usable]))
    case = Case(provider or "torch", package, dtype)  # of an unknown one, what holds for all
    m, n, k = (draw(st.integers(1, 40)) if draw(st.booleans()) else draw(st.integers(1, 4)) for _ in range(3))
    batch = tuple(draw(st.lists(st.integers(1, 3), max_size=3)))
    batch_a, batch_b = draw(st.sampled_from([(batch, batch), (batch, ()), ((), batch)]))
    shape_a, shape_b = (*batch_a, m, k), (*batch_b, k, n)
    if not batch_a and draw(st.integers(0, 5)) == 0:
        shape_a, m = (k,), 1
    if not batch_b and draw(st.integers(0, 5)) == 0:
        shape_b, n = (k,), 1
    scale = 10.0 ** draw(st.sampled_from((0, -2) if dtype == "float16" else (0, -12, 12)))
    a, b = (array_of(draw, shape, dtype, dtype, package, scale) for shape in (shape_a, shape_b))
    c = None
    if add or inplace or (add is None and draw(st.booleans())):
        full = (*(batch_a or batch_b), m, n)
        shape_c = full if inplace else draw(st.sampled_from([full, (m, n), (m, 1), (*full[:-1], 1)]))
        c = array_of(draw, shape_c, dtype, case.result_dtype, package, scale)
    numbers = st.integers(-3, 3) if dtype in INTEGER else st.sampled_from((1.0, 1.0, 0.0, -1.0, 0.75, -2.5))
    alpha, beta = draw(numbers), draw(numbers)
    conjugate = (False, False, False)
    if dtype in COMPLEX:
        alpha, beta = alpha * draw(st.sampled_from((1, 1j))), beta * draw(st.sampled_from((1, 0.6 - 0.8j)))
        conjugate = (draw(st.booleans()), draw(st.booleans()), draw(st.booleans()) and not inplace and c is not None)
    options = {
        "provider": provider,
        "inplace": inplace,
        "constant": draw(st.sampled_from(((), ("a",), ("b",), ("a", "b")))),
    }
    return Drawn(case, a, b, c, alpha, beta, conjugate, draw(st.integers(1, 2)), options)


def same(array: Any, values: np.ndarray) -> None:
    np.testing.assert_array_equal(wide(array), values)


@given(products(), st.booleans())
def test_against_the_reference(drawn, give_out):
    before = [wide(x) for x in (drawn.a, drawn.b)]
    with Matmul(drawn.a, drawn.b, drawn.c, **drawn.arguments) as mm:
        mm.plan()
        out = mm.empty_result() if give_out else None
        for _ in range(2):
            result = mm.execute(out=out)
            assert out is None or result is out
            assert package_of(result) == drawn.case.package
            assert dtype_of(result) == drawn.case.result_dtype
            assert_near(result, drawn.expected)
    same(drawn.a, before[0])
    same(drawn.b, before[1])


@given(products(inplace=True))
def test_in_place_against_the_reference(drawn):
    with Matmul(drawn.a, drawn.b, drawn.c, **drawn.arguments) as mm:
        mm.plan()
        exact = reference(
            drawn.case, drawn.a, drawn.b, drawn.c, alpha=drawn.alpha, beta=drawn.beta, conjugate=drawn.conjugate
        )  # fmt: skip
        assert mm.execute() is drawn.c
        assert_near(drawn.c, exact)


@given(products(real=True), st.booleans(), st.data())
def test_relu_and_bias_against_the_reference(drawn, with_bias, data):
    """ReLU makes no error larger, and the mask says where its operand was positive, unless that is in doubt."""
    exact = reference(drawn.case, drawn.a, drawn.b, drawn.c, alpha=drawn.alpha, beta=drawn.beta)
    m = exact.values.shape[-2]
    inputs = None
    if with_bias:
        bias = drawn.case.operand((m,), seed=data.draw(st.integers(0, 9)))
        inputs = {"bias": bias}
        column = wide(bias)[:, None]
        roundoff = exact.bound.max() * 0 + float(np.spacing(np.float32(1))) * (drawn.case.dtype != "float64")
        exact = Reference(
            exact.values + column, exact.bound + (abs(exact.values) + 2 * abs(column)) * max(roundoff, 2.0**-52)
        )
        if drawn.case.dtype in ("float16", "bfloat16"):
            exact = exact._replace(
                bound=exact.bound + abs(exact.values) * 2.0 ** (-8 if drawn.case.dtype == "bfloat16" else -11)
            )
    epilog = MatmulEpilog.RELU_BIAS if with_bias else MatmulEpilog.RELU
    result = matmul(drawn.a, drawn.b, drawn.c, **drawn.arguments, epilog=epilog, epilog_inputs=inputs)
    assert_near(result, Reference(*(squeezed(x, drawn.a, drawn.b) for x in (relu(exact.values), exact.bound))))
    if drawn.c is not None and drawn.c.shape[-1] > 1:
        return  # it may be row-major, which a mask cannot be
    epilog = MatmulEpilog.RELU_AUX_BIAS if with_bias else MatmulEpilog.RELU_AUX
    _, auxiliary = matmul(drawn.a, drawn.b, drawn.c, **drawn.arguments, epilog=epilog, epilog_inputs=inputs)
    bits = np.unpackbits(np.asarray(auxiliary["relu_aux"]), axis=-2, bitorder="little")
    sure = abs(exact.values) > exact.bound
    assert ((bits[..., :m, :] == (exact.values > 0)) | ~sure).all()
    assert not bits[..., m:, :].any()


@given(products(add=False))
def test_transposed_product_of_transposed_operands(drawn):
    """(A B)ᵀ = Bᵀ Aᵀ, within the bounds of both."""
    if drawn.a.ndim < 2 or drawn.b.ndim < 2:
        return
    there = matmul(drawn.a, drawn.b, **drawn.arguments)
    swapped = drawn._replace(conjugate=(drawn.conjugate[1], drawn.conjugate[0], False))
    options = swapped.arguments | {"options": drawn.options | {"constant": ()}}
    back = matmul(drawn.b.swapaxes(-1, -2), drawn.a.swapaxes(-1, -2), **options)
    assert (abs(wide(there) - wide(back).swapaxes(-1, -2)) <= 2 * drawn.expected.bound).all()


@given(products(add=False))
def test_identity(drawn):
    """Multiplying by 1 changes nothing, in any dtype, layout or library."""
    if drawn.a.ndim < 2 or drawn.case.dtype in INTEGER:
        return
    identity = drawn.case.like(np.eye(drawn.a.shape[-1]))
    flags = (drawn.conjugate[0], False, False)
    options = drawn._replace(conjugate=flags, alpha=1.0).arguments
    same(matmul(drawn.a, identity, **options), np.conj(wide(drawn.a)) if flags[0] else wide(drawn.a))


@given(products(add=False), st.sampled_from([np.nan, np.inf, -np.inf]), st.data())
def test_nan_and_infinity_pass_through(drawn, value, data):
    """From one element to its row of the product, and nowhere else."""
    if drawn.a.ndim < 2 or drawn.case.dtype in INTEGER or drawn.alpha == 0:
        return
    i, j = (data.draw(st.integers(0, extent - 1)) for extent in drawn.a.shape[-2:])
    drawn.a[..., i, j] = value
    result = matmul(drawn.a, drawn.b, **drawn.arguments)
    finite = np.isfinite(wide(result))
    row = finite[..., i] if drawn.b.ndim == 1 else finite[..., i, :]
    assert not row.any()
    assert np.delete(finite, i, -1 if drawn.b.ndim == 1 else -2).all()
