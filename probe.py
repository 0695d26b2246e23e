"""The accuracy of sums of one operand's own modes, done by the library (not part of the project)."""
import numpy as np
from planmath.core.provider import Algorithm
from planmath.tensor import BinaryContraction
from planmath.tensor.providers import cutensor as c
from tests.linalg.operands import place, random_values
from tests.tensor.reference import reference, assert_near
from tests.linalg.operands import wide
for dtype in ("float16", "bfloat16", "float32", "float64"):
    for expr, *shapes in (("ijl,jkm->ik", (2, 3, 4), (3, 5, 2)), ("ijl,jk->ik", (20, 30, 400), (30, 50)), ("ij,k->k", (300, 400), (5,)), ("ij,kl->il", (30, 400), (50, 60)), ("ijl,ijk->ilk", (64, 64, 32), (64, 64, 16))):
        a, b = (place(random_values(s, dtype, i), dtype, "torch-cuda") for i, s in enumerate(shapes))
        with BinaryContraction(expr, a, b) as op:
            op.plan()
            p = op._plan_made.problem
            expected = reference(expr, [a, b])
            for before in ((False, True) if dtype != "bfloat16" else (False,)):
                way = c.Way(None, before)
                real = c.ways
                try:
                    op._executor
                    prepared = c._prepare(p, Algorithm("cutensor", (*([("sums", "before")] if before else []), ("algo", "DEFAULT"))))
                    ex = op._make_executor(p, prepared, op._slots)
                    import torch
                    best = 1e9
                    for _ in range(4):
                        s, e = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                        s.record()
                        for _ in range(20): r = ex.execute(None, None, True)
                        e.record(); e.synchronize(); best = min(best, s.elapsed_time(e) / 20 * 1e3)
                    d = np.abs(np.asarray(wide(r) - expected.values, float))
                    print(dtype, expr, "before" if before else "inside", "worst error / bound", (d / expected.bound).max(), "us", round(best, 1), "ws", prepared.workspace_size)
                except Exception as error:
                    print(dtype, expr, before, repr(error)[:200])
