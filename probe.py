"""What cuBLASLt on this device has: one letter a question (. right, n no algorithm, eS status, xR wrong by R)."""
import ctypes, itertools, os, sys, time
import numpy as np, torch
from planmath.bindings import cublasLt as lt
from planmath.native.call import Call, Slot

D = lt.MatmulDescAttribute; L = lt.MatrixLayoutAttribute; P = lt.MatmulPreferenceAttribute
T = {"f16": 2, "bf16": 14, "f32": 0, "f64": 1, "c64": 4, "c128": 5, "i8": 3, "i32": 10, "e4": 28, "e5": 29, "u8": 8}
TORCH = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32, "f64": torch.float64, "c64": torch.complex64,
         "c128": torch.complex128, "i8": torch.int8, "i32": torch.int32, "e4": torch.float8_e4m3fn, "e5": torch.float8_e5m2, "u8": torch.uint8}
handle = lt.create()
ws = torch.empty(64 << 20, dtype=torch.uint8, device="cuda")
def set_(fn, dt, obj, attr, value):
    buf = np.array([value], dt(attr)); fn(obj, attr, buf.ctypes.data, buf.nbytes)
def layout(t, rows, cols, ld, order=0, batch=1, stride=0):
    x = lt.matrix_layout_create(T[t], rows, cols, ld)
    s = lambda a, v: set_(lt.matrix_layout_set_attribute, lt.get_matrix_layout_attribute_dtype, x, a, v)
    if order: s(L.ORDER, order)
    if batch != 1: s(L.BATCH_COUNT, batch); s(L.STRIDED_BATCH_OFFSET, stride)
    return x
def heur(desc, la, lb, lc, ld, n=8, align=None, wsz=64 << 20):
    pref = lt.matmul_preference_create()
    s = lambda a, v: set_(lt.matmul_preference_set_attribute, lt.get_matmul_preference_attribute_dtype, pref, a, v)
    s(P.MAX_WORKSPACE_BYTES, wsz)
    for a, v in zip((5, 6, 7, 8), align or ()): s(P(a), v)
    res = np.zeros(n, lt.matmul_heuristic_result_dtype); cnt = np.zeros(1, np.int32)
    try:
        lt.matmul_algo_get_heuristic(handle, desc, la, lb, lc, ld, pref, n, res.ctypes.data, cnt.ctypes.data)
    except lt.cuBLASLtError as e:
        return None, e.status
    res = res[: cnt[0]]
    return res[res["state"] == 0], 0
def desc_(compute, scale, ta=0, tb=0, **attrs):
    x = lt.matmul_desc_create(compute, T[scale])
    for a, v in {"TRANSA": ta, "TRANSB": tb, **attrs}.items():
        set_(lt.matmul_desc_set_attribute, lt.get_matmul_desc_attribute_dtype, x, D[a], v)
    return x
SC = {"f16": np.float16, "f32": np.float32, "f64": np.float64, "c64": np.complex64, "c128": np.complex128, "i32": np.int32}
def run(desc, la, lb, lc, ld, A, B, C, Dm, scale="f32", alpha=1, beta=0, algo=None, align=None):
    if algo is None:
        r, st = heur(desc, la, lb, lc, ld, align=align)
        if r is None: return f"h{st}"
        if not len(r): return "n"
        algo = r[:1].copy()
    al, be = np.array([alpha], SC[scale]), np.array([beta], SC[scale])
    p = lambda x: x if isinstance(x, int) else x.data_ptr()
    try:
        lt.matmul(handle, desc, al.ctypes.data, p(A), la, p(B), lb, be.ctypes.data, p(C), lc, p(Dm), ld, algo.ctypes.data,
                  ws.data_ptr(), 64 << 20, torch.cuda.current_stream().cuda_stream)
    except lt.cuBLASLtError as e:
        return f"e{e.status}"
    try: torch.cuda.synchronize()
    except Exception as e: print("FATAL", e); sys.exit(1)
    return "."
def cmp(st, got, ref, tol=3e-2):
    if st != ".": return st
    up = torch.complex128 if got.is_complex() else torch.float64
    g = got.to(up); r = ref.to(up)
    err = (g - r).abs().max().item() / max(r.abs().max().item(), 1e-9)
    return "." if err < tol else f"x{err:.1g}"
def rnd(shape, t):
    x = torch.randint(-3, 4, shape, device="cuda").to(torch.float64)
    if t in ("c64", "c128"): x = x + 1j * torch.randint(-3, 4, shape, device="cuda").to(torch.float64)
    return x.to(TORCH[t])
def wide(x): return x.to(torch.complex128 if x.is_complex() else torch.float64)
def sec(name):
    def deco(f):
        t = time.time()
        try: out = f()
        except Exception as e: out = f"EXC {type(e).__name__}: {str(e)[:200]}"
        print(f"[{name}] {out} ({time.time()-t:.1f}s)", flush=True)
    return deco
COMP = {"f16": (68, "f32"), "bf16": (68, "f32"), "f32": (68, "f32"), "f64": (70, "f64"), "c64": (68, "c64"), "c128": (70, "c128")}
print(torch.cuda.get_device_name(), lt.get_version(), torch.__version__)

@sec("conj: A,B orders (mem layout CC/CR..), conj flags; ROW+OP_C")
def _():
    out = []
    for t in ("c64", "c128"):
        for ma, mb, ca, cb in itertools.product("CR", "CR", (0, 1), (0, 1)):
            if not (ca or cb): continue
            m, n, k = 13, 9, 21
            A = rnd((m, k), t); B = rnd((k, n), t)
            def side(X, mem, conj):
                r, c = X.shape
                if mem == "R":  # row-major memory: as column-major of the transposed, with T or C
                    return X.contiguous(), layout(t, c, r, c), 2 if conj else 1
                M = X.t().contiguous()
                if conj: return M, layout(t, c, r, r, order=1), 2   # row-order transposed, OP_C: conj without transposing
                return M, layout(t, r, c, r), 0
            a, la, ta = side(A, ma, ca); b, lb, tb = side(B, mb, cb)
            Dm = torch.zeros((n, m), dtype=TORCH[t], device="cuda"); ld = layout(t, m, n, m)
            st = run(desc_(COMP[t][0], COMP[t][1], ta, tb), la, lb, ld, ld, a, b, Dm, Dm, scale=COMP[t][1])
            ref = (wide(A).conj() if ca else wide(A)) @ (wide(B).conj() if cb else wide(B))
            out.append(f"{t}{ma}{mb}{ca}{cb}{cmp(st, Dm.t(), ref)}")
    return " ".join(out)

@sec("transform")
def _():
    out = []
    def tr(ts, td, sc, src, ls, dst, ldst, ta=0):
        x = lt.matrix_transform_desc_create(T[sc])
        if ta: set_(lt.matrix_transform_desc_set_attribute, lt.get_matrix_transform_desc_attribute_dtype, x, 2, ta)
        al, be = np.array([1], SC[sc]), np.array([0], SC[sc])
        try: lt.matrix_transform(handle, x, al.ctypes.data, src, ls, be.ctypes.data, 0, 0, dst, ldst, torch.cuda.current_stream().cuda_stream)
        except lt.cuBLASLtError as e: return f"e{e.status}"
        torch.cuda.synchronize(); return "."
    m, n = 13, 9
    for t, sc in (("f32", "f32"), ("f16", "f32"), ("f16", "f16"), ("bf16", "f32"), ("f64", "f64"), ("c64", "c64"), ("c128", "c128"), ("i8", "i32"), ("i8", "f32"), ("i32", "i32"), ("i32", "f32"), ("e4", "f32"), ("e5", "f32"), ("u8", "f32")):
        X = rnd((m, n), t) if t not in ("e4", "e5", "u8") else torch.randint(0, 3, (m, n), device="cuda").to(TORCH[t])
        got = []
        Y = torch.zeros((n, m), device="cuda").to(TORCH[t])
        got.append("roworder" + cmp(tr(t, t, sc, X.data_ptr(), layout(t, m, n, n, 1), Y.data_ptr(), layout(t, m, n, m)), Y.t(), X))
        Y = torch.zeros((n, m), device="cuda").to(TORCH[t])
        got.append("opT" + cmp(tr(t, t, sc, X.data_ptr(), layout(t, n, m, n), Y.data_ptr(), layout(t, m, n, m), 1), Y.t(), X))
        col = rnd((m, 1), t) if t not in ("e4", "e5", "u8") else X[:, :1].contiguous()
        Y = torch.zeros((n, m), device="cuda").to(TORCH[t])
        got.append("ld0" + cmp(tr(t, t, sc, col.data_ptr(), layout(t, m, n, 0), Y.data_ptr(), layout(t, m, n, m)), Y.t(), col.expand(m, n)))
        XX = X.expand(3, m, n).contiguous(); YY = torch.zeros((3, n, m), device="cuda").to(TORCH[t])
        got.append("batch" + cmp(tr(t, t, sc, XX.data_ptr(), layout(t, m, n, n, 1, 3, m * n), YY.data_ptr(), layout(t, m, n, m, 0, 3, m * n)), YY.transpose(1, 2), XX))
        if t in ("c64", "c128"):
            Y = torch.zeros((n, m), device="cuda").to(TORCH[t])
            got.append("opC" + cmp(tr(t, t, sc, X.data_ptr(), layout(t, n, m, n), Y.data_ptr(), layout(t, m, n, m), 2), Y.t(), X.conj()))
            Y = torch.zeros((m, n), device="cuda").to(TORCH[t])
            got.append("rowC" + cmp(tr(t, t, sc, X.data_ptr(), layout(t, n, m, n), Y.data_ptr(), layout(t, m, n, n, 1), 2), Y, X.conj()))
        out.append(f"{t}/{sc}:" + ",".join(got))
    for s, d, sc in (("f32", "f16", "f32"), ("f16", "f32", "f32"), ("bf16", "f32", "f32"), ("i32", "f32", "f32"), ("i8", "f32", "f32"), ("i8", "i32", "i32")):
        X = rnd((m, n), s); Y = torch.zeros((m, n), device="cuda").to(TORCH[d])
        out.append(f"{s}>{d}" + cmp(tr(s, d, sc, X.data_ptr(), layout(s, n, m, n), Y.data_ptr(), layout(d, n, m, n)), Y, X))
    return " ".join(out)

@sec("C: ld0, ROW C with COL D, batch stride 0, neg batch stride, interleaved")
def _():
    out = []
    for t in ("f32", "f16", "bf16", "f64", "c64", "c128"):
        m, n, k = 13, 9, 21; ct, sc = COMP[t]; got = []
        A, B = rnd((m, k), t), rnd((k, n), t); a = A.t().contiguous(); b = B.t().contiguous()
        la, lb, ld = layout(t, m, k, m), layout(t, k, n, k), layout(t, m, n, m)
        ref = wide(A) @ wide(B)
        col = rnd((m, 1), t); Dm = torch.zeros((n, m), device="cuda").to(TORCH[t])
        got.append("ld0" + cmp(run(desc_(ct, sc), la, lb, layout(t, m, n, 0), ld, a, b, col, Dm, sc, 1, 1), Dm.t(), ref + wide(col)))
        C = rnd((m, n), t); Dm = torch.zeros((n, m), device="cuda").to(TORCH[t])
        got.append("rowC" + cmp(run(desc_(ct, sc), la, lb, layout(t, m, n, n, 1), ld, a, b, C, Dm, sc, 1, 1), Dm.t(), ref + wide(C)))
        Dm = torch.zeros((m, n), device="cuda").to(TORCH[t])
        got.append("colC>rowD" + cmp(run(desc_(ct, sc), la, lb, layout(t, m, n, m), layout(t, m, n, n, 1), a, b, C.t().contiguous(), Dm, sc, 1, 1), Dm, ref + wide(C)))
        Dm = torch.zeros((m, n), device="cuda").to(TORCH[t])
        got.append("allROW" + cmp(run(desc_(ct, sc), layout(t, m, k, k, 1), layout(t, k, n, n, 1), layout(t, m, n, n, 1), layout(t, m, n, n, 1), A, B, C, Dm, sc, 1, 1), Dm, ref + wide(C)))
        row = rnd((1, n), t); Dm = torch.zeros((m, n), device="cuda").to(TORCH[t])
        Z = 3; AA = rnd((Z, m, k), t); BB = rnd((Z, k, n), t); aa = AA.transpose(1, 2).contiguous(); bb = BB.transpose(1, 2).contiguous()
        R = wide(AA) @ wide(BB)
        DD = torch.zeros((Z, n, m), device="cuda").to(TORCH[t]); lD = layout(t, m, n, m, 0, Z, m * n)
        CC = rnd((n, m), t)
        got.append("Cst0" + cmp(run(desc_(ct, sc), layout(t, m, k, m, 0, Z, m * k), layout(t, k, n, k, 0, Z, k * n), layout(t, m, n, m, 0, Z, 0), lD, aa, bb, CC, DD, sc, 1, 1), DD.transpose(1, 2), R + wide(CC.t())))
        got.append("ld0batch" + cmp(run(desc_(ct, sc), layout(t, m, k, m, 0, Z, m * k), layout(t, k, n, k, 0, Z, k * n), layout(t, m, n, 0, 0, Z, 0), lD, aa, bb, col, DD, sc, 1, 1), DD.transpose(1, 2), R + wide(col)))
        got.append("Ast0" + cmp(run(desc_(ct, sc), layout(t, m, k, m, 0, Z, 0), layout(t, k, n, k, 0, Z, k * n), lD, lD, aa, bb, DD, DD, sc), DD.transpose(1, 2), wide(AA[:1]) @ wide(BB)))
        got.append("neg" + cmp(run(desc_(ct, sc), layout(t, m, k, m, 0, Z, -m * k), layout(t, k, n, k, 0, Z, k * n), lD, lD, aa[Z - 1], bb, DD, DD, sc), DD.transpose(1, 2), wide(AA.flip(0)) @ wide(BB)))
        inter = AA.permute(2, 0, 1).contiguous()  # k, Z, m: column step Z*m, batch step m
        got.append("inter" + cmp(run(desc_(ct, sc), layout(t, m, k, Z * m, 0, Z, m), layout(t, k, n, k, 0, Z, k * n), lD, lD, inter, bb, DD, DD, sc), DD.transpose(1, 2), R))
        M1 = rnd((1, 3 * k), t); Dm = torch.zeros((n, 1), device="cuda").to(TORCH[t])
        got.append("m1ld3" + cmp(run(desc_(ct, sc), layout(t, 1, k, 3), lb, layout(t, 1, n, 1), layout(t, 1, n, 1), M1, b, Dm, Dm, sc), Dm.t(), wide(M1[:, ::3]) @ wide(B)))
        out.append(t + ":" + ",".join(got))
    return " ".join(out)

EPI = {"RELU": 2, "BIAS": 4, "RELU_BIAS": 6, "GELU": 32, "GELU_BIAS": 36, "RELU_AUX": 130, "RELU_AUX_BIAS": 134, "DRELU": 136, "DRELU_BGRAD": 152, "GELU_AUX": 160, "GELU_AUX_BIAS": 164, "DGELU": 192, "DGELU_BGRAD": 208, "BGRADA": 256, "BGRADB": 512}
up = lambda n, k: -(-n // k) * k
def epi(t, e, m, n, k, ta=0, tb=0, batch=1, dt=None, bias_t=None, **more):
    ct, sc = COMP[t]; dt = dt or t
    A, B = rnd((batch, m, k), t), rnd((batch, k, n), t)
    a = A.contiguous() if ta else A.transpose(1, 2).contiguous(); b = B.contiguous() if tb else B.transpose(1, 2).contiguous()
    la = layout(t, *((k, m, k) if ta else (m, k, m)), 0, batch, m * k); lb = layout(t, *((n, k, n) if tb else (k, n, k)), 0, batch, n * k)
    ld = layout(dt, m, n, m, 0, batch, m * n)
    Dm = torch.zeros((batch, n, m), device="cuda").to(TORCH[dt])
    attrs = {"EPILOGUE": EPI[e], **more}
    R = wide(A) @ wide(B); bias = None; vec = n if e == "BGRADB" else m
    if "BIAS" in e or "BGRAD" in e:
        bias = rnd((batch, vec), bias_t or dt); attrs["BIAS_POINTER"] = bias.data_ptr()
        if bias_t: attrs["BIAS_DATA_TYPE"] = T[bias_t]
        if batch > 1: attrs["BIAS_BATCH_STRIDE"] = vec
    relu_mask = None
    if "RELU_AUX" in e or "DRELU" in e:
        ldm = up(m, 128); aux = torch.zeros((batch, n, ldm // 8), dtype=torch.uint8, device="cuda")
        if e.startswith("D"): aux = torch.randint(0, 256, aux.shape, device="cuda").to(torch.uint8)
        attrs |= {"EPILOGUE_AUX_POINTER": aux.data_ptr(), "EPILOGUE_AUX_LD": ldm}
        if batch > 1: attrs["EPILOGUE_AUX_BATCH_STRIDE"] = ldm * n
    if "GELU_AUX" in e or "DGELU" in e:
        ldm = up(m, 8); aux = torch.randn((batch, n, ldm), device="cuda").to(TORCH[dt])
        attrs |= {"EPILOGUE_AUX_POINTER": aux.data_ptr(), "EPILOGUE_AUX_LD": ldm}
        if batch > 1: attrs["EPILOGUE_AUX_BATCH_STRIDE"] = ldm * n
    st = run(desc_(ct, sc, ta, tb, **attrs), la, lb, ld, ld, a, b, Dm, Dm, sc)
    if st != ".": return st
    got = Dm.transpose(1, 2)
    if "BIAS" in e: R = R + wide(bias)[:, :, None]
    bits = lambda x: ((x[..., None].int() >> torch.arange(8, device="cuda").int()) & 1).flatten(-2)[..., :m].transpose(1, 2).double()
    X = R
    if e.startswith("RELU"): R = R.clamp(min=0)
    if e.startswith("GELU"): R = torch.nn.functional.gelu(R, approximate="tanh")
    if e.startswith("DRELU"): R = R * bits(aux)
    if e.startswith("DGELU"):
        z = wide(aux)[:, :, :m].transpose(1, 2).clone().requires_grad_(); torch.nn.functional.gelu(z, approximate="tanh").backward(R); R = z.grad
    s = cmp(st, got, R)
    if "RELU_AUX" in e and s == ".": s = "." if torch.equal(bits(aux)[X != 0], (X > 0).double()[X != 0]) else "xmask"
    if "GELU_AUX" in e and s == ".": s = cmp(".", wide(aux)[:, :, :m].transpose(1, 2), X)
    if "BGRAD" in e and s == ".":
        tot = wide(A).sum(2) if e == "BGRADA" else wide(B).sum(1) if e == "BGRADB" else R.sum(2)
        s = cmp(".", wide(bias), tot, 5e-2); s = s if s == "." else "g" + s
    return s

@sec("epilogs: dtype NN-odd NN-64 TN-64 batch3-64 batch3-odd")
def _():
    return " ".join(f"{t}-{e}:" + ",".join([epi(t, e, 13, 9, 21), epi(t, e, 64, 64, 64), epi(t, e, 64, 64, 64, 1, 0), epi(t, e, 64, 32, 64, batch=3), epi(t, e, 13, 9, 21, batch=3)]).replace(".,.,.,.,.", "ok")
                    for t in ("f16", "bf16", "f32", "f64") for e in EPI)
@sec("BGRAD orders NN NT TN TT at 64 / odd")
def _():
    return " ".join(f"{t}-{e}:" + ",".join(epi(t, e, *s, ta, tb) for s in ((64, 32, 64), (13, 9, 21)) for ta in (0, 1) for tb in (0, 1)) for t in ("f16", "bf16", "f32", "f64") for e in ("BGRADA", "BGRADB"))
@sec("epilogs with f32 D of f16/bf16 (bias f32 / bias f16)")
def _():
    return " ".join(f"{t}-{e}:{epi(t, e, 64, 64, 64, dt='f32')},{epi(t, e, 64, 64, 64, dt='f32', bias_t=t) if 'BIAS' in e else '-'}" for t in ("f16", "bf16") for e in ("RELU", "BIAS", "GELU_AUX_BIAS", "DGELU_BGRAD", "RELU_AUX", "BGRADA"))
@sec("complex epilogs")
def _(): return " ".join(f"{t}-{e}:{epi(t, e, 64, 64, 64)}" for t in ("c64", "c128") for e in ("RELU", "BIAS", "GELU"))
@sec("ROW D with bias (bias length m)")
def _():
    m, n, k = 64, 32, 64; A, B = rnd((m, k), "f32"), rnd((k, n), "f32"); bias = rnd((m,), "f32"); Dm = torch.zeros((m, n), device="cuda")
    d = desc_(68, "f32", EPILOGUE=4, BIAS_POINTER=bias.data_ptr())
    return cmp(run(d, layout("f32", m, k, k, 1), layout("f32", k, n, n, 1), layout("f32", m, n, n, 1), layout("f32", m, n, n, 1), A, B, Dm, Dm), Dm, wide(A) @ wide(B) + wide(bias)[:, None])

@sec("compute types NN odd / TN 64")
def _():
    out = []
    for t, cts in (("f16", ((64, "f16"), (65, "f16"), (64, "f32"), (68, "f32"), (69, "f32"), (68, "f16"))), ("bf16", ((68, "f32"), (69, "f32"))),
                   ("f32", ((68, "f32"), (69, "f32"), (74, "f32"), (75, "f32"), (77, "f32"), (78, "f32"))), ("f64", ((70, "f64"), (71, "f64"), (79, "f64"))),
                   ("c64", ((68, "c64"), (69, "c64"), (74, "c64"), (75, "c64"), (77, "c64"), (78, "c64"), (68, "f32"))), ("c128", ((70, "c128"), (71, "c128"), (79, "c128"), (70, "f64")))):
        for ct, sc in cts:
            r = []
            for m, n, k, ta in ((13, 9, 21, 0), (64, 64, 64, 1)):
                A, B = rnd((m, k), t), rnd((k, n), t); Dm = torch.zeros((n, m), device="cuda").to(TORCH[t]); ld = layout(t, m, n, m)
                st = run(desc_(ct, sc, ta), layout(t, *((k, m, k) if ta else (m, k, m))), layout(t, k, n, k), ld, ld, A.contiguous() if ta else A.t().contiguous(), B.t().contiguous(), Dm, Dm, sc)
                r.append(cmp(st, Dm.t(), wide(A) @ wide(B)))
            out.append(f"{t}/{ct}/{sc}:{','.join(r)}")
    return " ".join(out)

@sec("int8 (ct,scale,D): TN odd, TN k4, TN m4k4, TN 64, NN 64, NT 64, TN batch, m1")
def _():
    out = []
    for ct, sc, d in ((72, "i32", "i32"), (73, "i32", "i32"), (72, "f32", "i8"), (68, "f32", "f32"), (72, "f32", "f32"), (72, "f32", "i32")):
        r = []
        for m, n, k, ta, tb in ((13, 9, 21, 1, 0), (13, 9, 20, 1, 0), (12, 9, 20, 1, 0), (64, 64, 64, 1, 0), (64, 64, 64, 0, 0), (64, 64, 64, 0, 1), (1, 64, 64, 1, 0), (64, 1, 64, 1, 0), (13, 9, 21, 0, 0), (12, 8, 20, 0, 0)):
            A, B = torch.randint(-1, 2, (m, k), device="cuda").to(torch.int8), torch.randint(-1, 2, (k, n), device="cuda").to(torch.int8)
            Dm = torch.zeros((n, m), device="cuda").to(TORCH[d]); ld = layout(d, m, n, m)
            st = run(desc_(ct, sc, ta, tb), layout("i8", *((k, m, k) if ta else (m, k, m))), layout("i8", *((n, k, n) if tb else (k, n, k))), ld, ld, A if ta else A.t().contiguous(), B if tb else B.t().contiguous(), Dm, Dm, sc)
            r.append(cmp(st, Dm.t(), wide(A) @ wide(B)))
        out.append(f"{ct}/{sc}/{d}:{','.join(r)}")
    return " ".join(out)

def fp8(ta_, tb_, c, d, m=64, n=32, k=64, epi=1, bias=None, scales="ab", amax=False, aux=None, fast=0, beta=0, batch=1, aux_amax=False, row=False):
    A = torch.randn((batch, m, k), device="cuda").to(TORCH[ta_]); B = torch.randn((batch, n, k), device="cuda").to(TORCH[tb_])
    one = {x: torch.tensor([v], device="cuda") for x, v in zip("abcd", (0.5, 2.0, 0.25, 0.125))}
    attrs = {"EPILOGUE": epi, "FAST_ACCUM": fast}
    for x in scales: attrs[f"{x.upper()}_SCALE_POINTER"] = one[x].data_ptr()
    am = torch.full((1,), -1.0, device="cuda"); aam = torch.full((1,), -1.0, device="cuda")
    if amax: attrs["AMAX_D_POINTER"] = am.data_ptr()
    bt = None
    if bias: bt = torch.randn(m, device="cuda").to(TORCH[bias]); attrs |= {"BIAS_POINTER": bt.data_ptr(), "BIAS_DATA_TYPE": T[bias]}
    if aux: 
        x = torch.zeros((n, up(m, 16)), device="cuda").to(TORCH[aux]); attrs |= {"EPILOGUE_AUX_POINTER": x.data_ptr(), "EPILOGUE_AUX_LD": up(m, 16) if aux != "u8" else up(m, 128), "EPILOGUE_AUX_SCALE_POINTER": one["d"].data_ptr()}
        if aux != "u8": attrs["EPILOGUE_AUX_DATA_TYPE"] = T[aux]
        else: attrs.pop("EPILOGUE_AUX_SCALE_POINTER")
        if aux_amax: attrs["EPILOGUE_AUX_AMAX_POINTER"] = aam.data_ptr()
    C = torch.randn((batch, n, m), device="cuda").to(TORCH[c]); Dm = torch.zeros((batch, n, m), device="cuda").to(TORCH[d])
    st = run(desc_(68, "f32", 1, 0, **attrs), layout(ta_, k, m, k, 0, batch, m * k), layout(tb_, k, n, k, 0, batch, n * k), layout(c, m, n, m, 0, batch, m * n), layout(d, m, n, m, 0, batch, m * n), A, B, C if beta or c != d else Dm, Dm, "f32", 1, beta)
    if st != ".": return st
    R = (wide(A) * (0.5 if "a" in scales else 1)) @ (wide(B) * (2 if "b" in scales else 1)).transpose(1, 2)
    if beta: R = R + beta * wide(C).transpose(1, 2) * (0.25 if "c" in scales else 1)
    if bias: R = R + wide(bt)[:, None]
    if epi & 2: R = R.clamp(min=0)
    if epi & 32: R = torch.nn.functional.gelu(R, approximate="tanh")
    s = cmp(".", Dm.transpose(1, 2), R * (0.125 if "d" in scales else 1), 8e-2)
    if amax: s += f"am{am.item()/R.abs().max().item():.2f}"
    if aux_amax: s += f"aam{aam.item():.2f}"
    return s
@sec("fp8 C>D: e4e4 e4e5 e5e4 e5e5 (ab), with d scale, with c scale beta")
def _():
    out = []
    for c, d in (("bf16", "bf16"), ("f16", "f16"), ("f32", "f32"), ("bf16", "e4"), ("f16", "e4"), ("f32", "e4"), ("e4", "e4"), ("bf16", "e5"), ("f16", "e5"), ("e5", "e5"), ("e4", "e5"), ("bf16", "f32"), ("f16", "bf16")):
        out.append(f"{c}>{d}:" + ",".join(fp8(*ab, c, d) for ab in (("e4", "e4"), ("e4", "e5"), ("e5", "e4"), ("e5", "e5"))) + "|d:" + fp8("e4", "e4", c, d, scales="abd") + "|c:" + fp8("e4", "e4", c, d, scales="abc", beta=0.5) + "|beta:" + fp8("e4", "e4", c, d, beta=0.5))
    return " ".join(out)
@sec("fp8 amax per D; fast; batch; sizes m n k")
def _():
    return (" ".join(f"{c}>{d}:{fp8('e4', 'e4', c, d, amax=True, scales='abd' if d in ('e4','e5') else 'ab')}" for c, d in (("bf16", "bf16"), ("f16", "f16"), ("f32", "f32"), ("bf16", "e4"), ("f16", "e4")))
            + " e5d:" + fp8("e4", "e5", "bf16", "e5", amax=True, scales="abd")
            + " fast:" + fp8("e4", "e4", "bf16", "bf16", fast=1) + " batch:" + fp8("e4", "e4", "bf16", "bf16", batch=3) + fp8("e4", "e4", "bf16", "e4", batch=3, amax=True)
            + " m8:" + fp8("e4", "e4", "bf16", "bf16", m=24) + " m13:" + fp8("e4", "e4", "bf16", "bf16", m=13) + " n9:" + fp8("e4", "e4", "bf16", "bf16", n=9) + " n8:" + fp8("e4", "e4", "bf16", "bf16", n=8) + " n1:" + fp8("e4", "e4", "bf16", "bf16", n=1) + " k24:" + fp8("e4", "e4", "bf16", "bf16", k=24) + " k16:" + fp8("e4", "e4", "bf16", "bf16", k=16)
            + " m16n9e4:" + fp8("e4", "e4", "bf16", "e4", m=16, n=9) + " m24e4:" + fp8("e4", "e4", "bf16", "e4", m=24) + " noscale:" + fp8("e4", "e4", "bf16", "bf16", scales=""))
@sec("fp8 epilogs: relu gelu bias(by bias dtype) aux")
def _():
    out = []
    for c, d in (("bf16", "bf16"), ("f16", "f16"), ("f32", "f32"), ("bf16", "e4"), ("f16", "e4")):
        r = ["relu" + fp8("e4", "e4", c, d, epi=2), "gelu" + fp8("e4", "e4", c, d, epi=32)]
        r += [f"bias-{b}" + fp8("e4", "e4", c, d, epi=4, bias=b) for b in ("bf16", "f16", "f32")]
        r += [f"gelu_aux-{x}" + fp8("e4", "e4", c, d, epi=160, aux=x, aux_amax=x in ("e4", "e5")) for x in ("bf16", "f16", "e4", "e5")]
        r += ["relu_aux" + fp8("e4", "e4", c, d, epi=130, aux="u8", m=128), "relu_bias" + fp8("e4", "e4", c, d, epi=6, bias="bf16" if c != "f16" else "f16"), "gelu_aux_bias-e4" + fp8("e4", "e4", c, d, epi=164, aux="e4", bias="bf16" if c != "f16" else "f16")]
        out.append(f"{c}>{d}:" + ",".join(r))
    return " ".join(out)

@sec("alignment bf16: 2-byte pointers with align pref 2 / planned 16; caps of first")
def _():
    m = n = k = 64; t = "bf16"; mem = rnd((3 * 64 * 64 + 8,), t); A = mem[1:1 + m * k]; B = rnd((k * n,), t); Dm = torch.zeros((n, m), device="cuda").to(TORCH[t])
    la = layout(t, m, k, m); d = desc_(68, "f32"); ref = wide(A.view(k, m)).t() @ wide(B.view(n, k)).t()
    s1 = cmp(run(d, la, la, la, la, A, B, Dm, Dm, align=(2, 16, 16, 16)), Dm.t(), ref)
    r16, _ = heur(d, la, la, la, la, align=(16,) * 4); r2, _ = heur(d, la, la, la, la, align=(2, 16, 16, 16))
    ids = []
    for r in (r16, r2):
        buf = np.zeros(1, np.uint32); lt.matmul_algo_cap_get_attribute(r["algo"][:1].ctypes.data, 16, buf.ctypes.data, 4); ids.append(int(buf[0]))
    globals()["last"] = lambda: run(d, la, la, la, la, A, B, Dm, Dm, algo=r16[:1].copy())
    return f"planned2 {s1} minalignA {ids} n16 {len(r16)} n2 {len(r2)}"

@sec("heuristics")
def _():
    out = []
    for t, m, n, k in (("f32", 64, 64, 64), ("bf16", 4096, 4096, 4096), ("f16", 8192, 8192, 8192), ("bf16", 16, 4096, 4096)):
        la, lb, ld = layout(t, k, m, k), layout(t, k, n, k), layout(t, m, n, m); d = desc_(68, "f32", 1, 0)
        for req in (1, 8, 64, 1000):
            t0 = time.perf_counter(); r, _ = heur(d, la, lb, ld, ld, n=req); t1 = time.perf_counter(); heur(d, la, lb, ld, ld, n=req); t2 = time.perf_counter()
            out.append(f"{t}{m}/{req}:{len(r)} {1e6*(t1-t0):.0f}us {1e6*(t2-t1):.0f}us")
        if m >= 4096: out.append(f"wsmax {int(r['workspace_size'].max())>>10}K uniq {len({x.tobytes() for x in r['algo']})}")
    ids = np.zeros(200, np.int32); cnt = np.zeros(1, np.int32); t0 = time.perf_counter()
    lt.matmul_algo_get_ids(handle, 68, 0, 14, 14, 14, 14, 200, ids.ctypes.data, cnt.ctypes.data)
    out.append(f"ids {int(cnt[0])} {ids[:cnt[0]].tolist()} {1e6*(time.perf_counter()-t0):.0f}us")
    res = r[:1].copy(); chk = np.zeros(1, lt.matmul_heuristic_result_dtype); t0 = time.perf_counter()
    lt.matmul_algo_check(handle, d, la, lb, ld, ld, res["algo"].ctypes.data, chk.ctypes.data); out.append(f"check {1e6*(time.perf_counter()-t0):.0f}us state {chk['state'][0]}")
    return " ".join(out)

@sec("gpu time of all 64+ candidates: best / first / 8th-best-of-first-8 (us)")
def _():
    out = []
    for t, m, n, k, ta in (("bf16", 4096, 4096, 4096, 1), ("bf16", 4096, 4096, 4096, 0), ("bf16", 8192, 8192, 8192, 0), ("bf16", 4096, 16, 4096, 0), ("e4", 8192, 8192, 8192, 1)):
        dt = "bf16"; A = torch.randn((m, k), device="cuda").to(TORCH[t]); B = torch.randn((n, k), device="cuda").to(TORCH[t]); Dm = torch.zeros((n, m), device="cuda").to(TORCH[dt])
        la, lb, ld = layout(t, *((k, m, k) if ta else (m, k, m))), layout(t, k, n, k), layout(dt, m, n, m); d = desc_(68, "f32", ta, 0)
        r, _ = heur(d, la, lb, ld, ld, n=1000); al, be = np.ones(1, np.float32), np.zeros(1, np.float32); times = []
        reps = 5 if m > 4096 else 20 if n > 16 else 100
        s = torch.cuda.current_stream().cuda_stream
        for i in range(min(len(r), 64)):
            g = r[i:i + 1].copy()
            go = lambda: lt.matmul(handle, d, al.ctypes.data, A.data_ptr(), la, B.data_ptr(), lb, be.ctypes.data, Dm.data_ptr(), ld, Dm.data_ptr(), ld, g.ctypes.data, ws.data_ptr(), 64 << 20, s)
            try: go()
            except lt.cuBLASLtError: times.append(9e9); continue
            e0, e1 = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True); e0.record()
            for _ in range(reps): go()
            e1.record(); torch.cuda.synchronize(); times.append(1e3 * e0.elapsed_time(e1) / reps)
        order = np.argsort(times)
        out.append(f"{t}{m}x{n}x{k}{'T' if ta else 'N'}: n {len(times)} first {times[0]:.1f} best8 {min(times[:8]):.1f} best16 {min(times[:16]):.1f} best32 {min(times[:32]):.1f} best {min(times):.1f} at {int(order[0])}")
    return "; ".join(out)

@sec("ns per call")
def _():
    t = "f32"; m = n = k = 64; A = torch.randn((m, k), device="cuda"); B = torch.randn((k, n), device="cuda"); Dm = torch.zeros((n, m), device="cuda"); la = layout(t, m, k, m); d = desc_(68, "f32")
    r, _ = heur(d, la, la, la, la); al, be = np.ones(1, np.float32), np.zeros(1, np.float32); s = torch.cuda.current_stream().cuda_stream; g = r[:1].copy()
    call = Call(lt.LIBRARY.address("cublasLtMatmul"), [handle, d, al.ctypes.data, Slot(0), la, Slot(1), la, be.ctypes.data, Slot(2), la, Slot(2), la, g.ctypes.data, ws.data_ptr(), 1 << 25, s], returns_status=True, keep=(al, be, g))
    p = (A.data_ptr(), B.data_ptr(), Dm.data_ptr()); best = []
    for algo in range(min(len(r), 3)):
        g[:] = r[algo:algo + 1]; b = 9e9
        for _ in range(20):
            torch.cuda.synchronize(); t0 = time.perf_counter()
            for _ in range(200): call(*p)
            b = min(b, (time.perf_counter() - t0) / 200)
        best.append(f"{1e9*b:.0f}")
    buf = np.array([A.data_ptr()], np.uintp); fn = lt.LIBRARY.address("cublasLtMatmulDescSetAttribute"); c2 = Call(fn, [d, 8, buf.ctypes.data, 8]); b = 9e9
    for _ in range(20):
        t0 = time.perf_counter()
        for _ in range(1000): c2()
        b = min(b, (time.perf_counter() - t0) / 1000)
    c3 = Call(lt.LIBRARY.address("cublasLtGetVersion"), []); b3 = 9e9
    for _ in range(20):
        t0 = time.perf_counter()
        for _ in range(1000): c3()
        b3 = min(b3, (time.perf_counter() - t0) / 1000)
    return f"matmul {best} setattr {1e9*b:.0f} empty {1e9*b3:.0f}; opaque sizes: algo0 {r['algo']['data'][0].tolist()}"
try:
    import nvmath; print("nvmath", nvmath.__version__)
except Exception as e: print("no nvmath", type(e).__name__)
print("misaligned on a kernel for 16:", last(), flush=True)
