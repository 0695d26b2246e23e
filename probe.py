import time

import cupy
import numpy as np
import torch
from planmath.native.call import Call

from planmath.bindings import cufft, runtime
from planmath.fft import FFT, fft


def best(f, n=200, repeat=40):
    t = []
    for _ in range(repeat):
        runtime.device_synchronize(); t0 = time.perf_counter_ns()
        for _ in range(n): f()
        t.append((time.perf_counter_ns() - t0) / n)
    return round(min(t) / 1e3, 2)
for make in (lambda a: cupy.asarray(a), lambda a: torch.from_numpy(a).cuda()):
    a = make(np.random.default_rng(0).standard_normal((2, 1024)).astype(np.complex64)); x, y = a[0], a[1]
    with FFT(x) as t:
        t.plan(); out = t.empty_result(); t.execute()
        plan = t._plan_made.prepared.programs[None].calls
        h = plan[0].keep.handle
        xp = x.data.ptr if hasattr(x, "data") and hasattr(x.data, "ptr") else x.data_ptr(); op = out.data.ptr if not isinstance(out, torch.Tensor) else out.data_ptr()
        c = Call(cufft.LIBRARY.address("cufftExecC2C"), [h, xp, op, -1], name="e", returns_status=True, loops=[(200, ())])
        print(type(x).__module__, "bare", best(c, n=1) / 200, "program bare", best(lambda: [q(xp, op, 0, 0) for q in plan]), "execute out", best(lambda: t.execute(out=out)), "execute", best(t.execute), "direction", best(lambda: t.execute("inverse")), flush=True)
        def reset(): t.reset_operand(y); t.execute()
        print("reset+execute", best(reset), "unchecked", best(lambda: (t.reset_operand_unchecked(x), t.execute(out=out))), "stateless", best(lambda: fft(x)), "peer", best(lambda: (cupy.fft.fft if type(x) is cupy.ndarray else torch.fft.fft)(x)), flush=True)
        print([q.name for q in plan])
r = cupy.random.default_rng(0)
for kind, shape, axes, dt in (("C2C", (4096, 4096), (0, 1), "c8"), ("C2C", (256, 256), (0, 1), "c8"), ("R2C", (2048, 2048), (0, 1), "f4"), ("C2R", (2048, 1025), (0, 1), "c8"), ("C2R", (64, 256, 129), (1, 2), "c8"), ("C2C", (256, 256, 256), (0, 1, 2), "c8"), ("C2C", (64, 128, 256), (1,), "c8"), ("C2C", (64, 128, 256), (0, 1), "c8"), ("R2C", (128, 4096, 7), (1,), "f4")):
    a = cupy.zeros(shape, dt)
    for layout in ("optimized", "natural"):
      with FFT(a, axes=axes, options={"fft_type": kind, "tuning": False, "result_layout": layout}) as t:
        t.plan(); t0 = time.perf_counter(); t.autotune(); t1 = time.perf_counter()
        print(kind, shape, axes, layout, [(str(m.algorithm), round(m.warm * 1e6, 1)) for m in t._plan_made.measurements], "autotune s", round(t1 - t0, 2), "ws", t._plan_made.prepared.workspace_size, flush=True)
    out = t
    f = {"C2C": cupy.fft.fftn, "R2C": cupy.fft.rfftn, "C2R": cupy.fft.irfftn}[kind]
    f(a, axes=axes); runtime.device_synchronize(); t0 = time.perf_counter(); [f(a, axes=axes) for _ in range(10)]; runtime.device_synchronize(); print("   cupy us", round((time.perf_counter() - t0) * 1e5, 1), flush=True)
print("JIT", flush=True)
from planmath.bindings.library_types import CudaDataType as T
a, b = runtime.malloc(1 << 30), runtime.malloc(1 << 30); w = runtime.malloc(1 << 30)
e0, e1 = runtime.event_create(), runtime.event_create()
for lengths, batch in (([1000], 10000), ([1024], 16384), ([1009], 8192), ([2187], 4096), ([4096], 4096), ([16807], 512), ([1 << 20], 16), ([100], 100000), ([13], 1 << 20), ([17 * 19], 40000), ([720], 16384), ([128, 128], 512), ([512, 512], 32), ([100, 100, 100], 8), ([1024], 1)):
    row = []
    for jit in (0, 1):
        h = cufft.create(); cufft.set_auto_allocation(h, 0)
        try:
            if jit: cufft.set_plan_property_int64(h, 1, 1)
            n = int(np.prod(lengths)); t0 = time.perf_counter()
            ws = cufft.xt_make_plan_many(h, len(lengths), lengths, lengths, 1, n, T.CUDA_C_32F, lengths, 1, n, T.CUDA_C_32F, batch, T.CUDA_C_32F)
            t1 = time.perf_counter(); cufft.set_work_area(h, w)
            cufft.xt_exec(h, a, b, -1); times = []
            for _ in range(7):
                runtime.event_record(e0, 0); cufft.xt_exec(h, a, b, -1); runtime.event_record(e1, 0); runtime.event_synchronize(e1); times.append(runtime.event_elapsed_time(e0, e1) * 1e3)
            row.append((round(min(times), 1), "plan ms", round((t1 - t0) * 1e3, 1), "ws", ws))
        except Exception as e: row.append(str(e)[:120])
    print(lengths, batch, row, flush=True)
