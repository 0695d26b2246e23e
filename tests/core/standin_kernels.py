"""A double of NVRTC and of a device's multiprocessors, on the stand-in for the CUDA runtime: kernels run on the host.

Their source is compiled as C++. The threads of a block take turns as coroutines, from one barrier or shuffle to the
next. Barriers at which not all threads arrive end the process, and so do addresses of the host in the place of the
device's.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from planmath.core.cuda import device_code

COMPILER = shutil.which("c++") or shutil.which("g++") or ""
#: What a kernel looks like; the double launches those with one parameter.
KERNEL = re.compile(r"__global__ (?:__launch_bounds__\([^)]*\) )?void (\w+)\(const (\w+) ")

BEFORE = r"""
#undef _FORTIFY_SOURCE // which takes jumps between coroutines for errors
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

namespace device { // for kernels may use names of the C library
#define PM_ON_HOST
#define __device__
#define __global__
#define __shared__ static
#define __launch_bounds__(...)
struct float2 { float x, y; };
struct double2 { double x, y; };
struct ulonglong2 { unsigned long long x, y; };
struct uint3 { unsigned x, y, z; };
static uint3 threadIdx, blockIdx, blockDim, gridDim;

static void end(const char *why) {
    fprintf(stderr, "stand-in for a device: %s\n", why);
    abort();
}

/* An address in memory that a kernel reads: of the device, or null. */
template <class T> struct pointer {
    T *address;
    operator T *() const {
        const size_t device = (size_t)1 << 56;
        if (address && !((size_t)address & device)) end("an address of the host in the place of one of the device");
        return (T *)((size_t)address & (device - 1));
    }
};

enum { WARP_SIZE = 32, MOST_THREADS = 1024, STACK = 1 << 16 };
enum state { READY, AT_SHUFFLE, AT_BARRIER, DONE };
static struct { ucontext_t context; jmp_buf at; bool begun; state is; } threads[MOST_THREADS];
static jmp_buf scheduler;

/* Switches by jumps: those of ucontext.h ask the system for its signal mask each time. */
static void wait(state at) {
    const unsigned me = threadIdx.x;
    threads[me].is = at;
    if (!_setjmp(threads[me].at)) _longjmp(scheduler, 1);
}
static void __syncthreads() { wait(AT_BARRIER); }
static void __syncwarp() { wait(AT_SHUFFLE); }
static void __threadfence() {}
template <class T> static T __shfl_xor_sync(unsigned mask, T value, int apart) {
    static T given[2][MOST_THREADS]; /* two, so that none is overwritten that somebody has yet to read */
    static bool turn[MOST_THREADS];
    const unsigned me = threadIdx.x;
    if (mask != 0xffffffffu) end("a shuffle among some threads of a warp only");
    const bool now = turn[me] = !turn[me];
    given[now][me] = value;
    wait(AT_SHUFFLE);
    return given[now][me ^ apart];
}
template <class T> static T __shfl_sync(unsigned mask, T value, int from, int width = WARP_SIZE) {
    static T given[2][MOST_THREADS];
    static bool turn[MOST_THREADS];
    const unsigned me = threadIdx.x;
    if (mask != 0xffffffffu) end("a shuffle among some threads of a warp only");
    const bool now = turn[me] = !turn[me];
    given[now][me] = value;
    wait(AT_SHUFFLE);
    return given[now][me / width * width + from % width];
}
template <class T> static T __ldg(const T *p) { return *p; }
template <class T> static T __ldcg(const T *p) { return *p; }
static double __longlong_as_double(long long bits) { double x; memcpy(&x, &bits, sizeof x); return x; }
static unsigned atomicInc(unsigned *p, unsigned last) {
    const unsigned old = *p;
    *p = old >= last ? 0 : old + 1;
    return old;
}

static int atomicMax(int *p, int value) {
    const int old = *p;
    if (value > old) *p = value;
    return old;
}

static void (*body)(const void *);
static const void *parameter;
static void run_threads() {
    for (;;) { /* those of one block after the other */
        body(parameter);
        wait(DONE);
    }
}
static void resume(unsigned i) {
    threadIdx.x = i;
    if (_setjmp(scheduler)) return;
    if (threads[i].begun) _longjmp(threads[i].at, 1);
    threads[i].begun = true;
    getcontext(&threads[i].context);
    threads[i].context.uc_stack.ss_sp = malloc(STACK), threads[i].context.uc_stack.ss_size = STACK;
    makecontext(&threads[i].context, run_threads, 0);
    setcontext(&threads[i].context);
}
/* Lets the threads of a warp run until all are done or at a barrier of the block; says how many are done. */
static unsigned run_warp(unsigned first, unsigned n) {
    for (;;) {
        unsigned counts[4] = {0, 0, 0, 0};
        for (unsigned i = first; i < first + n; i++) {
            if (threads[i].is == READY) resume(i);
            counts[threads[i].is]++;
        }
        if (!counts[AT_SHUFFLE]) return counts[DONE];
        if (counts[AT_SHUFFLE] != n) end("threads of a warp that do not take part in a shuffle");
        for (unsigned i = first; i < first + n; i++) threads[i].is = READY;
    }
}
static void run_block(unsigned n) {
    for (;;) {
        for (unsigned i = 0; i < n; i++) threads[i].is = READY;
        unsigned done = 0;
        for (unsigned first = 0; first < n; first += WARP_SIZE)
            done += run_warp(first, n - first < WARP_SIZE ? n - first : WARP_SIZE);
        if (done == n) return;
        if (done) end("threads that do not arrive at a barrier");
    }
}
static void run_grid(unsigned x, unsigned y, unsigned n) {
    if (n > MOST_THREADS) end("too many threads");
    gridDim = {x, y, 1}, blockDim = {n, 1, 1};
    for (blockIdx.x = x; blockIdx.x-- > 0;) /* not in the usual order, for no kernel may count on one */
        for (blockIdx.y = y; blockIdx.y-- > 0;) run_block(n);
}
"""
AFTER = """
extern "C" void launch_{0}(unsigned x, unsigned y, unsigned n, void **arguments) {{
    body = [](const void *p) {{ {0}(*(const {1} *)p); }};
    parameter = arguments[0];
    run_grid(x, y, n);
}}
"""
END = "}"


#: What a program that runs kernels begins with; its arguments are where the runtime's stand-in and the repository are.
ON_THE_STAND_IN = "; ".join(
    """
import ctypes, os, sys
sys.path.insert(0, sys.argv[2])
from planmath.bindings import runtime
from tests.core import standin_kernels
STANDIN = ctypes.CDLL(sys.argv[1])
STANDIN.standinAvailable.argtypes = [ctypes.c_size_t]
STANDIN.standinAvailable(1 << 30)
runtime.LIBRARY.candidates = lambda: [sys.argv[1]]
standin_kernels.install(os.path.dirname(sys.argv[1]))
""".strip().splitlines()
)


def install(folder: str | Path) -> None:
    """Let planmath compile its kernels for the host; what was compiled is kept in a folder for other processes."""

    def machine_code(source: str, capability: tuple[int, int], definitions: tuple[str, ...]) -> bytes:
        text = BEFORE + source + "".join(AFTER.format(*kernel) for kernel in KERNEL.findall(source)) + END
        key = hashlib.sha256("\n".join([text, *definitions]).encode()).hexdigest()
        path = Path(folder, f"kernels-{key[:20]}.so")
        if not path.exists():
            new = path.with_suffix(f".{os.getpid()}")
            options = ["-std=c++17", "-O0", "-w", "-shared", "-fPIC", *(f"-D{each}" for each in definitions)]
            subprocess.run([COMPILER, *options, "-x", "c++", "-o", new, "-"], input=text, text=True, check=True)
            new.replace(path)
        return bytes(path) + b"\0"

    device_code.machine_code = machine_code
