import time, os, traceback, tempfile
os.environ["PLANMATH_CACHE_DIR"] = tempfile.mkdtemp()
import numpy as np, torch
from planmath.linalg.advanced import *
from tests.arrays import to_numpy
from tests.linalg.operands import Case, wide
E = MatmulEpilog
def part(f):
    try: print(f"[{f.__name__}]", f(), flush=True)
    except Exception: print(f"[{f.__name__}] EXC", traceback.format_exc()[-900:], flush=True)
col = lambda v: np.array(v.T, order="C").T
@part
def special():
    out = []
    for pk, dt in (("torch-cuda", "float16"), ("torch-cuda", "bfloat16"), ("cupy", "float32"), ("cupy", "float64")):
        c = Case("cublaslt", pk, dt); one = c.like([[1.0]]); x = np.array([[np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0]]).T; v = c.like(x)
        L = lambda r: wide(r)[:, 0].astype(float).tolist()
        out.append(f"{dt} RELU {L(matmul(v, one, epilog=E.RELU))} GELU {L(matmul(v, one, epilog=E.GELU))}")
        r, aux = matmul(v, one, epilog=E.RELU_AUX); out.append(f"  RELU_AUX {L(r)} bits {np.unpackbits(to_numpy(aux['relu_aux'])[:, 0], bitorder='little')[:24].tolist()}")
        r, aux = matmul(v, one, epilog=E.GELU_AUX); out.append(f"  GELU_AUX {L(r)} state {L(aux['gelu_aux'])}")
        st = {"gelu_aux": c.like(x, None, col)}; out.append(f"  DGELU {L(matmul(c.like(np.ones((8, 1))), one, epilog=E.DGELU, epilog_inputs=st))}")
        m = np.zeros((16, 1), np.uint8); m[0, 0] = 0b10111010; r, s = matmul(v, one, epilog=E.DRELU_BGRAD, epilog_inputs={"relu_aux": c.like(m, "uint8", col)}); out.append(f"  DRELU mask 01011101 {L(r)} sums {wide(s['drelu_bgrad']).ravel().astype(float).tolist()}")
    return "\n ".join(out)
@part
def tuning_quality():
    out = []
    def gpu(f, n):
        e0, e1 = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True); e0.record()
        for _ in range(n): f()
        e1.record(); torch.cuda.synchronize(); return 1e3 * e0.elapsed_time(e1) / n
    for dt, n in ((torch.float16, 8192), (torch.bfloat16, 4096), (torch.float16, 4096)):
        a, b = torch.randn(n, n, device="cuda").to(dt), torch.randn(n, n, device="cuda").to(dt); o = torch.empty(n, n, device="cuda", dtype=dt); reps = 4 if n == 8192 else 20
        with Matmul(a, b) as mm:
            mm.plan(); A = list(mm.algorithms); mm.autotune(); tuned = mm.algorithms[0]; meas = [(f"{1e6*m.warm:.0f}", A.index(Algorithm(m.algorithm))) for m in mm._plan_made.measurements]
            ways = {"torch": lambda: torch.matmul(a, b, out=o), **{i: (lambda x=x: mm.execute(out=o, algorithm=x)) for i, x in enumerate(A)}, "tuned": lambda: mm.execute(out=o)}
            t = {k: [] for k in ways}
            for _ in range(7):
                for k, f in ways.items(): f(); t[k].append(gpu(f, reps))
        out.append(f"{dt} {n} measured {meas} tuned={A.index(tuned)} min/median " + " ".join(f"{k}:{min(v):.0f}/{sorted(v)[3]:.0f}" for k, v in t.items()) + f" {[ (x.knobs['id'], x.knobs['tile'], x.knobs['cluster_shape'], x.knobs['custom_option']) for x in A[:4]]}")
    return "\n ".join(out)
@part
def fp8_speed():
    n = 8192; a = torch.randn(n, n, device="cuda").to(torch.float8_e4m3fn); b = torch.randn(n, n, device="cuda").to(torch.float8_e4m3fn).t(); one = torch.ones((), device="cuda"); out = []
    def gpu(f, n=10):
        for _ in range(2): f()
        bst = 9e9
        for _ in range(5):
            e0, e1 = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True); e0.record()
            for _ in range(n): f()
            e1.record(); torch.cuda.synchronize(); bst = min(bst, 1e3 * e0.elapsed_time(e1) / n)
        return bst
    t = gpu(lambda: torch._scaled_mm(a, b, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)); tf = gpu(lambda: torch._scaled_mm(a, b, scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True))
    for fast in (False, True):
        with Matmul(a, b, quantization_scales={"a": one, "b": one}, options={"result_type": 14, "fast_accumulation": fast}) as mm:
            mm.plan(); h = gpu(mm.execute); mm.autotune(); out.append(f"fast={fast} ours {h:.0f} tuned {gpu(mm.execute):.0f} of {len(mm.algorithms)}")
    try:
        import nvmath; S = nvmath.linalg.advanced
        with S.Matmul(a, b, quantization_scales={"a": one, "b": one}, options={"result_type": nvmath.CudaDataType.CUDA_R_16BF}) as mm: mm.plan(); mm.autotune(); out.append(f"nvmath tuned {gpu(mm.execute):.0f}")
    except Exception as e: out.append(f"nvmath {type(e).__name__} {str(e)[:80]}")
    return f"torch {t:.0f} fast {tf:.0f}; " + "; ".join(out)
