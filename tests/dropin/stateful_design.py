"""What the page on the design of stateful APIs says, as a program: the phases, resets, releases and their errors."""

import cpu_arrays as cp
import numpy as np
import nvmath


def refused(name, call):
    try:
        call()
    except (RuntimeError, TypeError, ValueError) as error:
        print(f"{name}: {type(error).__name__}")
    else:
        print(f"{name}: accepted")


a = cp.random(4, 64, dtype=cp.float64) + 1j * cp.random(4, 64, dtype=cp.float64)
other = cp.random(4, 64, dtype=cp.float64) + 1j * cp.random(4, 64, dtype=cp.float64)

f = nvmath.fft.FFT(a, axes=[1])
refused("execute before plan", f.execute)
f.plan()
print("first:", np.allclose(cp.numpy(f.execute()), np.fft.fft(cp.numpy(a))))
f.reset_operand(other)
print("reset:", np.allclose(cp.numpy(f.execute()), np.fft.fft(cp.numpy(other))))
f.reset_operand_unchecked(a)
print("reset unchecked:", np.allclose(cp.numpy(f.execute()), np.fft.fft(cp.numpy(a))))
refused("another shape", lambda: f.reset_operand(other[:2]))
refused("another package", lambda: f.reset_operand([1.0, 2.0]))
f.release_operand()
refused("execute after release", f.execute)
f.reset_operand(other)
print("after release:", np.allclose(cp.numpy(f.execute()), np.fft.fft(cp.numpy(other))))
f.free()
refused("execute after free", f.execute)

x, y, z = (cp.random(8, 8, dtype=cp.float64) for _ in range(3))
with nvmath.linalg.advanced.Matmul(x, y) as mm:
    mm.plan()
    mm.execute()
    mm.reset_operands(b=z)
    print("one operand reset:", np.allclose(cp.numpy(mm.execute()), cp.numpy(x) @ cp.numpy(z)))
    mm.release_operands()
    refused("one operand after release", lambda: mm.reset_operands(a=x))
    mm.reset_operands(a=z, b=x)
    print("all operands reset:", np.allclose(cp.numpy(mm.execute()), cp.numpy(z) @ cp.numpy(x)))
    mm.reset_operands_unchecked(a=x, b=y)
    print("operands reset unchecked:", np.allclose(cp.numpy(mm.execute()), cp.numpy(x) @ cp.numpy(y)))
