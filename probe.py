"""Facts about cuTENSOR on a device (not part of the project)."""
import itertools, time, traceback
import numpy as np, torch
from planmath.bindings import cutensor as ct, library_types as lt, runtime
T0 = time.time()
print("version", ct.get_version(), ct.LIBRARY.missing, ct.LIBRARY.path, torch.__version__)
torch.zeros(1, device="cuda")
H = ct.create()
DT = {"f16": (2, torch.float16), "bf16": (14, torch.bfloat16),
      "f32": (0, torch.float32), "f64": (1, torch.float64), "c64": (4, torch.complex64), "c128": (5, torch.complex128)}
COMP = {n: getattr(ct.ComputeDesc, "COMPUTE_" + n) for n in "16F 16BF 32F 64F TF32 3XTF32 4X16F 9X16BF 8XINT8".split()}
WORK = {"f16": "32F", "bf16": "32F", "f32": "32F", "f64": "64F", "c64": "32F", "c128": "64F"}
SC = {"f16": np.float32, "bf16": np.float32, "f32": np.float32, "f64": np.float64, "c64": np.complex64, "c128": np.complex128}
def err(e):
    return getattr(e, "name", "").replace("CUTENSOR_STATUS_", "") + "@" + getattr(e, "function", "").replace("cutensor", "") if hasattr(e, "function") else repr(e)[:200]
def desc(dt, ext, strides, align=16):
    return ct.create_tensor_descriptor(H, len(ext), list(ext), list(strides), int(DT[dt][0]), align)
def rowmajor(ext):
    s, o = 1, []
    for n in reversed(ext): o.append(s); s *= n
    return o[::-1]
class Con:
    def __init__(self, kind, dts, modes, ext, strides=None, ops=None, comp="32F", algo=-1, rank=0, jit=0, align=16, limit=None, ws=2, addmodes=None):
        k = len(modes)
        self.kind = kind
        strides = strides or [rowmajor([ext[m] for m in ms]) for ms in modes]
        ops = ops or [1] * k
        d = [desc(dts[i] if not isinstance(dts, str) else dts, [ext[m] for m in modes[i]], strides[i], align) for i in range(k)]
        ms = [[ord(m) for m in x] for x in modes]
        c = COMP[comp]()
        if kind == "contract":  # a b (c) d
            if k == 3: d.insert(2, d[2]); ms.insert(2, ms[2]); ops = [*ops[:2], 1]
            self.op = ct.create_contraction(H, d[0], ms[0], ops[0], d[1], ms[1], ops[1], d[2], ms[2], ops[2], d[3], ms[3], c)
        elif kind == "trinary":
            if k == 4: d.insert(3, d[3]); ms.insert(3, ms[3]); ops = [*ops[:3], 1]
            self.op = ct.create_contraction_trinary(H, d[0], ms[0], ops[0], d[1], ms[1], ops[1], d[2], ms[2], ops[2], d[3], ms[3], ops[3], d[4], ms[4], c)
        elif kind == "permute":
            self.op = ct.create_permutation(H, d[0], ms[0], ops[0], d[1], ms[1], c)
        elif kind == "reduce":
            self.op = ct.create_reduction(H, d[0], ms[0], ops[0], d[1], ms[1], 1, d[1], ms[1], 3, c)
        b = np.zeros(1, np.int32)
        ct.operation_descriptor_get_attribute(H, self.op, 1, b.ctypes.data, 4)
        self.scalar = int(b[0])
        self.pref = ct.create_plan_preference(H, algo, jit)
        if rank: ct.plan_preference_set_attribute(H, self.pref, 4, np.array([rank], np.int32).ctypes.data, 4)
        self.est = ct.estimate_workspace_size(H, self.op, self.pref, ws)
        self.plan = ct.create_plan(H, self.op, self.pref, self.est if limit is None else limit)
        w = np.zeros(1, np.uint64)
        ct.plan_get_attribute(H, self.plan, 0, w.ctypes.data, 8)
        self.need = int(w[0])
        self.wsbuf = torch.empty(max(self.need, 1), dtype=torch.uint8, device="cuda")
    def run(self, alpha, ptrs, beta):
        s = torch.cuda.current_stream().cuda_stream
        if self.kind == "contract":
            ct.contract(H, self.plan, alpha.ctypes.data, ptrs[0], ptrs[1], beta.ctypes.data, ptrs[2], ptrs[3], self.wsbuf.data_ptr(), self.need, s)
        elif self.kind == "trinary":
            ct.contract_trinary(H, self.plan, alpha.ctypes.data, ptrs[0], ptrs[1], ptrs[2], beta.ctypes.data, ptrs[3], ptrs[4], self.wsbuf.data_ptr(), self.need, s)
        elif self.kind == "permute":
            ct.permute(H, self.plan, alpha.ctypes.data, ptrs[0], ptrs[1], s)
        else:
            ct.reduce(H, self.plan, alpha.ctypes.data, ptrs[0], beta.ctypes.data, ptrs[1], ptrs[1], self.wsbuf.data_ptr(), self.need, s)
def attempt(label, *a, **k):
    try:
        c = Con(*a, **k); return c, f"ok scalar={c.scalar} est={c.est} need={c.need}"
    except Exception as e:
        return None, err(e)
def section(f):
    print("==", f.__name__, round(time.time() - T0, 1), flush=True)
    try: f()
    except Exception: traceback.print_exc(limit=4)

@section
def compute_descriptors():
    for dt in DT:
        print(dt, {c: attempt("", "contract", dt, ["ij", "jk", "ik"], {"i": 32, "j": 64, "k": 48}, comp=c)[1].replace("ok scalar", "") for c in COMP})
@section
def structure():
    E = {"i": 8, "j": 16, "k": 12, "l": 6, "u": 1}
    def both(label, modes, strides=None, ext=E, dt="f32"):
        c, why = attempt("", "contract", dt, modes, ext, strides, comp=WORK[dt])
        if c and strides is None:
            x = [torch.randn([ext[m] for m in ms], device="cuda", dtype=DT[dt][1]) for ms in modes]
            c.run(np.ones(1, SC[dt]), [x[0].data_ptr(), x[1].data_ptr(), x[-2 if len(x) == 4 else -1].data_ptr(), x[-1].data_ptr()], np.zeros(1, SC[dt]))
            want = torch.einsum(modes[0] + "," + modes[1] + "->" + modes[-1], x[0], x[1])
            why += f" err={(want - x[-1]).abs().max().item():.2e}"
        print(label, why)
    for m in (["ij", "jk", "ik"], ["ijl", "jk", "ik"], ["ijl", "jk", "ijk"], ["ij", "ij", "ij"], ["ij", "ij", ""], ["i", "j", "ij"], ["ij", "", "ij"], ["", "", ""], ["ijl", "ijk", "ilk"], ["ij", "j", "i"], ["ij", "jk", "k"], ["ij", "kl", "il"], ["ij", "kl", ""], ["iju", "uk", "ijk"]):
        both(m, m)
        if m[0] == "ijl": both((m, "f64"), m, dt="f64"); both((m, "f16"), m, dt="f16")
    both("neg A", ["ij", "jk", "ik"], [[-16, 1], [12, 1], [12, 1]])
    both("neg all j", ["ij", "jk", "ik"], [[16, -1], [-12, 1], [12, 1]])
    both("zero", ["ij", "jk", "ik"], [[0, 1], [12, 1], [12, 1]])
    both("overlap", ["ij", "jk", "ik"], [[1, 1], [12, 1], [12, 1]])
    both("all strided", ["ij", "jk", "ik"], [[64, 3], [50, 2], [36, 3]])
    both("bcast d", ["i", "k", "ijk"])
    both("c other", ["ij", "jk", "ik", "ik"], [[16, 1], [12, 1], [1, 8], [12, 1]])
    both("c bcast", ["ij", "jk", "k", "ik"], [[16, 1], [12, 1], [1], [12, 1]])
    for n in (28, 32, 40, 48, 56, 64, 72):
        letters = [chr(0x100 + q) for q in range(n)]
        ext = {q: 1 for q in letters} | {letters[0]: 2, letters[-1]: 3}
        print("modes", n, attempt("", "contract", "f32", ["".join(letters), letters[-1], "".join(letters[:-1])], ext)[1])
    ms = "abcdefghijklmnopqrst"
    e2 = {q: 2 for q in ms + ms.upper()}
    print("modes 20+20 of 2, summed 10", attempt("", "contract", "f32", [ms, ms[10:] + ms.upper()[:10], ms[:10] + ms.upper()[:10]], e2)[1])
    print("noncontig 24+", attempt("", "contract", "f32", [ms[::-1], ms.upper()[:10] + ms[10:], "".join(itertools.chain(*zip(ms[:10], ms.upper()[:10])))], e2)[1])
@section
def operators():
    E = {"i": 8, "j": 16, "k": 12}
    for dt in ("f32", "f16", "c64", "f64"):
        for pos in range(3):
            r = {}
            for o in ct.Operator:
                ops = [1, 1, 1]; ops[pos] = int(o)
                why = attempt("", "contract", dt, ["ij", "jk", "ik", "ik"], E, ops=ops, comp=WORK[dt])[1]
                r.setdefault(why[:40].split(" ")[0], []).append(o.name)
            print(dt, "abc"[pos], {k: (v if len(v) < 17 else f"{len(v)} ops") for k, v in r.items()})
        for kind, modes in (("permute", ["ij", "ji"]), ("reduce", ["ij", "i"])):
            r = {}
            for o in ct.Operator:
                why = attempt("", kind, dt, modes, E, ops=[int(o), 1], comp=WORK[dt])[1]
                r.setdefault(why[:40].split(" ")[0], []).append(o.name)
            print(dt, kind, {k: (v if len(v) < 17 else f"{len(v)} ops") for k, v in r.items()})
    for a, b, c in (("f16", "f32", "32F"), ("f32", "f16", "32F"), ("bf16", "f32", "32F"), ("f32", "bf16", "32F"), ("f16", "f16", "32F")):
        print("permute", a, b, attempt("", "permute", [a, b], ["ij", "ji"], E, comp=c)[1], "reduce", attempt("", "reduce", [a, b], ["ij", "i"], E, comp=c)[1])
    print("permute bcast", attempt("", "permute", "f32", ["i", "ij"], E)[1], "scalar", attempt("", "permute", "f32", ["", "ij"], E)[1], "to scalar", attempt("", "permute", "f32", ["", ""], E)[1])
    print("permute neg", attempt("", "permute", "f32", ["ij", "ij"], E, [[-16, 1], [16, 1]])[1], attempt("", "permute", "f32", ["ij", "ij"], E, [[1, 1], [16, 1]])[1])
    print("reduce to scalar", attempt("", "reduce", "f32", ["ij", ""], E)[1])
def timed(f, n=20):
    f(); torch.cuda.synchronize()
    best = 1e9
    for _ in range(3):
        a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        a.record()
        for _ in range(n): f()
        b.record(); b.synchronize()
        best = min(best, a.elapsed_time(b) / n * 1e3)
    return best
def host(f, n=300):
    best = 1e9
    for _ in range(7):
        torch.cuda.synchronize(); t = time.perf_counter()
        for _ in range(n): f()
        best = min(best, (time.perf_counter() - t) / n * 1e6)
    return best
ROWS = [("ijk,jkl->il", (8, 8, 8), (8, 8, 8)), ("mhkn,ukh->mnu", (96, 64, 64, 96), (96, 64, 64)), ("abcd,dbea->ec", (48, 36, 24, 36), (36, 36, 48, 48)), ("aebf,dfce->abcd", (48, 32, 48, 32), (48, 32, 24, 32))]
@section
def rows():
    for dt in ("f32", "f64"):
        for expr, sa, sb in ROWS:
            ins, out = expr.split("->"); ma, mb = ins.split(",")
            ext = dict(zip(ma, sa)) | dict(zip(mb, sb))
            a, b = torch.randn(sa, device="cuda", dtype=DT[dt][1]), torch.randn(sb, device="cuda", dtype=DT[dt][1])
            want = torch.einsum(expr, a, b)
            d = torch.empty_like(want)
            one, zero = np.ones(1, SC[dt]), np.zeros(1, SC[dt])
            flops = 2 * np.prod([ext[m] for m in set(ma + mb)])
            kk = int(np.prod([ext[m] for m in set(ma) & set(mb) - set(out)])); nn = want.numel() ; 
            mm = int(np.prod([ext[m] for m in ma if m in out])); 
            p, q = torch.randn(mm, kk, device="cuda", dtype=a.dtype), torch.randn(kk, nn // mm, device="cuda", dtype=a.dtype)
            print(dt, expr, "einsum us", round(timed(lambda: torch.einsum(expr, a, b)), 1), "plain matmul", round(timed(lambda: p @ q), 1), "gflop", flops / 1e9, "host einsum", round(host(lambda: torch.einsum(expr, a, b), 50), 1))
            res = []
            for algo, ranks in ((-1, (0,)), (-6, (0,)), (-4, range(10)), (-3, range(4)), (-2, range(4))):
                for rank in ranks:
                    t = time.perf_counter()
                    c, why = attempt("", "contract", dt, [ma, mb, out], ext, comp=WORK[dt], algo=algo, rank=rank)
                    t = time.perf_counter() - t
                    if c is None: res.append((algo, rank, why)); break
                    run = lambda: c.run(one, [a.data_ptr(), b.data_ptr(), d.data_ptr(), d.data_ptr()], zero)
                    run(); e = (d - want).abs().max().item() / want.abs().max().item()
                    res.append((algo, rank, round(timed(run), 1), f"need={c.need} est={c.est} plan={t * 1e6:.0f}us err={e:.0e}"))
            for r in res: print("   ", *r)
            for label, kw in (("ws max", dict(ws=3)), ("ws 1GiB", dict(limit=1 << 30)), ("ws 0", dict(limit=0)), ("align128", dict(align=128)), ("align4", dict(align=8 if dt == "f64" else 4))):
                t = time.perf_counter(); c, why = attempt("", "contract", dt, [ma, mb, out], ext, comp=WORK[dt], **kw); t = time.perf_counter() - t
                print("   ", label, why if c is None else (round(timed(run := (lambda: c.run(one, [a.data_ptr(), b.data_ptr(), d.data_ptr(), d.data_ptr()], zero))), 1), c.need, c.est, round(t * 1e6)))
            if expr.startswith("ijk"):
                print("    host bare via binding", round(host(run), 2))
@section
def jit():
    for dt in ("f32",):
        for expr, sa, sb in ROWS[1:]:
            ins, out = expr.split("->"); ma, mb = ins.split(",")
            ext = dict(zip(ma, sa)) | dict(zip(mb, sb))
            a, b = torch.randn(sa, device="cuda", dtype=DT[dt][1]), torch.randn(sb, device="cuda", dtype=DT[dt][1])
            d = torch.empty([ext[m] for m in out], device="cuda", dtype=a.dtype)
            one, zero = np.ones(1, SC[dt]), np.zeros(1, SC[dt])
            t = time.perf_counter(); c, why = attempt("", "contract", dt, [ma, mb, out], ext, comp=WORK[dt], jit=1); t = time.perf_counter() - t
            print("jit", dt, expr, why, round(t, 3), None if c is None else round(timed(lambda: c.run(one, [a.data_ptr(), b.data_ptr(), d.data_ptr(), d.data_ptr()], zero)), 1))
@section
def trinary():
    E = {"i": 64, "j": 48, "k": 32, "l": 40, "b": 8, "z": 5}
    for dt, comp in (("f32", "32F"), ("f64", "64F"), ("f16", "32F"), ("bf16", "32F"), ("c64", "32F"), ("f32", "TF32")):
        for modes in (["ij", "jk", "kl", "il"], ["ij", "kl", "jk", "il"], ["bij", "bjk", "bkl", "bil"], ["i", "ij", "j", ""], ["ij", "ij", "ij", "ij"], ["ijz", "jk", "kl", "il"], ["i", "j", "k", "ijk"]):
            c, why = attempt("", "trinary", dt, modes, E, comp=comp)
            if c:
                x = [torch.randn([E[m] for m in ms], device="cuda", dtype=DT[dt][1]) for ms in modes]
                c.run(np.ones(1, SC[dt]), [t.data_ptr() for t in x[:3]] + [x[3].data_ptr()] * 2, np.zeros(1, SC[dt]))
                wide = torch.complex128 if dt[0] == "c" else torch.float64
                want = torch.einsum(",".join(modes[:3]) + "->" + modes[3], *[t.to(wide) for t in x[:3]])
                why += f" err={((want - x[3]).abs().max() / want.abs().max()).item():.1e} us={timed(lambda: c.run(np.ones(1, SC[dt]), [t.data_ptr() for t in x[:3]] + [x[3].data_ptr()] * 2, np.zeros(1, SC[dt]))):.1f}"
            print(dt, comp, modes, why)
    c, why = attempt("", "trinary", "f16", ["ij", "jk", "kl", "il"], E)
    if c:
        x = [torch.full((64, 48), 100., device="cuda", dtype=torch.float16), torch.full((48, 32), 100., device="cuda", dtype=torch.float16), torch.full((32, 40), 1e-4, device="cuda", dtype=torch.float16), torch.zeros(64, 40, device="cuda", dtype=torch.float16)]
        c.run(np.ones(1, np.float32), [t.data_ptr() for t in x[:3]] + [x[3].data_ptr()] * 2, np.zeros(1, np.float32)); print("f16 overflow of the intermediate?", x[3][0, 0].item(), "expect", 100 * 100 * 48 * 32e-4)
@section
def capture():
    E = {"i": 64, "j": 64, "k": 64}
    c, why = attempt("", "contract", "f32", ["ij", "jk", "ik"], E)
    x = [torch.randn(64, 64, device="cuda") for _ in range(3)]
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g): c.run(np.ones(1, np.float32), [x[0].data_ptr(), x[1].data_ptr(), x[2].data_ptr(), x[2].data_ptr()], np.zeros(1, np.float32))
    g.replay(); torch.cuda.synchronize(); print("graph err", (x[0] @ x[1] - x[2]).abs().max().item())
    ops = []
    t = time.perf_counter(); 
    for n in range(50): c = Con("contract", "f32", ["ij", "jk", "ik"], {"i": 64 + n, "j": 64, "k": 64})
    print("new plans us", (time.perf_counter() - t) / 50 * 1e6)
    t = time.perf_counter(); 
    for n in range(50): c = Con("contract", "f32", ["ij", "jk", "ik"], {"i": 64 + n, "j": 64, "k": 64}, align=4)
    print("same, other alignment us", (time.perf_counter() - t) / 50 * 1e6)
    t = time.perf_counter(); ct.create(); print("handle us", (time.perf_counter() - t) * 1e6)
@section
def misaligned():
    E = {"i": 64, "j": 64, "k": 64}
    x = [torch.randn(64 * 64 + 64, device="cuda") for _ in range(3)]
    for align in (4, 8, 16, 128, 256):
        c, why = attempt("", "contract", "f32", ["ij", "jk", "ik"], E, align=align)
        print(align, why)
        if c is None: continue
        for off in (0, 4, 16, 32, 128):
            try:
                c.run(np.ones(1, np.float32), [x[0].data_ptr() + off, x[1].data_ptr(), x[2].data_ptr(), x[2].data_ptr()], np.zeros(1, np.float32))
                torch.cuda.synchronize()
                want = x[0][off // 4: off // 4 + 4096].view(64, 64) @ x[1][:4096].view(64, 64)
                print("   off", off, "err", (want - x[2][:4096].view(64, 64)).abs().max().item())
            except Exception as e: print("   off", off, err(e))
print("done", round(time.time() - T0, 1))
