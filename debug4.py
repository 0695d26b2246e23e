import time, os, sys, traceback, tempfile
os.environ["PLANMATH_CACHE_DIR"] = tempfile.mkdtemp()
import numpy as np, torch
from planmath.linalg.advanced import *
from planmath.core import tuning
from tests.linalg.operands import Case, wide
from tests.linalg.reference import gelu, gelu_derivative
E = MatmulEpilog
def part(f):
    try: print(f"[{f.__name__}]", f(), flush=True)
    except Exception: print(f"[{f.__name__}] EXC", traceback.format_exc()[-900:], flush=True)
@part
def accuracy():
    out = []
    for pk, dt in (("torch-cuda", "float16"), ("torch-cuda", "bfloat16"), ("cupy", "float32"), ("cupy", "float64")):
        c = Case("cublaslt", pk, dt); x = np.concatenate([np.linspace(-12, 12, 2001), [1e3, -1e3, 1e-3, -1e-3]]); x = wide(c.like(x)).astype(float)
        one = c.like([[1.0]]); f = wide(matmul(c.like(x[:, None]), one, epilog=E.GELU))[:, 0].astype(float)
        st = np.zeros((-(-len(x) // 8) * 8, 1)); st[:len(x), 0] = x
        d = wide(matmul(c.like(np.ones((len(x), 1))), one, epilog=E.DGELU, epilog_inputs={"gelu_aux": c.like(st, None, lambda v: np.array(v.T, order="C").T)}))[:, 0].astype(float)
        e1 = abs(f - gelu(x).astype(float)); e2 = abs(d - gelu_derivative(x).astype(float)); nz = x != 0
        for lo, hi in ((-2e3, -6), (-6, -3), (-3, 0), (0, 3), (3, 2e3)):
            s = nz & (x >= lo) & (x < hi); i = np.argmax(e1[s] / abs(x[s]))
            out.append(f"{dt}[{lo},{hi}] gelu err/|x| {np.max(e1[s] / abs(x[s])):.2g}@{x[s][i]:.3g} rel {np.max(e1[s] / np.maximum(abs(gelu(x[s]).astype(float)), 1e-300)):.2g} dgelu {e2[s].max():.2g}")
        big = np.array([1e5, 1e10, 1e16, 1e25, 1e38]); big = np.concatenate([big, -big])
        if dt in ("float32", "float64"):
            sb = np.zeros((16, 1)); sb[:10, 0] = big
            out.append(f"big {wide(matmul(c.like(big[:, None]), one, epilog=E.GELU))[:, 0].astype(float).tolist()} d {wide(matmul(c.like(np.ones((10, 1))), one, epilog=E.DGELU, epilog_inputs={'gelu_aux': c.like(sb, None, lambda v: np.array(v.T, order='C').T)}))[:, 0].astype(float).tolist()}")
    return "\n ".join(out)
@part
def record():
    c = Case("cublaslt", "torch-cuda", "float32"); a, b = c.operand((64, 300)), c.operand((300, 64), seed=1)
    with Matmul(a, b) as mm:
        mm.plan(); mm.autotune(iterations=3); best = mm._plan_made.chosen; key = mm._tuning_key(mm._plan_made.problem); m = mm._machine(); rep = mm.report()
    with Matmul(a, b) as mm:
        mm.plan(); k2 = mm._tuning_key(mm._plan_made.problem); prov = mm._provider_of(best); found = prov.algorithms(mm._plan_made.problem)
        e = tuning.entries(m); ent = e.get(key)
        return f"same key {key == k2} in record {key in e} best in {best in found} entry.best==best {ent and ent.best == best} origin {mm._plan_made.origin} versions {ent and ent.versions} {prov.version()!r}\n {ent and ent.best.knobs}\n {best.knobs}\n {[f.knobs for f in found if f.get('id') == best.get('id')][:2]}"
@part
def fp8():
    from tests.linalg.test_fp8 import operands, RESULTS, E4, E5
    out = []
    for (m, n, k) in [(32, 48, 64), (16, 16, 16), (128, 256, 512)]:
        for batch in [(), (3,), (2, 2)]:
            a, b = operands(m, n, k, (E4, E4), batch)
            try:
                with Matmul(a, b, quantization_scales={"a": 1, "b": 1, "d": 1}) as mm: mm.plan(); mm.execute(); out.append("ok")
            except Exception as e: out.append(f"{(m, n, k, batch)} {type(e).__name__} {str(e)[:100]} {mm._plan_made and [x.name for x in mm._executor.programs[None].calls]}")
    return out
@part
def host():
    c = Case("cublaslt", "torch", "float32"); a, b, bias = c.exact((13, 21)), c.exact((21, 9), seed=1), c.exact((13,), seed=2); out = []
    with Matmul(a, b, execution="cuda") as mm:
        mm.plan(epilog=E.RELU_AUX_BIAS, epilog_inputs={"bias": bias})
        for new in (bias, c.exact((13,), seed=3)):
            mm.reset_operands(epilog_inputs={"bias": new}); r, aux = mm.execute(); z = wide(a) @ wide(b) + wide(new)[:, None]
            out.append((float(abs(wide(r) - np.maximum(z, 0)).max()), int((np.unpackbits(aux["relu_aux"].numpy(), axis=-2, bitorder="little")[:13] != (z > 0)).sum()), aux["relu_aux"].stride()))
    return out
@part
def plan_profile():
    import cProfile, pstats, io
    a = torch.randn(64, 64, device="cuda")
    with Matmul(a, a) as mm:
        mm.plan(); p = cProfile.Profile(); p.enable(); [mm.plan() for _ in range(20)]; p.disable(); t = time.perf_counter(); [mm.plan() for _ in range(20)]; t = (time.perf_counter() - t) / 20
    s = io.StringIO(); pstats.Stats(p, stream=s).sort_stats("tottime").print_stats(16); return f"{1e6*t:.0f} us\n" + "\n".join(l[:110] for l in s.getvalue().splitlines()[6:] if l.strip())
@part
def speed():
    out = []
    def gpu(f, n):
        for _ in range(3): f()
        b = 9e9
        for _ in range(5):
            e0, e1 = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True); e0.record()
            for _ in range(n): f()
            e1.record(); torch.cuda.synchronize(); b = min(b, 1e3 * e0.elapsed_time(e1) / n)
        return b
    for dt in (torch.bfloat16, torch.float16):
        for m, n, k in ((4096,) * 3, (8192,) * 3, (16, 4096, 4096)):
            a, b = torch.randn(m, k, device="cuda").to(dt), torch.randn(k, n, device="cuda").to(dt); reps = 5 if m == 8192 else 40
            o = torch.empty(m, n, device="cuda", dtype=dt); t = gpu(lambda: torch.matmul(a, b, out=o), reps)
            with Matmul(a, b) as mm:
                mm.plan(); h = gpu(lambda: mm.execute(out=o), reps); each = [gpu(lambda: mm.execute(out=o, algorithm=x), reps) for x in mm.algorithms]; s = time.perf_counter(); mm.autotune(); s = time.perf_counter() - s; u = gpu(lambda: mm.execute(out=o), reps)
            try:
                import nvmath
                with nvmath.linalg.advanced.Matmul(a, b) as nm: nm.plan(); nm.autotune(); v = gpu(nm.execute, reps)
            except Exception as e: v = -1
            out.append(f"{str(dt)[6:]} {m}x{n}x{k} torch {t:.1f} ours {h:.1f} tuned {u:.1f} (in {s:.1f}s) best of {len(each)} {min(each):.1f} nvmath tuned {v:.1f}")
    return "\n ".join(out)
