"""The compiled modules; everything else stands in pyproject.toml."""

import os
import re
from glob import glob
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

OPTIONS = {
    "include_dirs": [numpy.get_include(), "src/planmath/native"],
    "define_macros": [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
    # threaded jumps turn what saturates (x < a ? a : x) into paths with a division on each, vectorized 4 times slower
    "extra_compile_args": [
        "-O3",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-fno-thread-jumps",
        "-fcx-limited-range",
        "-fopenmp-simd",
        "-Wno-unused-function",
        # its memcpy, always inlined, does not go into functions for other instruction sets than the file's
        "-U_FORTIFY_SOURCE",
    ],
}
MODULES = {
    "planmath.native.call": ["src/planmath/native/call.pyx"],
    "planmath.native.loaded": ["src/planmath/native/loaded.pyx"],
    "planmath.native.team": ["src/planmath/native/team.pyx"],
    "planmath.native.thread_limit": ["src/planmath/native/thread_limit.pyx"],
    "planmath.core.cuda.queue": ["src/planmath/core/cuda/queue.pyx"],
    "planmath.core.slots": ["src/planmath/core/slots.pyx"],
    "planmath.core.executor": ["src/planmath/core/executor.pyx"],
    "planmath.core.tiles": ["src/planmath/core/tiles.pyx"],
    "planmath.core.collective.exchange_kernels": ["src/planmath/core/collective/exchange_kernels.pyx"],
    "planmath.fft.kernels": ["src/planmath/fft/kernels.pyx"],
    "planmath.linalg.product.kernels": ["src/planmath/linalg/product/kernels.pyx"],
    "planmath.linalg.product.structure_kernels": ["src/planmath/linalg/product/structure_kernels.pyx"],
    "planmath.linalg.product.small_kernels": ["src/planmath/linalg/product/small_kernels.pyx"],
    "planmath.linalg.solver.kernels": ["src/planmath/linalg/solver/kernels.pyx"],
    "planmath.sparse.advanced.block_lu": ["src/planmath/sparse/advanced/block_lu.pyx"],
    "planmath.sparse.advanced.kernels": ["src/planmath/sparse/advanced/kernels.pyx"],
    "planmath.sparse.product.loops": ["src/planmath/sparse/product/loops.pyx"],
    "planmath.sparse.product.pairs": ["src/planmath/sparse/product/pairs.pyx"],
    "planmath.sparse.product.sampled": ["src/planmath/sparse/product/sampled.pyx"],
    "planmath.sparse.product.symbolic": ["src/planmath/sparse/product/symbolic.pyx"],
    "planmath.sparse.product.providers.mkl_calls": ["src/planmath/sparse/product/providers/mkl_calls.pyx"],
    "planmath.sparse.ust.kernels": ["src/planmath/sparse/ust/kernels.pyx"],
    "planmath.sparse.ust.rows": ["src/planmath/sparse/ust/rows.pyx"],
    "planmath.tensor.kernels": ["src/planmath/tensor/kernels.pyx"],
}

#: Beside these: what has its vectors written out takes minutes with -O3, and is no faster.
FLAGS = {"planmath.sparse.product.loops": ["-O2"]}


def headers(path: Path, found: set[Path]) -> set[Path]:
    """Every header of ours that `path` names, included or by a macro, and those that these name."""
    for name in re.findall(r'"([\w./]+\.h)"', path.read_text()):
        for folder in (path.parent, Path("src/planmath/native")):
            header = Path(os.path.normpath(folder / name))
            if header.exists() and header not in found:
                found.add(header)
                headers(header, found)
    return found


def extension(name: str, sources: list[str]) -> Extension:
    flags = [*OPTIONS["extra_compile_args"], *FLAGS.get(name, [])]
    declared = [Path(name) for name in glob("src/planmath/**/*.pxd", recursive=True)]
    found = set().union(*(headers(path, set()) for path in [Path(sources[0]), *declared]))
    depends = sorted(map(str, found.union(declared)))
    return Extension(name, sources, depends=depends, **{**OPTIONS, "extra_compile_args": flags})


setup(
    options={"build_ext": {"parallel": os.cpu_count()}},
    ext_modules=cythonize(
        [extension(name, sources) for name, sources in MODULES.items()],
        compiler_directives={"language_level": 3, "auto_pickle": False},
    )
)
