"""What follows the product: activations, bias, and what the backward pass needs."""

from __future__ import annotations

import decimal
from decimal import Decimal
from itertools import product
from typing import Any

import numpy as np
import pytest

from planmath.core.errors import UnavailableError
from planmath.linalg.advanced import Matmul, MatmulComputeType, MatmulEpilog, matmul
from planmath.linalg.advanced.epilog import EPILOGS
from tests.arrays import DEVICE, package_of, strides_of, to_numpy
from tests.linalg.operands import (
    REAL,
    Case,
    cases,
    column_major,
    dtype_of,
    on_host,
    padded_columns,
    padded_rows,
    place,
    repeated,
    row_major,
    spread,
    wide,
)
from tests.linalg.reference import (
    DEVICE_GELU,
    DEVICE_GELU_DERIVATIVE,
    ROUNDOFF,
    SMALLEST,
    SUMMED,
    assert_near,
    gamma,
    gelu,
    gelu_bound,
    gelu_derivative,
    gelu_derivative_bound,
    reference,
    relu,
)

E = MatmulEpilog
REAL_CASES = pytest.mark.parametrize("case", cases(*REAL))
EVERY_EPILOG = pytest.mark.parametrize("epilog", [e for e in E if e is not E.DEFAULT], ids=lambda e: e.name)
SHAPES = [
    ((13, 21), (21, 9)), ((21,), (21, 9)), ((13, 21), (21,)), ((1, 4), (4, 1)), ((3, 13, 21), (3, 21, 9)),
    ((3, 5, 4), (4, 6)), ((5, 4), (2, 3, 4, 6)),
]  # fmt: skip


def round_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def pack(bits: np.ndarray) -> np.ndarray:
    """The mask: bit i % 8, the lowest first, of byte i // 8 in a column stands for row i; whole lines of 128 rows."""
    *batch, m, n = bits.shape
    rows = np.zeros((*batch, round_up(m, 128), n), bool)
    rows[..., :m, :] = bits
    return column_major(np.packbits(rows, axis=-2, bitorder="little"))


def unpack(mask: Any, m: int) -> np.ndarray:
    """The first m rows' bits; on the host, all others must be 0."""
    bits = np.unpackbits(to_numpy(mask), axis=-2, bitorder="little").astype(bool)
    assert package_of(mask) in DEVICE or not bits[..., m:, :].any()
    return bits[..., :m, :]


def passed(z: np.ndarray, *, on_device: bool) -> np.ndarray:
    """Whose bit ReLU sets: what it lets pass; on a device, all that is not negative, so zeros and NaN as well."""
    return ~(z < 0) if on_device else z > 0


def assert_mask(mask: Any, z: np.ndarray) -> None:
    bits = unpack(mask, z.shape[-2])
    np.testing.assert_array_equal(bits, passed(z, on_device=package_of(mask) in DEVICE))


def pad(values: np.ndarray) -> np.ndarray:
    """GELU's input as the backward epilog takes it: a multiple of 8 rows."""
    *batch, m, n = values.shape
    rows = np.zeros((*batch, round_up(m, 8), n))
    rows[..., :m, :] = values
    return rows


def inner_dtype(case: Case) -> str:
    """The dtype in which the epilog is computed."""
    return "float64" if case.dtype == "float64" else "float32"


class Forward:
    """A multiplication of integers, which is exact, and what an epilog should make of it."""

    def __init__(
        self, case: Case, epilog: E, shape_a: tuple[int, ...], shape_b: tuple[int, ...], c: str = "", seed: int = 0
    ):
        self.case, self.epilog = case, epilog
        self.batch = shape_a[:-2] or shape_b[:-2]
        self.m = shape_a[-2] if len(shape_a) > 1 else 1
        self.n = shape_b[-1] if len(shape_b) > 1 else 1
        self.shape = (*self.batch, self.m, self.n)
        self.a = case.exact(shape_a, seed=seed)
        self.b = case.exact(shape_b, column_major, seed=seed + 1)
        a, b = np.atleast_2d(wide(self.a)), wide(self.b)
        self.product = a @ (b[:, None] if b.ndim == 1 else b)
        self.c, self.scales = None, {}
        if c:
            shape, layout = {
                "column": ((self.m, 1), row_major),
                "matrix": ((self.m, self.n), column_major),
                "batch": (self.shape, padded_columns),
                "row-major": (self.shape, padded_rows),
            }[c]
            self.c = case.exact(shape, layout, seed=seed + 2)
            self.scales = {"alpha": -2, "beta": 3}
            self.product = -2 * self.product + 3 * wide(self.c)
        rng = np.random.default_rng(seed + 3)
        self.z = rng.integers(-5, 6, self.shape) / 2
        self.in_half = False
        self.inputs: dict[str, Any] = {}
        for name in EPILOGS[epilog].inputs:
            self.inputs[name] = {
                "bias": lambda: case.exact((self.m,), seed=seed + 4),
                "relu_aux": lambda: case.like(pack(self.z > 0), "uint8", column_major),
                "gelu_aux": lambda: case.like(pad(self.z), None, column_major),
            }[name]()

    def run(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        self.in_half = options.get("compute_type") == MatmulComputeType.COMPUTE_16F
        result = matmul(
            self.a, self.b, self.c, **self.scales, epilog=self.epilog, epilog_inputs=self.inputs or None,
            options=self.case.options | options,
        )  # fmt: skip
        return result if isinstance(result, tuple) else (result, {})

    def check(self, result: Any, auxiliary: dict[str, Any], what: object = "") -> None:
        case, name, m = self.case, self.epilog.name, self.m
        before = self.product + (wide(self.inputs["bias"]).reshape(-1, 1) if "bias" in self.inputs else 0)
        bound = np.zeros(self.shape)
        inner = inner_dtype(case)
        if name.startswith("RELU"):
            expected = relu(before)
        elif name.startswith("GELU"):
            expected, bound = gelu(before), gelu_bound(before, inner, on_device=case.on_device)
        elif name.startswith("DRELU"):
            expected = np.where(self.z > 0, before, 0)
        elif name.startswith("DGELU"):
            expected = before * gelu_derivative(self.z)
            of_derivative = gelu_derivative_bound(self.z, inner, on_device=case.on_device)
            bound = abs(before) * of_derivative + ROUNDOFF[inner] * abs(expected)
        else:
            expected = before
        rounded = bound + (bound > 0) * (ROUNDOFF[case.dtype] * abs(expected) + SMALLEST[case.dtype])
        assert dtype_of(result) == case.dtype, what
        error = abs(wide(result).reshape(self.shape) - expected)
        assert (error <= rounded).all(), (what, float((error / np.maximum(rounded, 1e-300)).max()))
        assert tuple(auxiliary) == EPILOGS[self.epilog].auxiliary, what
        for key, array in auxiliary.items():
            assert package_of(array) == case.package
            if key == "relu_aux":
                self.check_layout(array, "uint8", round_up(m, 128) // 8)
                assert_mask(array, before)
            elif key == "gelu_aux":
                self.check_layout(array, case.dtype, round_up(m, 8))
                np.testing.assert_array_equal(wide(array)[..., :m, :], before)
            else:
                self.check_sums(key, array, expected, bound)

    def check_layout(self, array: Any, dtype: str, rows: int) -> None:
        assert dtype_of(array) == dtype
        assert tuple(array.shape) == (*self.batch, rows, self.n)
        steps = [rows * self.n * int(np.prod(self.batch[axis + 1 :])) for axis in range(len(self.batch))]
        assert strides_of(array) == (*steps, 1, rows)

    def check_sums(self, name: str, array: Any, d: np.ndarray, bound: np.ndarray) -> None:
        """Over the result's columns; or over k, of the operand."""
        a, b = np.atleast_2d(wide(self.a)), wide(self.b)
        sums, extent = {
            "bgrada": (a.sum(-1), self.m), "bgradb": ((b[:, None] if b.ndim == 1 else b).sum(-2), self.n),
        }.get(name, (d.sum(-1), self.m))  # fmt: skip
        assert dtype_of(array) == self.case.dtype
        assert tuple(array.shape) == ((*self.batch, extent, 1) if self.batch else (extent,))
        assert sorted(strides_of(array), reverse=True)[-1] == 1
        u = ROUNDOFF["float16"] if self.in_half and self.case.on_device else SUMMED[self.case.dtype]
        tolerance = bound.sum(-1) + gamma(self.n, u) * abs(d).sum(-1) if bound.any() else 0
        sums = np.broadcast_to(sums, (*self.batch, extent))
        rounding = (
            ROUNDOFF[self.case.dtype] * abs(sums) if self.case.dtype in ("float16", "bfloat16") or bound.any() else 0
        )
        error = abs(wide(array).reshape(sums.shape) - sums)
        assert (error <= tolerance + rounding).all(), name


@pytest.mark.pairwise
@REAL_CASES
@EVERY_EPILOG
def test_every_epilog(case, epilog):
    """On products of integers, which are exact: so are masks, and all results but those of GELU."""
    for shape_a, shape_b in SHAPES:
        forward = Forward(case, epilog, shape_a, shape_b)
        forward.check(*forward.run(), what=(shape_a, shape_b))


@pytest.mark.pairwise
@REAL_CASES
@EVERY_EPILOG
def test_scaling_and_adding_come_first(case, epilog):
    kind = EPILOGS[epilog]
    for shape_a, shape_b in SHAPES[::2]:
        for c in ("column", "matrix", "batch", "row-major"):
            forward = Forward(case, epilog, shape_a, shape_b, c)
            single = forward.m == 1 or forward.n == 1
            if c == "row-major" and (kind.auxiliary or kind.mask) and not single:
                with pytest.raises(ValueError, match=r"c is row-major.*needs a column-major one"):
                    forward.run()
                continue
            forward.check(*forward.run(), what=(shape_a, shape_b, c))


@pytest.mark.pairwise
@REAL_CASES
@EVERY_EPILOG
def test_in_place(case, epilog):
    kind = EPILOGS[epilog]
    for (shape_a, shape_b), c in product(
        [((13, 21), (21, 9)), ((3, 5, 4), (4, 6)), ((7, 5), (5, 1))], ["batch", "row-major"]
    ):
        forward = Forward(case, epilog, shape_a, shape_b, c)
        if c == "row-major" and (kind.auxiliary or kind.mask):
            with pytest.raises(ValueError, match=r"c is row-major.*needs a column-major one"):
                forward.run(inplace=True)
            continue
        result, auxiliary = forward.run(inplace=True)
        assert result is forward.c
        forward.check(result, auxiliary, what=(shape_a, c))


@pytest.mark.parametrize("case", cases("float32", "float16"))
def test_shapes_and_strides_of_bias(case):
    a, b = case.exact((2, 3, 5, 4)), case.exact((4, 6), seed=1)
    for shape in (5,), (5, 1), (2, 3, 5, 1):
        for layout in (row_major, lambda values: spread(values, 3), padded_rows):
            bias = case.exact(shape, layout, seed=2)
            with Matmul(a, b, options=case.options) as mm:
                mm.plan(epilog=E.BIAS, epilog_inputs={"bias": bias})
                out = mm.empty_result()
                out[...] = float("nan")  # new memory may hold the same result of the layout before
                result = mm.execute(out=out)
                context = f"{shape} {layout} {mm!r}"
            expected = wide(a) @ wide(b) + (wide(bias)[:, None] if len(shape) == 1 else wide(bias))
            np.testing.assert_array_equal(wide(result), expected, context)
    bias = case.exact((1,), seed=2)
    result = matmul(a, b, epilog=E.BIAS, epilog_inputs={"bias": repeated(bias, (5,))}, options=case.options)
    np.testing.assert_array_equal(wide(result), wide(a) @ wide(b) + wide(bias))


@pytest.mark.parametrize("case", cases("float32", "float16"))
def test_layouts_of_masks(case):
    """Columns may be further apart than the forward pass made them, or one; and a batch may share one mask."""
    rng = np.random.default_rng(5)
    z = rng.integers(-5, 6, (3, 13, 6)) / 2
    a, b = case.exact((3, 13, 4)), case.exact((3, 4, 6), seed=1)
    plain = wide(a) @ wide(b)
    for shared, layout in product([False, True], [column_major, padded_columns]):
        given = z[0] if shared else z
        mask = case.like(pack(given > 0), "uint8", layout)
        result = matmul(a, b, epilog=E.DRELU, epilog_inputs={"relu_aux": mask}, options=case.options)
        np.testing.assert_array_equal(wide(result), np.where(given > 0, plain, 0))
        state = case.like(pad(given), None, layout)
        result = matmul(a, b, epilog=E.DGELU, epilog_inputs={"gelu_aux": state}, options=case.options)
        assert_derivative(case, result, plain, given)
    column = case.like(pad(z[0, :, :1]))
    result = matmul(a, b, epilog=E.DGELU, epilog_inputs={"gelu_aux": repeated(column, (16, 6))}, options=case.options)
    assert_derivative(case, result, plain, z[0, :, :1])


def assert_derivative(case: Case, result: Any, product: np.ndarray, state: np.ndarray) -> None:
    expected = product * gelu_derivative(state)
    bound = 8 * ROUNDOFF[case.dtype] * abs(expected)
    if case.on_device:
        bound = bound + abs(product) * gelu_derivative_bound(state, inner_dtype(case), on_device=True)
    assert (abs(wide(result) - expected) <= bound).all()


#: Values before the ReLU, and whether they are positive.
SIGNS = [
    (1.0, 1), (-1.0, 0), (0.0, 0), (-0.0, 0), (np.nan, 0), (-np.nan, 0), (np.inf, 1), (-np.inf, 0), (2.0**-14, 1),
    (-(2.0**-14), 0), (60000.0, 1),
]  # fmt: skip


@REAL_CASES
def test_mask_bit_by_bit(case):
    values = np.array([value for value, _ in SIGNS])
    m = 8 * len(SIGNS) + 3
    for shift in range(8):  # each value on each bit of a byte
        column = np.resize(np.roll(values, shift), m)
        bits = np.resize(np.roll([bit for _, bit in SIGNS], shift), m)
        if case.on_device:
            bits = passed(column, on_device=True)
        result, auxiliary = matmul(
            case.like(column[:, None]), case.like([[1.0]]), epilog=E.RELU_AUX, options=case.options
        )  # fmt: skip
        mask = to_numpy(auxiliary["relu_aux"])
        assert mask.shape == (16, 1)
        for i in range(m if case.on_device else 128):
            assert (mask[i // 8, 0] >> (i % 8)) & 1 == (bits[i] if i < m else 0), (i, column[i] if i < m else None)
        expected = np.where(np.isnan(column), np.nan, np.maximum(wide(case.like(column)), 0))
        np.testing.assert_array_equal(wide(result)[:, 0], expected)


@pytest.mark.pairwise
@pytest.mark.parametrize("case", cases("float32", "bfloat16"))
@pytest.mark.parametrize("m", [1, 7, 8, 9, 16, 127, 128, 129, 200, 255, 256, 257, 1000])
def test_rows_around_whole_lines(case, m):
    """The columns of the mask are whole lines of 128 bits; forward and backward agree on every number of rows."""
    a, b, bias = case.exact((m, 3)), case.exact((3, 5), seed=1), case.exact((m,), seed=2)
    _, mask = matmul(a, b, epilog=E.RELU_AUX_BIAS, epilog_inputs={"bias": bias}, options=case.options)
    z = wide(a) @ wide(b) + wide(bias)[:, None]
    assert tuple(mask["relu_aux"].shape) == (round_up(m, 128) // 8, 5)
    assert_mask(mask["relu_aux"], z)
    _, sums = matmul(b.T, a.T, epilog=E.BGRADB, options=case.options)
    np.testing.assert_array_equal(wide(sums["bgradb"]), wide(a).sum(-1))
    back, gradient = matmul(a, b, epilog=E.DRELU_BGRAD, epilog_inputs=mask, options=case.options)
    product = wide(a) @ wide(b)
    np.testing.assert_array_equal(wide(back), np.where(passed(z, on_device=case.on_device), product, 0))
    np.testing.assert_array_equal(wide(gradient["drelu_bgrad"]), wide(back).sum(-1))
    _, state = matmul(a, b, epilog=E.GELU_AUX_BIAS, epilog_inputs={"bias": bias}, options=case.options)
    assert tuple(state["gelu_aux"].shape) == (round_up(m, 8), 5)
    np.testing.assert_array_equal(wide(state["gelu_aux"])[:m], z)
    back, _ = matmul(a, b, epilog=E.DGELU_BGRAD, epilog_inputs=state, options=case.options)
    expected = wide(a) @ wide(b) * gelu_derivative(z)
    assert (abs(wide(back) - expected) <= 40 * ROUNDOFF[case.dtype] * abs(wide(a) @ wide(b))).all()


REAL_ON_DEVICE = [p for p in cases(*REAL) if p.values[0].on_device]


@pytest.mark.parametrize("case", REAL_ON_DEVICE)
def test_nan_and_infinity_on_a_device(case):
    """NaN stays NaN, or ReLU makes it 0; of GELU, minus infinity has none but NaN."""
    values, one = case.like(np.array([[np.nan, np.inf, -np.inf]]).T), case.like([[1.0]])
    result = wide(matmul(values, one, epilog=E.RELU, options=case.options))[:, 0]
    assert np.isnan(result[0]) or result[0] == 0
    np.testing.assert_array_equal(result[1:], [np.inf, 0])
    result, auxiliary = matmul(values, one, epilog=E.GELU_AUX, options=case.options)
    np.testing.assert_array_equal(wide(auxiliary["gelu_aux"])[:3], wide(values))
    np.testing.assert_array_equal(wide(result)[:2, 0], [np.nan, np.inf])
    mask = case.like(pack(np.array([[True], [True], [False]])), "uint8", column_major)
    result, sums = matmul(values, one, epilog=E.DRELU_BGRAD, epilog_inputs={"relu_aux": mask}, options=case.options)
    np.testing.assert_array_equal(wide(result)[:, 0], [np.nan, np.inf, 0])
    np.testing.assert_array_equal(wide(sums["drelu_bgrad"]), [np.nan, np.inf, 0])


@pytest.mark.parametrize("case", on_host(*REAL))
def test_nan_and_infinity(case):
    """NaN stays NaN. Infinities become the limits of the functions; a gradient that the mask cuts off is 0."""
    values = case.like(np.array([[np.nan, np.inf, -np.inf]]).T)
    one = case.like([[1.0]])
    for epilog, expected in (
        (E.RELU, [np.nan, np.inf, 0]),
        (E.GELU, [np.nan, np.inf, 0]),
        (E.GELU_AUX, [np.nan, np.inf, 0]),
    ):
        result = matmul(values, one, epilog=epilog, options=case.options)
        auxiliary = {}
        if isinstance(result, tuple):
            result, auxiliary = result
            np.testing.assert_array_equal(wide(auxiliary["gelu_aux"])[:3], wide(values))
        np.testing.assert_array_equal(wide(result)[:, 0], expected)
    ones = case.like(np.ones((3, 1)))
    state = case.like(pad(np.array([[np.nan, np.inf, -np.inf]]).T), None, column_major)
    result = matmul(ones, one, epilog=E.DGELU, epilog_inputs={"gelu_aux": state}, options=case.options)
    np.testing.assert_array_equal(wide(result)[:, 0], [np.nan, 1, 0])
    mask = case.like(pack(np.array([[True], [True], [False]])), "uint8", column_major)
    result, sums = matmul(values, one, epilog=E.DRELU_BGRAD, epilog_inputs={"relu_aux": mask}, options=case.options)
    np.testing.assert_array_equal(wide(result)[:, 0], [np.nan, np.inf, 0])
    np.testing.assert_array_equal(wide(sums["drelu_bgrad"]), [np.nan, np.inf, 0])


@pytest.mark.parametrize("case", cases("float32", "float64"))
def test_gelu_far_from_zero(case):
    """Where powers of x overflow, function and derivative are at their limits."""
    x = np.array([1e5, 1e10, 1e16, 1e25, 1e38])
    x = np.concatenate([x, -x])
    result = matmul(case.like(x[:, None]), case.like([[1.0]]), epilog=E.GELU, options=case.options)
    expected = np.maximum(wide(case.like(x)), 0)
    np.testing.assert_allclose(wide(result)[:, 0].astype(float), expected.astype(float), rtol=1e-7 * case.on_device)
    if case.on_device and case.dtype == "float32":
        x = x[abs(x) < 1e19]  # whose squares are in range: a device gets NaN from the others
    state = {"gelu_aux": case.like(pad(x[:, None]), None, column_major)}
    result = matmul(
        case.like(np.ones((len(x), 1))), case.like([[1.0]]), epilog=E.DGELU, epilog_inputs=state, options=case.options
    )
    np.testing.assert_array_equal(wide(result)[:, 0], x > 0)


@pytest.mark.parametrize("case", cases("float32", "float64"))
def test_accuracy_of_gelu(case):
    """Function and derivative against decimal arithmetic with 40 digits; for the bounds see the reference."""
    rng = np.random.default_rng(1)
    x = np.concatenate(
        [np.linspace(-40, 40, 161), rng.uniform(-6, 6, 400), rng.uniform(-0.76, -0.74, 20), [0.0, 1e-30, -1e-30]]
    )
    x = wide(case.like(x)).astype(np.float64)
    m = len(x)
    one = case.like([[1.0]])
    forward = matmul(case.like(x[:, None]), one, epilog=E.GELU, options=case.options)
    state = {"gelu_aux": case.like(pad(x[:, None]), None, column_major)}
    backward = matmul(case.like(np.ones((m, 1))), one, epilog=E.DGELU, epilog_inputs=state, options=case.options)
    on_device = {"on_device": case.on_device}
    bounds = gelu_bound(x, case.dtype, **on_device), gelu_derivative_bound(x, case.dtype, **on_device)
    forward, backward = wide(forward), wide(backward)
    with decimal.localcontext(prec=40):
        scale = 2 * (2 / Decimal("3.14159265358979323846264338327950288419716939937511")).sqrt()
        cubic = Decimal("0.044715")
        for i, number in enumerate(map(Decimal, x.tolist())):
            e = (-scale * (number + cubic * number**3)).exp()
            exact = (
                number / (1 + e),
                1 / (1 + e) + number * e / (1 + e) ** 2 * scale * (1 + 3 * cubic * number**2),
            )
            for result, value, bound in zip((forward, backward), exact, bounds, strict=True):
                assert abs(Decimal(float(result[i, 0])) - value) <= Decimal(float(bound[i])), (number, value)


@pytest.mark.pairwise
@REAL_CASES
@pytest.mark.parametrize("activation", ["RELU", "GELU"])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_gradients_of_a_layer(case, activation, batch):
    """Loss Σ g ∘ (W₂ f(W₁ x + b₁) + b₂): the backward pass by epilogs against automatic differentiation in float64."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    hidden, features, outputs, samples = 130, 21, 7, 9

    def random(*shape: int, seed: int) -> Any:
        scale = 0.25 if case.dtype in ("float16", "bfloat16") else 1.0
        return case.like(np.random.default_rng(seed).standard_normal(shape) * scale)

    w1, b1 = random(*batch, hidden, features, seed=1), random(hidden, seed=2)
    w2, g = random(*batch, outputs, hidden, seed=3), random(*batch, outputs, samples, seed=4)
    x = random(*batch, features, samples, seed=5)
    options = {"options": case.options}
    aux = f"{activation.lower()}_aux"
    h, mask = matmul(w1, x, epilog=E[f"{activation}_AUX_BIAS"], epilog_inputs={"bias": b1}, **options)
    transposed = w2.swapaxes(-1, -2)
    dz, db1 = matmul(transposed, g, epilog=E[f"D{activation}_BGRAD"], epilog_inputs={aux: mask[aux]}, **options)
    dw2, db2 = matmul(g, h.swapaxes(-1, -2), epilog=E.BGRADA, **options)
    dw1t, db1_again = matmul(x, dz.swapaxes(-1, -2), epilog=E.BGRADB, **options)

    exact = {n: torch.tensor(wide(v).astype(float), requires_grad=True) for n, v in (("w1", w1), ("x", x), ("w2", w2))}
    bias = torch.tensor(wide(b1).astype(float)).expand(*batch, hidden).clone().requires_grad_()
    bias2 = torch.zeros(*batch, outputs, dtype=torch.float64, requires_grad=True)
    z = exact["w1"] @ exact["x"] + bias[..., None]
    f = torch.relu(z) if activation == "RELU" else torch.nn.functional.gelu(z, approximate="tanh")
    z.retain_grad()
    loss = ((exact["w2"] @ f + bias2[..., None]) * torch.tensor(wide(g).astype(float))).sum()
    loss.backward()

    # Numbers of size 1 and sums of at most 130 of them, each rounded a few times on its way. What is masked may differ
    # where z is 0 but for rounding: there are no such elements for these seeds, in float16 and up.
    tolerance = 40 * ROUNDOFF[case.dtype] if case.dtype in ("float16", "bfloat16") else 600 * ROUNDOFF[case.dtype]
    if case.on_device and activation == "GELU" and case.dtype in DEVICE_GELU:
        tolerance = max(tolerance, 4 * DEVICE_GELU_DERIVATIVE[case.dtype])
    for name, result, gradient in (
        ("h", h, f), ("dz", dz, z.grad), ("db1", db1[f"d{activation.lower()}_bgrad"], bias.grad),
        ("dw2", dw2, exact["w2"].grad), ("db2", db2["bgrada"], bias2.grad),
        ("dw1", dw1t.swapaxes(-1, -2), exact["w1"].grad), ("db1 again", db1_again["bgradb"], bias.grad),
    ):  # fmt: skip
        given, expected = wide(result).astype(float), gradient.detach().numpy()
        error = np.linalg.norm((given.reshape(expected.shape) - expected).ravel()) / np.linalg.norm(expected.ravel())
        assert error <= tolerance, (name, error / tolerance)


@pytest.mark.parametrize("case", cases("float32"))
def test_gradients_without_automatic_differentiation(case):
    """Against differences of the loss, in double precision, where x is moved along its gradient."""
    w, x, bias = case.operand((5, 4)), case.operand((4, 3), seed=1), case.operand((5,), seed=2)
    g = case.operand((5, 3), seed=3)
    eye = case.like(np.eye(5))
    _, state = matmul(w, x, epilog=E.GELU_AUX_BIAS, epilog_inputs={"bias": bias}, options=case.options)
    dz = matmul(eye, g, epilog=E.DGELU, epilog_inputs=state, options=case.options)
    dx = wide(matmul(w.T, dz, options=case.options))

    def loss(x: np.ndarray) -> float:
        return float((gelu(wide(w) @ x + wide(bias)[:, None]) * wide(g)).sum())

    step = 1e-5 * dx
    difference = (loss(wide(x) + step) - loss(wide(x) - step)) / 2
    assert difference == pytest.approx(float((dx * step).sum()), rel=1e-5)


@REAL_CASES
def test_random_products(case):
    """Not integers, and larger than the blocks in which a library works: the epilog sees the whole sum."""
    a, b, bias = case.operand((150, 140)), case.operand((140, 30), seed=1), case.operand((150,), seed=2)
    result = matmul(a, b, alpha=0.5, epilog=E.RELU_BIAS, epilog_inputs={"bias": bias}, options=case.options)
    expected = reference(case, a, b, bias[:, None], alpha=0.5, beta=1)
    assert_near(result, expected._replace(values=relu(expected.values)))


@pytest.mark.parametrize("case", cases("int8"))
def test_integers(case):
    a, b = case.operand((13, 21)), case.operand((21, 9), seed=1)
    bias = case.like(np.arange(-6, 7), "int32")
    if case.on_device:
        with pytest.raises(UnavailableError, match=r"no kernel for products of int8.* and the epilog RELU_AUX_BIAS"):
            matmul(a, b, epilog=E.RELU_AUX_BIAS, epilog_inputs={"bias": bias}, options=case.options)
        return
    result, mask = matmul(a, b, epilog=E.RELU_AUX_BIAS, epilog_inputs={"bias": bias}, options=case.options)
    z = wide(a) @ wide(b) + wide(bias)[:, None]
    np.testing.assert_array_equal(wide(result), relu(z))
    assert_mask(mask["relu_aux"], z)
    _, sums = matmul(a, b, epilog=E.BGRADA, options=case.options)
    np.testing.assert_array_equal(wide(sums["bgrada"]), wide(a).sum(-1))


@pytest.mark.pairwise
@pytest.mark.parametrize("case", cases("float16"))
@EVERY_EPILOG
def test_sums_in_half_precision(case, epilog):
    """Of integers, which are exact in half precision as well."""
    for shape_a, shape_b in SHAPES:
        forward = Forward(case, epilog, shape_a, shape_b, "matrix")
        forward.check(*forward.run(compute_type=MatmulComputeType.COMPUTE_16F), what=(shape_a, shape_b))


@pytest.mark.parametrize("case", cases("float16", "bfloat16", wide_results=True))
def test_wide_results(case):
    """With results in float32, so are bias, GELU's state and sums."""
    from planmath.core.datatypes import CudaDataType

    options = {"options": case.options | {"result_type": CudaDataType.CUDA_R_32F}}
    a, b = case.exact((13, 21)), case.exact((21, 9), seed=1)
    bias = place(np.arange(13) / 64, "float32", case.package)
    result, state = matmul(a, b, epilog=E.GELU_AUX_BIAS, epilog_inputs={"bias": bias}, **options)
    z = wide(a) @ wide(b) + wide(bias)[:, None]
    assert dtype_of(result) == dtype_of(state["gelu_aux"]) == "float32"
    np.testing.assert_array_equal(wide(state["gelu_aux"])[:13], z)
    assert (abs(wide(result) - gelu(z)) <= gelu_bound(z, "float32", on_device=case.on_device)).all()
    back, sums = matmul(a, b, epilog=E.DGELU_BGRAD, epilog_inputs=state, **options)
    assert dtype_of(back) == dtype_of(sums["dgelu_bgrad"]) == "float32"


@REAL_CASES
def test_every_epilog_with_one_object(case):
    """Planned again and again, each time with another epilog."""
    forwards = [Forward(case, epilog, (13, 21), (21, 9)) for epilog in E]
    with Matmul(forwards[0].a, forwards[0].b, options=case.options) as mm:
        for forward in [*forwards, *reversed(forwards)]:
            mm.plan(epilog=forward.epilog, epilog_inputs=forward.inputs)
            for _ in range(2):
                result = mm.execute()
                forward.check(*(result if isinstance(result, tuple) else (result, {})), what=forward.epilog)
