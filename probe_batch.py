import time, cupy as cp, numpy as np, torch
from planmath.bindings import runtime
from planmath.linalg.advanced import Matmul, MatmulEpilog
from planmath.fft import FFT
def best(f, n=200, rounds=7):
    t = []
    for _ in range(rounds):
        runtime.device_synchronize(); s = time.perf_counter_ns()
        for _ in range(n): f()
        t.append((time.perf_counter_ns() - s) / n)
    return round(min(t) / 1e3, 2)
m, n, k = 124, 64, 64  # small, so that the device is done before the host
a, b, bias = cp.random.rand(16, m, k, dtype="f4"), cp.random.rand(16, k, n, dtype="f4"), cp.random.rand(16, m, dtype="f4")
d = cp.empty((16, n, m), "f4").transpose(0, 2, 1)
a0, b0, bias0, d0, a1, b1, bias1 = a[0], b[0], bias[0], d[0], a[1], b[1], bias[1]
print("slices: a[i]", best(lambda: a[1]), "bias[i]", best(lambda: bias[1]), "d[i]", best(lambda: d[1]))
with Matmul(a0, b0) as mm:
    t = []
    for _ in range(5):
        s = time.perf_counter(); mm.plan(epilog=MatmulEpilog.RELU_BIAS, epilog_inputs={"bias": bias0}); t.append(round((time.perf_counter() - s) * 1e6))
    print("plan us", t)
    e = mm.execute()
    print("execute(out=)", best(lambda: mm.execute(out=d0)), "execute()", best(mm.execute), "empty_result", best(mm.empty_result))
    print("reset a,b", best(lambda: mm.reset_operands(a=a1, b=b1)), "reset a,b,bias", best(lambda: mm.reset_operands(a=a1, b=b1, epilog_inputs={"bias": bias1})),
          "unchecked", best(lambda: mm.reset_operands_unchecked(a=a1, b=b1, epilog_inputs={"bias": bias1})))
    def one():
        mm.reset_operands(a=a[1], b=b[1], epilog_inputs={"bias": bias[1]}); mm.execute(out=d[1])
    print("one turn with out=", best(one), "copy d0[...] = e", best(lambda: d0.__setitem__(..., e)))
    print([c.name for c in mm._plan_made.prepared.programs[None].calls], mm)
x = cp.empty(1024, "c8")
print("cupy.ndarray", best(lambda: cp.ndarray((1024,), np.dtype("c8"))), "cp.empty", best(lambda: cp.empty(1024, "c8")), "empty_like", best(lambda: cp.empty_like(x)),
      "alloc", best(lambda: cp.cuda.alloc(8192)), "pool malloc", best(lambda: cp.get_default_memory_pool().malloc(8192)), "view of memory", best(lambda p=x.data: cp.ndarray((1024,), x.dtype, p)))
y = torch.empty(1024, dtype=torch.complex64, device="cuda")
print("torch.empty_like", best(lambda: torch.empty_like(y)), "current stream cupy", best(cp.cuda.get_current_stream), "torch", best(lambda: torch._C._cuda_getCurrentRawStream(0)))
