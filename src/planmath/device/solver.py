"""`Solver`: one function of linear algebra inside kernels, by cuSOLVERDx, as its tables know it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from planmath.core.cuda.mathdx import descriptors
from planmath.core.cuda.mathdx.descriptors import Description
from planmath.device import inside
from planmath.device.function import Choice, DeviceFunction, choose, positive, positives
from planmath.device.targets import Code, CodeType, Dim3, check_block, check_code_type, target
from planmath.device.value_types import PRECISION, Complex, precision

APIS = {"compiled_leading_dim": 0, "runtime_leading_dim": 1}

#: What parameters of a call are: matrices have leading dimensions, the others have none.
MATRICES = ("a", "b", "c", "v")


class Function(NamedTuple):
    """One function of the library.

    Parameters
    ----------
    number : int
        In libmathdx's ``cusolverdxFunction``.
    parameters : str
        Of a call, in order. `MATRICES` may be followed by their leading dimension.
    needs : tuple of str
        Parameters of the constructor that have to be given, besides the common ones.
    takes : tuple of str
        Those that may be.
    since : str
        The first version of libmathdx that has it.
    """

    number: int
    parameters: str
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    since: str = ""


_T = ("transpose_mode",)
FUNCTIONS = {
    "potrf": Function(2, "a info", ("fill_mode",)),
    "potrs": Function(3, "a b", ("fill_mode",)),
    "posv": Function(11, "a b info", ("fill_mode",)),
    "getrf_no_pivot": Function(0, "a info", takes=_T),
    "getrs_no_pivot": Function(1, "a b", takes=_T),
    "gesv_no_pivot": Function(12, "a b info", takes=_T),
    "getrf_partial_pivot": Function(5, "a ipiv info", takes=_T),
    "getrs_partial_pivot": Function(6, "a ipiv b", takes=_T),
    "gesv_partial_pivot": Function(13, "a ipiv b info", takes=_T),
    "geqrf": Function(7, "a tau"),
    "gelqf": Function(9, "a tau"),
    "ungqr": Function(15, "a tau", since="0.3.2"),
    "unglq": Function(16, "a tau", since="0.3.2"),
    "unmqr": Function(8, "a tau c", ("side",), _T),
    "unmlq": Function(10, "a tau c", ("side",), _T),
    "gels": Function(14, "a tau b", takes=_T),
    "trsm": Function(4, "a b", ("side", "fill_mode", "diag"), _T),
    "htev": Function(18, "d e v info", ("job",), since="0.3.2"),
    "heev": Function(19, "a lambda workspace info", ("fill_mode", "job"), since="0.3.2"),
    "gtsv_no_pivot": Function(17, "dl d du b info", since="0.3.2"),
}
#: Those that are for square matrices.
SQUARE = tuple(name for name in FUNCTIONS if name.startswith(("po", "getrs", "gesv", "htev", "heev", "gtsv")))
JOBS = {"htev": ("no_vectors", "all_vectors", "multiply_vectors"), "heev": ("no_vectors", "overwrite_vectors")}
_WORDS = {
    "transpose_mode": Choice.TRANSPOSE, "side": Choice.SIDE, "diag": Choice.DIAG, "fill_mode": Choice.FILL,
    "job": Choice.JOB,
}  # fmt: skip


class Solver(DeviceFunction):
    """A function of linear algebra on matrices in shared memory, by all threads of a block.

    Parameters
    ----------
    function : str
        LAPACK's name without the letter of the type, one of `FUNCTIONS`.
    size : one to three int
        M, N, K, of which those left out are M, M and 1; or, for two, 1.
    precision : {numpy.float32, numpy.float64}
    execution : {'Block'}
    sm : ComputeCapability or int, optional
        What code is made for; the current device's by default.
    arrangement : one or two str, optional
        ``"col_major"``, the default, or ``"row_major"``, of A and B.
    transpose_mode : {'non_transposed', 'transposed', 'conj_transposed'}, optional
    side : {'left', 'right'}, optional
    diag : {'unit', 'non_unit'}, optional
    fill_mode : {'upper', 'lower'}, optional
    batches_per_block : int or 'suggested', optional
        1 by default.
    data_type : {'real', 'complex'}, optional
        ``'real'`` by default.
    leading_dimensions : one or two int, optional
        Tight by default.
    block_dim : one to three int or 'suggested', optional
        By default what the library prefers.
    job : str, optional
        For eigenvalues: ``'no_vectors'``, ``'all_vectors'``, ``'multiply_vectors'``, ``'overwrite_vectors'``.

    Raises
    ------
    ValueError
        For a parameter that the function does not take, or one that it lacks.
    RuntimeError
        If the library found is too old for the function.
    """

    hidden: ClassVar[frozenset[str]] = frozenset({"function", "precision", "job"})

    def __init__(
        self,
        function: str,
        size: Any,
        precision: Any,
        execution: str,
        *,
        sm: Any = None,
        arrangement: Any = None,
        transpose_mode: str | None = None,
        side: str | None = None,
        diag: str | None = None,
        fill_mode: str | None = None,
        batches_per_block: int | str | None = None,
        data_type: str | None = None,
        leading_dimensions: Any = None,
        block_dim: Any = None,
        job: str | None = None,
    ):
        self.function = choose("function", function, tuple(FUNCTIONS))
        found = positives("size", size, (1, 2, 3))
        self.size = (found[0], found[0], 1) if len(found) == 1 else (*found, 1)[:3]
        if self.function in SQUARE and self.size[0] != self.size[1]:
            raise ValueError(f"{function} is for square matrices, not for {self.size[0]} x {self.size[1]}")
        self.precision = _precision(precision)
        self.execution = choose("execution", execution, ("Block",))
        self.sm = target(sm)
        self.data_type = choose("data_type", "real" if data_type is None else data_type, tuple(Choice.TYPE))
        self.arrangement = _arrangement(arrangement)
        given = {"transpose_mode": transpose_mode, "side": side, "diag": diag, "fill_mode": fill_mode, "job": job}
        self._words = _words(self.function, given)
        self._check_there()
        self.transpose_mode = self._words.get("transpose_mode")
        self.side, self.diag = self._words.get("side"), self._words.get("diag")
        self.fill_mode, self.job = self._words.get("fill_mode"), self._words.get("job")
        self._given_leading = leading_dimensions is not None
        self.leading_dimensions = self._leading(leading_dimensions)
        self._settle(block_dim, batches_per_block)

    def _settle(self, block_dim: Any, batches: Any) -> None:
        if isinstance(block_dim, str):
            choose("block_dim", block_dim, ("suggested",))
            block_dim = None
        if batches == "suggested":
            self.batches_per_block = self._traits["SUGGESTED_BATCHES_PER_BLOCK"]
        else:
            self.batches_per_block = 1 if batches is None else positive("batches_per_block", batches)
        wanted = None if block_dim is None else check_block("block_dim", block_dim)
        self.block_dim = wanted or Dim3(*self._traits["SUGGESTED_BLOCK_DIM"])

    def _check_there(self) -> None:
        since = FUNCTIONS[self.function].since
        simulated = inside.simulating() and descriptors.missing()
        if not simulated:
            descriptors.require()
        if since and not simulated and _number(descriptors.library_version()) < _number(since):
            raise RuntimeError(
                f"libmathdx {descriptors.library_version()} does not have {self.function}: {since} has it (for CUDA 13)"
            )
        ignored = os.environ.get("NVMATH_CUSOLVERDX_IGNORE_NVBUG_5288270_ASSERT")
        if self.function == "gesv_no_pivot" and self.data_type == "real" and self.sm[:2] == (12, 0) and not ignored:
            raise RuntimeError(
                "gesv_no_pivot of real matrices is compiled wrongly for 12.0; where that was mended, set "
                "NVMATH_CUSOLVERDX_IGNORE_NVBUG_5288270_ASSERT"
            )

    # Shapes.

    @property
    def value_type(self) -> Any:
        """The elements of the matrices, and of tau."""
        return Complex(self.precision) if self.data_type == "complex" else self.precision

    @property
    def info_type(self) -> type:
        """The elements of info."""
        return np.int32

    @property
    def ipiv_type(self) -> type:
        """The elements of ipiv."""
        return np.int32

    @property
    def m(self) -> int:
        """M."""
        return self.size[0]

    @property
    def n(self) -> int:
        """N."""
        return self.size[1]

    @property
    def k(self) -> int:
        """K."""
        return self.size[2]

    def _shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a parameter of one problem, or None where the function has none such."""
        m, n, k = self.size
        function, left = self.function, self.side != "right"
        if name == "a":
            if function.startswith(("po", "heev")):
                return n, n
            if function in ("trsm", "unmqr", "unmlq"):
                order = m if left else n
                return {"trsm": (order, order), "unmqr": (order, k), "unmlq": (k, order)}[function]
            return None if function in ("htev", "gtsv_no_pivot") else (m, n)
        if name == "b":
            return {"trsm": (m, n), "gels": (max(m, n), k), "gtsv_no_pivot": (n, k)}.get(function, (n, k))
        if name == "tau":
            return ({"unmqr": k, "unmlq": k, "ungqr": k, "unglq": k}.get(function, min(m, n)),)
        if name == "workspace":
            return (self.workspace_size,)
        return {
            "c": (m, n), "v": (n, n), "ipiv": (min(m, n),), "info": (), "lambda": (n,), "d": (n,), "e": (n - 1,),
            "dl": (n - 1,), "du": (n - 1,),
        }[name]  # fmt: skip

    @property
    def parameters(self) -> tuple[str, ...]:
        """Of a call of `execute`."""
        names = tuple(FUNCTIONS[self.function].parameters.split())
        return tuple(n for n in names if n != "v") if self._words.get("job") == "no_vectors" else names

    @property
    def _matrices(self) -> tuple[str, ...]:
        return tuple(name for name in self.parameters if name in MATRICES)

    def _arrangement_of(self, name: str) -> str:
        second = name in ("b", "c", "v") and len(self._matrices) > 1
        return self.arrangement[1] if second else self.arrangement[0]

    def _least(self, name: str) -> int:
        shape = self._shape(name)
        assert shape is not None
        return shape[1] if self._arrangement_of(name) == "row_major" else shape[0]

    def _leading(self, given: Any) -> tuple[int, int]:
        least = tuple(self._least(name) for name in self._matrices)
        if given is None:
            found = least
        else:
            found = positives("leading_dimensions", given, (1, 2))
            if len(found) < len(least):
                found = (*found, *least[len(found) :])
            for name, have, need in zip(self._matrices, found, least, strict=False):
                if have < need:
                    raise ValueError(f"the leading dimension of {name} is {need} at least, not {have}")
        return (*found, 0, 0)[:2]  # type: ignore[return-value]

    def strides(self, name: str, leading: int | None = None) -> tuple[int, int, int]:
        """Elements between batches, rows and columns of a matrix."""
        shape = self._shape(name)
        assert shape is not None
        if leading is None:
            leading = self.leading_dimensions[self._matrices.index(name)]
        if leading < self._least(name):
            raise ValueError(f"the leading dimension of {name} is {self._least(name)} at least, not {leading}")
        if self._arrangement_of(name) == "row_major":
            return leading * shape[0], leading, 1
        return leading * shape[1], 1, leading

    # What libmathdx is told and asked.

    def _description(self, api: int = 0, resolved: bool = True) -> Description:
        from planmath.bindings import mathdx

        operators: dict[str, descriptors.Value] = {
            "FUNCTION": FUNCTIONS[self.function].number,
            "SIZE": self.size,
            "TYPE": Choice.TYPE[self.data_type],
            "PRECISION": int(mathdx.CommondxPrecision[PRECISION[self.precision]]),
            "SM": self.sm.integer,
            "EXECUTION": 1,
            "API": api,
            "ARRANGEMENT": tuple(Choice.ARRANGEMENT[each] for each in self.arrangement),
        }
        operators |= {name.upper(): _WORDS[name][word] for name, word in self._words.items()}
        if self._given_leading:
            operators["LEADING_DIMENSION"] = tuple(each for each in self.leading_dimensions if each)
        if resolved:
            operators["BLOCK_DIM"] = tuple(self.block_dim)
            operators["BATCHES_PER_BLOCK"] = self.batches_per_block
        return Description("cusolverdx", tuple(operators.items()))

    @cached_property
    def _traits(self) -> dict[str, Any]:
        from planmath.bindings import mathdx

        if inside.simulating() and descriptors.missing():
            threads = max(32, min(256, 1 << max(5, (self.m * self.n // 8 - 1).bit_length())))
            return {"SUGGESTED_BLOCK_DIM": [threads, 1, 1], "SUGGESTED_BATCHES_PER_BLOCK": 1}
        try:
            return self._description(resolved=False).traits(
                SUGGESTED_BLOCK_DIM="int3", SUGGESTED_BATCHES_PER_BLOCK="int"
            )
        except mathdx.LibMathDxError as error:
            raise RuntimeError(
                f"libmathdx {descriptors.library_version()} has no {self.function} of size {self.size} with "
                f"{ {'precision': self.precision.__name__, **self._words} }: {descriptors.compiler_error(error)}"
            ) from None

    @cached_property
    def workspace_size(self) -> int:
        """Elements of the workspace of `heev`; 0 for the others."""
        if self.function != "heev":
            return 0
        if inside.simulating() and descriptors.missing():
            return 3 * self.n
        return self._description().traits(WORKSPACE_SIZE="int")["WORKSPACE_SIZE"]

    @cached_property
    def key(self) -> tuple[Any, ...]:
        return ("Solver", self._description(), str(self.sm))

    def valid(self, *knobs: str) -> list[tuple[Any, ...]]:
        """Combinations of ``"block_dim"`` and ``"batches_per_block"``, the suggested ones first."""
        for knob in knobs:
            choose("a knob", knob, ("block_dim", "batches_per_block"))
        first = {"block_dim": Dim3(*self._traits["SUGGESTED_BLOCK_DIM"]),
                 "batches_per_block": self._traits["SUGGESTED_BATCHES_PER_BLOCK"]}  # fmt: skip
        blocks = dict.fromkeys([first["block_dim"], *(Dim3(32 << n) for n in range(4))])
        batches = dict.fromkeys([first["batches_per_block"], 1, 2, 4, 8])
        every = [{"block_dim": block, "batches_per_block": batch} for batch in batches for block in blocks]
        return list(dict.fromkeys(tuple(each[knob] for knob in knobs) for each in every))

    # Code, and calls in kernels.

    def execute(self, *args: Any) -> None:
        """Do it, in a kernel: the function's `parameters`, matrices followed by their leading dimension or not.

        Raises
        ------
        RuntimeError
            Outside of kernels.
        """
        thread = inside.thread("Solver.execute")
        from planmath.device.simulator import solvers

        solvers.execute(thread, self, *args)

    def __repr__(self) -> str:
        return (
            f"<Solver: {self.function} of {'x'.join(map(str, self.size))}, {self.data_type} {self.precision.__name__}, "
            f"{self.batches_per_block} a block, for {self.sm}>"
        )


def compile_solver_execute(solver: Solver, code_type: CodeType, execution_api: str) -> tuple[Code, str]:
    """The code of a solver for another compiler, and the name of its C function.

    Parameters
    ----------
    solver : Solver
    code_type : CodeType
    execution_api : {'compiled_leading_dim', 'runtime_leading_dim'}
        Whether leading dimensions are those of the solver, or follow their matrix as ``const unsigned *``.
    """
    api = APIS[choose("execution_api", execution_api, tuple(APIS))]
    code_type = check_code_type(code_type)
    description = solver._description(api)
    symbol = description.symbol(solver.function, code_type)
    return description.compile(code_type, symbol), symbol


def _precision(given: Any) -> type:
    return precision("precision", given, (np.float32, np.float64))


def _arrangement(given: Any) -> tuple[str, str]:
    words = ["col_major"] if given is None else [given] if isinstance(given, str) else list(given)
    if len(words) not in (1, 2):
        raise ValueError(f"arrangement is one or two words, not {given!r}")
    for word in words:
        choose("arrangement", word, tuple(Choice.ARRANGEMENT))
    return words[0], words[-1]


def _words(function: str, given: dict[str, Any]) -> dict[str, str]:
    entry = FUNCTIONS[function]
    for name, word in given.items():
        if word is None:
            if name in entry.needs:
                raise ValueError(f"{function} needs {name}: {' or '.join(map(repr, _allowed(function, name)))}")
        elif name not in entry.needs + entry.takes:
            raise ValueError(f"{function} does not take {name}, which is {word!r}")
        else:
            choose(name, word, _allowed(function, name))
    found = {name: word for name, word in given.items() if word is not None}
    if function.startswith("getrf") and found.get("transpose_mode", "non_transposed") != "non_transposed":
        raise ValueError(f"{function} factorizes the matrix as it is: transpose_mode='non_transposed'")
    return found


def _allowed(function: str, name: str) -> Sequence[str]:
    return JOBS[function] if name == "job" else tuple(_WORDS[name])


def _number(version: str) -> list[int]:
    return [int(n) for n in version.split(".")]
