"""Transforms, products and contractions as functions of JAX's: traced, mapped over, and differentiated."""

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="jax is not installed")

import jax.numpy as jnp  # noqa: E402

from planmath.interfaces import jax as planned  # noqa: E402
from planmath.interfaces import jax_transform  # noqa: E402
from planmath.interfaces.epilogs import EPILOGS  # noqa: E402
from planmath.linalg.advanced import MatmulEpilog  # noqa: E402

RNG = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        yield


def real(*shape):
    return np.asarray(RNG.random(shape))


def numbers(*shape):
    return np.asarray(RNG.random(shape) + 1j * RNG.random(shape))


#: planmath's function and JAX's, an operand, and more arguments of both.
TRANSFORMS = {
    "fft": (planned.fft, jnp.fft.fftn, numbers(3, 4, 6), {}, {}),
    "fft, axes": (planned.fft, jnp.fft.fftn, numbers(3, 4, 6), {"axes": [2, 0]}, {"axes": (2, 0)}),
    "ifft": (planned.ifft, jnp.fft.ifftn, numbers(5, 4), {"norm": "backward"}, {"norm": "backward"}),
    "ifft, unscaled": (planned.ifft, jnp.fft.ifftn, numbers(5, 4), {"axes": [0]}, {"axes": (0,), "norm": "forward"}),
    "rfft": (planned.rfft, jnp.fft.rfftn, real(3, 7), {"norm": "ortho"}, {"norm": "ortho"}),
    "rfft, axes": (planned.rfft, jnp.fft.rfftn, real(3, 4, 6), {"axes": [2, 1]}, {"axes": (2, 1)}),
    "irfft": (planned.irfft, jnp.fft.irfftn, numbers(3, 5), {"norm": "backward"}, {}),
    "irfft, odd": (
        planned.irfft, jnp.fft.irfftn, numbers(5, 3), {"axes": [1, 0], "norm": "ortho", "last_axis_parity": "odd"},
        {"axes": (1, 0), "norm": "ortho", "s": (3, 9)},
    ),
}  # fmt: skip


@pytest.fixture(params=TRANSFORMS)
def transform(request):
    ours, theirs, x, named, other = TRANSFORMS[request.param]
    return (lambda x: ours(x, **named)), (lambda x: theirs(x, **other)), x


def check_gradients(ours, theirs, *operands):
    """Gradients of first order and, along a direction, of second."""
    w = jnp.asarray(RNG.random(theirs(*operands).shape))
    mine, other = (lambda *x, f=f: (w * abs(f(*x)) ** 2).sum() + (w * f(*x).real ** 3).sum() for f in (ours, theirs))
    places = tuple(range(len(operands)))
    found, expected = (jax.jit(jax.grad(f, places))(*operands) for f in (mine, other))
    for x, y in zip(found, expected, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9)
    along = lambda f: jax.jit(jax.grad(lambda *x: sum(abs(g**2).sum() for g in jax.grad(f, places)(*x)), places))  # noqa: E731
    for x, y in zip(along(mine)(*operands), along(other)(*operands), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-8, atol=1e-6)
    # tangents, and those of gradients
    along = tuple(jnp.asarray(RNG.random(np.shape(x)), jnp.asarray(x).dtype) for x in operands)
    for of in (lambda f: f, lambda f: jax.grad(f, places)):
        found, expected = (jax.tree.leaves(jax.jvp(of(f), operands, along)) for f in (mine, other))
        for x, y in zip(found, expected, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-8, atol=1e-6)


def test_transforms_are_those_of_jax(transform):
    ours, theirs, x = transform
    expected = theirs(x)
    for found in (ours(x), jax.jit(ours)(x)):
        assert isinstance(found, jax.Array)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert jax.eval_shape(ours, x).shape == expected.shape


def test_transforms_of_single_precision():
    x = real(8).astype(jnp.float32)
    assert planned.rfft(x).dtype == jnp.complex64
    assert planned.irfft(planned.rfft(x)).dtype == jnp.float32


def test_transforms_have_gradients(transform):
    ours, theirs, x = transform
    check_gradients(ours, theirs, x)


def test_vmap_is_one_more_axis_of_the_batch(transform, monkeypatch):
    ours, theirs, x = transform
    calls = []
    compute = jax_transform._compute
    monkeypatch.setattr(jax_transform, "_compute", lambda x, kind: calls.append(x.shape) or compute(x, kind=kind))
    many = jnp.stack([x, 2 * x, -x], axis=1)
    found = jax.jit(jax.vmap(ours, in_axes=1, out_axes=-1))(many)
    np.testing.assert_allclose(found, jax.vmap(theirs, in_axes=1, out_axes=-1)(many), rtol=1e-12, atol=1e-12)
    assert calls == [(3, *x.shape)]
    twice = jax.vmap(jax.vmap(ours))(jnp.stack([many, many]).swapaxes(1, 2))
    assert len(calls) == 2
    np.testing.assert_allclose(twice[1, 2], theirs(-x), rtol=1e-12, atol=1e-12)


PRODUCTS = {
    "matrices": (real(3, 4), real(4, 2)),
    "complex": (numbers(3, 4), numbers(4, 2)),
    "mixed": (real(3, 4), numbers(4, 2)),
    "vectors": (real(4), real(4)),
    "matrix and vector": (real(3, 4), numbers(4)),
    "vector and matrix": (real(4), real(4, 2)),
    "batch": (real(5, 3, 4), real(5, 4, 2)),
    "broadcast": (real(5, 1, 3, 4), real(2, 4, 2)),
    "batch and vector": (real(5, 3, 4), real(4)),
    "turned": (real(4, 3).T, real(2, 4).T),
    "no columns": (real(3, 0), real(0, 2)),
    "no rows": (real(0, 4), real(4, 2)),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name):
    a, b = PRODUCTS[name]
    expected = jnp.matmul(a, b)
    for function in (planned.matmul, jax.jit(planned.matmul)):
        found = function(a, b)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    check_gradients(planned.matmul, jnp.matmul, a, b)


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 1), (-1, 0)])
def test_products_that_are_mapped_over(axes):
    a, b = real(3, 4), real(2, 4, 5)
    a, b = (
        x if axis is None else jnp.moveaxis(jnp.stack([x, 2 * x, -x]), 0, axis)
        for x, axis in zip((a, b), axes, strict=True)
    )
    ours, theirs = (jax.vmap(f, in_axes=axes) for f in (planned.matmul, jnp.matmul))
    np.testing.assert_allclose(jax.jit(ours)(a, b), theirs(a, b), rtol=1e-12)
    check_gradients(ours, theirs, a, b)


def test_what_is_wrong_is_told_while_tracing():
    for call, told in (
        (lambda: planned.fft(real(4)), r"fft\(\) got an operand of float64; expected complex64 or complex128"),
        (lambda: planned.rfft(jnp.arange(4)), "expected float32 or float64: convert it"),
        (lambda: planned.rfft(real(4), axes=[1]), "axes has 1, which is out of range"),
        (lambda: planned.rfft(real(4), axes=[0, -1]), "each once"),
        (lambda: planned.rfft(real(4), norm="half"), "norm is 'half'"),
        (lambda: planned.irfft(numbers(4), last_axis_parity="none"), "last_axis_parity is 'none'"),
        (lambda: planned.rfft(real(0, 4)), "at least one element"),
        (lambda: planned.matmul(real(3, 4), real(3, 4)), "as many columns of a as rows of b"),
        (lambda: planned.matmul(real(2, 3, 4), real(3, 4, 5)), "do not broadcast"),
        (lambda: planned.matmul(jnp.arange(4), jnp.arange(4)), "a and b are of int64 and int64"),
        (lambda: planned.matmul(real(), real(4)), "at least one axis each"),
        (lambda: planned.matmul(real(3), real(3), beta=2.0), "beta was given without c"),
        (lambda: planned.matmul(real(3), real(3), epilog=MatmulEpilog.DGELU), "DGELU, which is a part of a gradient"),
        (lambda: planned.matmul(real(3), real(3), epilog=MatmulEpilog.BIAS), "BIAS needs {'bias': ...}"),
        (lambda: planned.matmul(numbers(3), real(3), epilog=MatmulEpilog.RELU), "expected float16, float32, float64"),
        (lambda: layer(real(3, 4), real(4, 2), real(2), MatmulEpilog.BIAS), "bias has 2 elements; expected 3"),
        (lambda: planned.einsum("ij,jk", real(3, 4)), "for 2 operands, and 1 are given"),
        (lambda: planned.einsum("ij,jk", real(3, 4), real(3, 4)), "extents 4 and 3"),
        (lambda: planned.einsum("i,i", jnp.arange(3), jnp.arange(3)), "convert them"),
        (lambda: planned.einsum("->"), "got no operand"),
    ):
        with pytest.raises(ValueError, match=told):
            jax.jit(call)()


def layer(a, b, bias, epilog):
    inputs = None if bias is None else {"bias": bias}
    return planned.matmul(a, b, epilog=epilog, epilog_inputs=inputs)


def as_jax_has_it(a, b, bias, epilog):
    z = jnp.matmul(a, b) + (0 if bias is None else bias if b.ndim == 1 else bias[:, None])
    activation, _ = EPILOGS[epilog]
    return {"gelu": jax.nn.gelu, "relu": jax.nn.relu, "identity": lambda z: z}[activation](z)


def layers_of(epilog):
    """planmath's layer and JAX's, of two operands or, with a bias, three."""
    _, has_bias = EPILOGS[epilog]
    return [
        (lambda a, b, bias, f=f: f(a, b, bias, epilog)) if has_bias else (lambda a, b, f=f: f(a, b, None, epilog))
        for f in (layer, as_jax_has_it)
    ]


@pytest.mark.parametrize("epilog", EPILOGS, ids=lambda epilog: epilog.name)
@pytest.mark.parametrize("shapes", [((3, 4), (4, 2)), ((5, 4), (4,)), ((2, 3, 4), (4, 2)), ((3, 4), (2, 4, 5))])
def test_epilogs(epilog, shapes):
    ours, theirs = layers_of(epilog)
    a, b, bias = (RNG.random(shape) - 0.5 for shape in (*shapes, shapes[0][-2]))
    operands = (a, b, bias)[: 3 if EPILOGS[epilog][1] else 2]
    np.testing.assert_allclose(jax.jit(ours)(*operands), theirs(*operands), rtol=1e-12, atol=1e-12)
    check_gradients(ours, theirs, *operands)


@pytest.mark.parametrize("axes", [(0, None, None), (None, 1, None), (None, None, 0), (0, 0, 0)])
def test_epilogs_that_are_mapped_over(axes):
    ours, theirs = (jax.vmap(f, in_axes=axes) for f in layers_of(MatmulEpilog.GELU_BIAS))
    operands = [
        x if axis is None else jnp.stack([x, 2 * x, -x], axis)
        for x, axis in zip((real(3, 4), real(4, 5), real(3)), axes, strict=True)
    ]
    np.testing.assert_allclose(jax.jit(ours)(*operands), theirs(*operands), rtol=1e-12)
    check_gradients(ours, theirs, *operands)


def test_factors_and_addends():
    a, b, c, bias = real(3, 4), real(4, 2), real(3, 2), real(3)
    named = {"epilog": MatmulEpilog.RELU_BIAS, "epilog_inputs": {"bias": bias}}
    ours = lambda a, b, c: planned.matmul(a, b, c, alpha=-2.0, beta=0.5, **named)  # noqa: E731
    theirs = lambda a, b, c: jax.nn.relu(-2 * a @ b + bias[:, None] + c / 2)  # noqa: E731
    np.testing.assert_allclose(jax.jit(ours)(a, b, c), theirs(a, b, c), rtol=1e-12)
    check_gradients(ours, theirs, a, b, c)
    nothing = planned.matmul(np.full((3, 4), np.nan), b, np.full(3, np.inf)[:, None], alpha=0, beta=0)
    assert (nothing == 0).all()
    traced = jax.jit(lambda alpha: planned.matmul(a, b, alpha=alpha))(2.0)
    np.testing.assert_allclose(traced, 2 * a @ b, rtol=1e-12)
    assert planned.matmul(jnp.float32(a), jnp.float32(b), alpha=2.0).dtype == jnp.float32


CONTRACTIONS = {
    "ij,jk": (real(3, 4), real(4, 2)),
    "ij,jk,kl->li": (numbers(3, 4), numbers(4, 2), numbers(2, 5)),
    "bij,bjk->bik": (real(2, 3, 4), real(2, 4, 5)),
    "...i,...i->...": (real(2, 3), real(3)),
    "ii,ij->j": (real(3, 3), real(3, 2)),
    "ijk,jl->il": (real(2, 3, 4), real(3, 5)),
    "ij,j->ij": (real(3, 4), real(1)),
    "iij->ji": (real(3, 3, 2),),
    "i,i->": (real(4), numbers(4)),
    "i,j,ij->": (real(2), real(3), real(2, 3)),
    "ij,jk->ik": (real(0, 4), real(4, 2)),
}


@pytest.mark.parametrize("expr", CONTRACTIONS)
def test_contractions(expr):
    operands = CONTRACTIONS[expr]
    ours, theirs = (lambda *x, f=f: f(expr, *x) for f in (planned.einsum, jnp.einsum))
    expected = theirs(*operands)
    for function in (ours, jax.jit(ours)):
        found = function(*operands)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    check_gradients(ours, theirs, *operands)


@pytest.mark.parametrize("axes", [(0, None), (None, -1), (1, 0)])
@pytest.mark.parametrize("count", [1, 3])
def test_contractions_that_are_mapped_over(axes, count):
    operands = [
        x if axis is None else jnp.stack([x, 2 * x, -x][:count], axis)
        for x, axis in zip((real(3, 4), real(4, 2)), axes, strict=True)
    ]
    ours, theirs = (jax.vmap(lambda *x, f=f: f("ij,jk->ki", *x), in_axes=axes) for f in (planned.einsum, jnp.einsum))
    np.testing.assert_allclose(jax.jit(ours)(*operands), theirs(*operands), rtol=1e-12)
    check_gradients(ours, theirs, *operands)


def test_hessians_and_linear_maps():
    x, a = real(4), real(3, 4)
    ours, theirs = (lambda x, f=f: (f(a, x) ** 4).sum() for f in (planned.matmul, jnp.matmul))
    np.testing.assert_allclose(jax.jit(jax.hessian(ours))(x), jax.hessian(theirs)(x), rtol=1e-10)
    np.testing.assert_allclose(jax.jacfwd(planned.rfft)(x), jax.jacfwd(jnp.fft.rfft)(x), atol=1e-12)
    _, along = jax.linearize(planned.rfft, x)
    np.testing.assert_allclose(along(x), jnp.fft.rfft(x), atol=1e-12)
    rematerialized = jax.grad(jax.checkpoint(ours))(x)
    np.testing.assert_allclose(rematerialized, jax.grad(theirs)(x), rtol=1e-10)


def test_training_under_jit():
    x, target = real(16, 4), real(16, 2)

    @jax.jit
    def step(weights):
        loss, gradient = jax.value_and_grad(lambda w: ((planned.matmul(x, w) - target) ** 2).mean())(weights)
        return loss, weights - 0.5 * gradient

    weights, losses = jnp.zeros((4, 2)), []
    for _ in range(50):
        loss, weights = step(weights)
        losses.append(float(loss))
    assert losses[-1] < 0.6 * losses[0]
    assert losses == sorted(losses, reverse=True)
