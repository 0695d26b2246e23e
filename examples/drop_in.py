"""A program written for nvmath-python runs as it stands.

Here by one call; without touching the program: ``python -m planmath run PROGRAM.py``.
"""

import planmath

planmath.install_as_nvmath()

# From here on, the program.
import numpy as np  # noqa: E402
import nvmath  # noqa: E402
from nvmath.linalg.advanced import MatmulEpilog  # noqa: E402

a, b = np.ones((4, 3), np.float32), np.ones((3, 2), np.float32)
bias = np.array([-9, 0, 1, 2], np.float32)
d = nvmath.linalg.advanced.matmul(a, b, epilog=MatmulEpilog.RELU_BIAS, epilog_inputs={"bias": bias})
print(d)

assert nvmath is planmath
assert np.array_equal(d, [[0, 0], [3, 3], [4, 4], [5, 5]])

try:
    import nvmath.symbolic
except ModuleNotFoundError as error:
    print(error)
else:
    raise AssertionError("there is no such module")
