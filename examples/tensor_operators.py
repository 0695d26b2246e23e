"""Apply an operator to each element of an operand before it is multiplied or added; conjugate one."""

import numpy as np

from planmath.tensor import Operator, binary_contraction, tensor_qualifiers_dtype

rng = np.random.default_rng(0)
a, b, c = rng.random((4, 5)), rng.normal(size=(5, 6)), rng.normal(size=(4, 6))

qualifiers = np.array([Operator.OP_SQRT, Operator.OP_RELU, Operator.OP_ABS], tensor_qualifiers_dtype)
r = binary_contraction("ij,jk->ik", a, b, c=c, beta=1.0, qualifiers=qualifiers)
assert np.allclose(r, np.sqrt(a) @ np.maximum(b, 0) + np.abs(c))

z = a + 1j * rng.random((4, 5))
conjugate = np.array([Operator.OP_CONJ, Operator.OP_IDENTITY, Operator.OP_IDENTITY], tensor_qualifiers_dtype)
gram = binary_contraction("ij,kj->ik", z, z, qualifiers=conjugate)
assert np.allclose(gram, z.conj() @ z.T)
print("the diagonal is real:", gram.diagonal().round(2))
