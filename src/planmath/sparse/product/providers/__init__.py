"""The providers of sparse products, in order of preference."""

from collections.abc import Sequence

from planmath.core.provider import Provider
from planmath.sparse.product.providers.cusparse import CusparseProvider
from planmath.sparse.product.providers.generated import GeneratedKernels
from planmath.sparse.product.providers.mkl import MKLProvider
from planmath.sparse.product.providers.own import OwnLoops
from planmath.sparse.product.providers.scipy_sparse import SciPyProvider

PROVIDERS: Sequence[Provider] = (
    MKLProvider(), OwnLoops(), SciPyProvider(), CusparseProvider(), GeneratedKernels(),
)  # fmt: skip
