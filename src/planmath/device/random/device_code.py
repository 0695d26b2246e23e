"""cuRAND's functions on a device as C functions: a source that names them, over cuRAND's own headers."""

from __future__ import annotations

from functools import cache

from planmath.core import code_cache
from planmath.device.random import FUNCTIONS, states
from planmath.device.targets import ComputeCapability
from planmath.native.library import MissingLibraryError, in_package

#: The names of cuRAND's functions, where they are not ours with its prefix.
_NAMES = {"rand": "curand", "rand4": "curand4", "skipahead": "skipahead", "skipahead_sequence": "skipahead_sequence",
          "skipahead_subsequence": "skipahead_subsequence"}  # fmt: skip
#: Four integers of Philox's, as by ``curand4``. Where the state is at the first of four, as it is where nobody draws
#: single numbers, it need not be looked up in each turn of a loop which of the next four belong to them.
_FOUR = """
static __device__ __forceinline__ uint4 four(curandStatePhilox4_32_10 *s) {
    if (s->STATE) return curand4(s);
    const uint4 found = s->output;
    Philox_State_Incr(s);
    s->output = curand_Philox4x32_10(s->ctr, s->key);
    return found;
}"""
_BODIES = {"rand4": "four(s)", "uniform4": "_curand_uniform4(four(s))"}
_C = {"float32": "float", "float64": "double", "uint32": "unsigned", "uint64": "unsigned long long"}


def symbol(function: str, kind: str) -> str:
    """The name of the C function: ``void (result *, state *, arguments ...)``."""
    return f"planmath_random_{function}_{kind}"


def _c_type(result: str, kind: str) -> str:
    if result == "uint":
        return "unsigned long long" if kind.endswith("64") else "unsigned"
    base, _, count = result.partition("x")
    short = {"float32": "float", "float64": "double", "uint32": "uint"}[base]
    return f"{short}{count}" if count else _C[result]


@cache
def source() -> str:
    """CUDA C++ of all functions of all generators."""
    lines = ["#include <curand_kernel.h>", _FOUR]
    for kind, size in states.SIZES.items():
        lines.append(f'static_assert(sizeof(curandState{kind}) == {size}, "{kind}");')
    template = 'extern "C" __device__ void {0}({1}) {{ {2}; }}'
    for name, drawing in FUNCTIONS.items():
        for kind in drawing.generators:
            state = f"curandState{kind} *"
            extra = [f"{_C[each]} a{n}" for n, each in enumerate(drawing.parameters)]
            given = [f"a{n}" for n in range(len(extra))]
            called = _NAMES.get(name, f"curand_{name}")
            if drawing.state_last:
                body, parameters = f"{called}({', '.join([*given, 's'])})", [f"{state}s", *extra]
            else:
                body = f"*r = {_BODIES.get(name) or called + '(' + ', '.join(['s', *given]) + ')'}"
                parameters = [f"{_c_type(drawing.result, kind)} *r", f"{state}s", *extra]
            lines.append(template.format(symbol(name, kind), ", ".join(parameters), body))
    for kind in states.SIZES:
        word = "unsigned long long" if kind.endswith("64") else "unsigned"
        takes: list[str]
        if "Sobol" not in kind:
            takes, names = ["unsigned long long a", "unsigned long long b", "unsigned long long c"], "a, b, c"
        elif "Scrambled" in kind:
            takes, names = [f"{word} *v", f"{word} a", f"{word} b"], "v, a, b"
        else:
            takes, names = [f"{word} *v", f"{word} a"], "v, a"
        listed = ", ".join([f"curandState{kind} *s", *takes])
        lines.append(template.format(symbol("init", kind), listed, f"curand_init({names}, s)"))
    return "\n".join(lines)


def compile(cc: ComputeCapability) -> bytes:
    """LTO-IR of all functions; kept on disk.

    Raises
    ------
    MissingLibraryError
        Without cuRAND's headers.
    """
    from planmath.core.cuda.mathdx.descriptors import versions

    name = code_cache.digest("random", versions()[1], source(), cc[:2], _folders())
    return code_cache.get(name, lambda: _compile(cc))


def _compile(cc: ComputeCapability) -> bytes:
    from planmath.bindings import nvrtc

    options = [f"--gpu-architecture=compute_{cc.major}{cc.minor}", "-dlto", "--relocatable-device-code=true",
               "-default-device", "-std=c++17", *(f"-I{folder}" for folder in _folders())]  # fmt: skip
    return nvrtc.compile_to_ltoir(source(), options)


@cache
def _folders() -> tuple[str, ...]:
    """Where cuRAND's headers are, and those that they include."""
    import os

    roots = [
        *in_package("nvidia", "nvidia/cu13/include", "nvidia/*/include"),
        *in_package("nvidia", "nvidia/*/include/cccl"),
    ]
    for root in (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"):
        if root:
            roots += [os.path.join(root, "include"), os.path.join(root, "include", "cccl")]
    found = [root for root in dict.fromkeys(roots) if os.path.isdir(root)]
    if not any(os.path.exists(os.path.join(root, "curand_kernel.h")) for root in found):
        raise MissingLibraryError(
            "random numbers in kernels need cuRAND's headers (curand_kernel.h): install them with "
            "pip install nvidia-curand nvidia-cuda-cccl, or set CUDA_HOME to a CUDA toolkit"
        )
    return tuple(found)
