"""What the overview of nvmath-python shows: a transform, both kinds of logging, and a callback."""

import logging

import cpu_arrays as cp
import numpy as np
import nvmath

# A transform returns an array of its operand's package.

a = cp.random(128, dtype=cp.float64) + 1.0j * cp.random(128, dtype=cp.float64)
b = nvmath.fft.fft(a)
print("type:", isinstance(b, cp.ndarray))
print("transform:", np.allclose(cp.numpy(b), np.fft.fft(cp.numpy(a))))

# A logger of one's own.

logger = logging.getLogger("userlogger")
handler = logging.StreamHandler()
handler.setFormatter(logging.Formatter("USER %(levelname)s %(message)s"))
logger.addHandler(handler)
logger.setLevel(logging.INFO)
logger.propagate = False
out = nvmath.fft.fft(a, options={"logger": logger})
out = nvmath.fft.fft(a, options=nvmath.fft.FFTOptions(logger=logger))
print("with a logger:", np.allclose(cp.numpy(out), cp.numpy(b)))

# The global one.

logging.basicConfig(
    level=logging.DEBUG, format="GLOBAL %(asctime)s %(levelname)-8s %(message)s", datefmt="%m-%d %H:%M:%S"
)
m, n, k = 4, 3, 5
x, y = cp.random(m, k, dtype=cp.float32), cp.random(k, n, dtype=cp.float32)
product = nvmath.linalg.advanced.matmul(x, y)
logging.disable(logging.CRITICAL)
print("product:", np.allclose(cp.numpy(product), cp.numpy(x) @ cp.numpy(y), atol=1e-5))

# An epilog callback, which scales the result.

B, N = 256, 1024
a = cp.random(B, N, dtype=cp.float64) + 1j * cp.random(B, N, dtype=cp.float64)
scale = 1.0 / N


def rescale(data_out, offset, data, user_info, unused):
    data_out[offset] = data * scale


epilog = nvmath.fft.compile_epilog(rescale, "complex128", "complex128")
r = nvmath.fft.fft(a, axes=[-1], epilog={"ltoir": epilog})
print("callback:", np.allclose(cp.numpy(r), np.fft.fft(cp.numpy(a), axis=-1) / N))
try:
    nvmath.fft.fft(a, axes=[-1], epilog={"ltoir": b""})
except (TypeError, ValueError) as error:
    print("callback without code:", error)
