"""The compiled modules; everything else stands in pyproject.toml."""

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

OPTIONS = {
    "include_dirs": [numpy.get_include(), "src/planmath/native"],
    "define_macros": [("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
    "extra_compile_args": ["-O3", "-fno-math-errno", "-fno-trapping-math", "-Wno-unused-function"],
}
MODULES = {
    "planmath.native.call": ["src/planmath/native/call.pyx"],
    "planmath.core.executor": ["src/planmath/core/executor.pyx"],
}

setup(
    ext_modules=cythonize(
        [Extension(name, sources, **OPTIONS) for name, sources in MODULES.items()],
        compiler_directives={"language_level": 3, "auto_pickle": False},
    )
)
