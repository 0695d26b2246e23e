"""Memory does not grow, however often something is done."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from planmath.fft.providers import PROVIDERS
from tests.processes import run_python
from tests.providers import on_host, provider_parameters

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")

#: Bytes that a long run may add to the process: some pages that are touched late.
LIMIT = 1 << 20

MEASURE = """
    import gc, sys
    import numpy as np
    from planmath.fft import FFT, fft, irfft

    def resident():
        gc.collect()
        return int(open("/proc/self/statm").read().split()[1]) * {page}

    provider = sys.argv[1]
    a, b = np.ones((4, 8), complex), np.ones((4, 8), complex)
    options = {{"provider": provider, "tuning": False}}
    {setup}
    def work(count):
        for i in range(count):
            {work}
    work({warm})
    before = resident()
    work({count})
    print(resident() - before)
"""

WORK = {
    "execute": (
        "transform = FFT(a, options=options); transform.plan(); out = transform.empty_result()",
        "transform.reset_operand(b); transform.execute(); transform.execute(out=out)", 2000, 100_000,
    ),
    "life": (
        "",
        "with FFT(a, options=options) as t: t.plan(); t.execute()", 200, 500,
    ),
    "life of C2R, which has a workspace": (
        "",
        "with FFT(a, options=options | {'fft_type': 'C2R'}) as t: t.plan(); t.execute()", 200, 500,
    ),
    "stateless calls of many shapes": (
        "",
        "fft(np.ones(2 + i % 100, complex)); irfft(b[:, : 2 + i % 6])", 400, 2000,
    ),
    "errors": (
        "transform = FFT(a, options=options); transform.plan()",
        """
            for call in (lambda: transform.reset_operand(a.T), lambda: transform.execute(out=a), lambda: fft([i])):
                try:
                    call()
                except (TypeError, ValueError):
                    pass
        """, 200, 1000,
    ),
}  # fmt: skip


@pytest.mark.parametrize("provider", provider_parameters(on_host(PROVIDERS)))
@pytest.mark.parametrize("what", WORK)
def test_memory_does_not_grow(what, provider):
    setup, work, warm, count = WORK[what]
    program = MEASURE.format(page=os.sysconf("SC_PAGE_SIZE"), setup=setup, work=work.strip(), warm=warm, count=count)
    assert int(run_python(program, provider)) < LIMIT
