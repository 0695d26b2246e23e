"""A matrix multiplication as cuBLASLt takes it: which matrix comes first, transposed or not, at which steps.

cuBLASLt writes columns: a row-major result is the transposed product of the transposed operands. It transposes factors,
conjugates those that it transposes, repeats a single column of c, and walks over a batch by one step for each matrix.
What else an operand needs, its copy in temporary memory has: here it is decided, without the library, what is copied
and how the product is then described.
"""

from __future__ import annotations

import copy as copying
from collections.abc import Sequence
from typing import NamedTuple

from planmath.core.arrays import ITEMSIZE, contiguous_strides
from planmath.core.datatypes import DTYPE_OF
from planmath.linalg.advanced.epilog import EPILOGS, round_up
from planmath.linalg.advanced.narrow import added_dtype
from planmath.linalg.advanced.problem import (
    AUXILIARY_AMAX,
    AUXILIARY_SCALE,
    FP4,
    NARROW,
    RESULT_AMAX,
    RESULT_SCALES,
    SCALED,
    SINGLE,
    MatmulProblem,
    numbers_of,
    scale_slot,
)
from planmath.linalg.advanced.providers.pipeline import array_numbers, folded
from planmath.linalg.product.matrix import ALIGNED, Matrix, batch_loops, bytes_of
from planmath.linalg.product.pipeline import Places, Region
from planmath.native.call import Slot

#: What is done to a factor (``cublasOperation_t``).
NO_TRANSPOSE, TRANSPOSE, CONJUGATE_TRANSPOSE = 0, 1, 2

#: Kernels for int8 load so many numbers at a time, and take for granted that this is possible in all of a batch.
WORD = 16

#: Terms of the product that is computed where alpha is 0.
ZERO_TERMS = 16

#: Columns of auxiliary inputs are at multiples of this many elements (cuBLASLt, EPILOGUE_AUX_LD: 128 bits, 8 numbers).
AUXILIARY_STEP = {"relu_aux": 16, "gelu_aux": 8}


class Form(NamedTuple):
    """How columns of a layout lie in a matrix's memory: they are its columns or, transposed, its rows."""

    transposed: bool
    rows: int
    cols: int
    leading: int


class Factor(NamedTuple):
    """One of the four matrices of a product, as one of the library's layouts has it, which counts numbers."""

    region: Region
    rows: int
    cols: int
    leading: int
    operation: int = NO_TRANSPOSE

    @property
    def dtype(self) -> str:
        return self.region.matrix.dtype


class Copy(NamedTuple):
    """Elements to be copied. What is conjugated is transposed on the way, from columns to rows in memory or back."""

    source: Region
    target: Region
    conjugate: bool = False

    @property
    def forms(self) -> tuple[Form, Form]:
        """Layouts of source and target: alike, or one of them transposed."""
        pairs = [(s, t) for s in forms(self.source.matrix) for t in forms(self.target.matrix)]
        return next((pair for pair in pairs if (pair[0].transposed != pair[1].transposed) == self.conjugate), pairs[0])

    @property
    def operation(self) -> int:
        source, target = self.forms
        return NO_TRANSPOSE if source.transposed == target.transposed else TRANSPOSE + self.conjugate


class Walk(NamedTuple):
    """How calls go over a batch."""

    matrices: int
    """As many one call takes."""
    steps: tuple[int, ...]
    """Elements from one of these to the next, for each participant."""
    loops: list[tuple[int, tuple[int, ...]]]
    """Repetitions of the call, outermost first: how often, and the bytes by which each participant moves."""


class Transfer(NamedTuple):
    """How a copy is made: what the library is told of source and target, and how it goes over the batch."""

    forms: tuple[Form, Form]
    operation: int
    walk: Walk


class Clear(NamedTuple):
    """Temporary memory to be filled with zeros."""

    slot: Slot
    size: int


class Arrangement(Places):
    """The product, and the copies around it.

    Parameters
    ----------
    problem : MatmulProblem

    Attributes
    ----------
    m, n, k : int
        Extents of the product as the library computes it, which may be the transposed one.
    first, second, addend, result : Factor
        The library's A, B, C and D.
    before, after : list of Copy or Clear
    pointers : dict
        Regions whose addresses are attributes of the product's description, by the attribute's name in
        ``cublasLtMatmulDescAttributes_t``.
    walk : Walk
        Over the batch; the participants are the four factors, then bias and auxiliary matrix where they are pointers.
    attributes : dict
        The description's other attributes.
    """

    LINE = 256

    def __init__(self, problem: MatmulProblem):
        problem = self.problem = folded(problem)
        super().__init__(array_numbers(problem), problem.batch)
        assert problem.cuda is not None
        self.before: list[Copy | Clear] = []
        self.after: list[Copy] = []
        self.epilog = EPILOGS[problem.epilog]
        # where the description has addresses, which loops around a call do not move, one call must do it all
        self._one_call = self.epilog.column_major or (problem.narrow is not None and problem.narrow.amax)
        #: Whether each matrix of a batch is a call, with addresses of its own in the description: nothing says where
        #: the library would look for the scales of the next one's blocks.
        self.one_by_one = problem.narrow is not None and bool(problem.narrow.blocks)
        d = self.region("d", problem.d)
        # of a narrow row, kernels write pieces of 16 bytes: as the only column of the transposed result
        by_rows = problem.d.leading[0] or (problem.d.rows == 1 and problem.a.dtype in NARROW)
        if (by_rows and self.epilog.column_major) or not self._fuses(problem.d):
            d, by_rows = self._temporary_result(d), False
        self.transposed = by_rows
        a, b = self.region("a", problem.a), self.region("b", problem.b)
        if self.transposed:
            a, b, d = turned(b), turned(a), turned(d)
        whole = numbers_of(d.matrix)
        self.m, self.n, self.k = whole.rows, whole.cols, problem.k
        self.result = Factor(d, self.m, self.n, forms(whole)[0].leading)
        self.first, self.second = self._factors(a, b)
        self.addend = self._added()
        self.pointers = self._pointers()
        moving = [factor.region for factor in self.factors]
        moving += [self.pointers[name] for name in self.moving_pointers]
        unit = ALIGNED if problem.a.dtype == "int8" else 1
        self.walk = walk(problem.batch, moving, unit=unit, one_by_one=self.one_by_one)
        self.attributes = self._attributes()

    @property
    def factors(self) -> tuple[Factor, Factor, Factor, Factor]:
        return self.first, self.second, self.addend, self.result

    @property
    def moving_pointers(self) -> list[str]:
        """The addresses in the description that are others for each matrix of a batch, in the order of the walk."""
        return [name for name in self.pointers if self.one_by_one or name in POINTERS_OF_A_BATCH]

    def rounds(self) -> list[tuple[int, ...]]:
        """By how many bytes the walk's participants have moved when the description is set anew, and calls are made."""
        moved = [(0,) * len(self.walk.steps)]
        for count, by in self.walk.loops if self.one_by_one else []:
            steps = [[i * step for step in by] for i in range(count)]
            moved = [tuple(map(sum, zip(before, step, strict=True))) for before in moved for step in steps]
        return moved

    # Places.

    def _fuses(self, matrix: Matrix) -> bool:
        """Whether one call can walk over the matrix's batch together with dense ones, where one call must do it all."""
        batch = self.problem.batch
        steps = matrix.batch or (0,) * len(batch)
        return (
            not self._one_call
            or self.one_by_one
            or (len(batch_loops(batch, [steps, contiguous_strides(batch)])) < 2 and min(steps, default=0) >= 0)
        )

    def _temporary_result(self, d: Region) -> Region:
        """Column-major memory in the result's place; with c's values where the result replaces c."""
        target = self.temporary(by_columns(d.matrix), d.matrix.dtype)
        if self.problem.inplace:
            self.before.append(Copy(d, target))
        self.after.append(Copy(target, d))
        return target

    def _staged(self, region: Region, *, rows: bool = False) -> Region:
        """A copy that is column-major, or row-major where `rows` is set, and conjugated if the matrix is to be."""
        matrix = region.matrix._replace(conjugate=False)
        if region.matrix.conjugate and all(form.transposed == rows for form in forms(matrix)):
            turn = self._placed(region, not rows)
            self.before.append(Copy(region, turn, True))
            return self._staged(turn, rows=rows)
        target = self._placed(region, rows)
        self.before.append(Copy(region, target, region.matrix.conjugate))
        return target

    def _placed(self, region: Region, rows: bool) -> Region:
        matrix = region.matrix
        like = by_columns(matrix.T).T if rows else by_columns(matrix)
        return self.temporary(like, matrix.dtype)

    # Factors.

    def _factors(self, a: Region, b: Region) -> tuple[Factor, Factor]:
        """A and B, as they are in memory where that will do."""
        if self.problem.a.dtype == "int8" and not all(map(self._in_words, (a, b))):
            return self._padded(a, transpose=True), self._padded(b, transpose=False)
        if self.problem.a.dtype in SCALED:
            return self._factor(a, True), self._factor(b, False)
        # sums over k are there for a first factor that is not transposed, and a second one that is
        return (
            self._factor(a, False if self.epilog.sums == "bgrada" else None),
            self._factor(b, True if self.epilog.sums == "bgradb" else None),
        )

    def _factor(self, region: Region, transpose: bool | None) -> Factor:
        """A or B; transposed or not where that is wanted, else as it is."""
        possible = {form.transposed: form for form in forms(numbers_of(region.matrix))}
        if region.matrix.conjugate:  # the library conjugates what it transposes
            possible.pop(False, None)
            if transpose is False:
                possible.clear()
        rows = region.matrix.conjugate if transpose is None else transpose
        if not possible or (transpose is not None and transpose not in possible) or not self._fuses(region.matrix):
            region = self._staged(region, rows=rows)
            possible = {form.transposed: form for form in forms(numbers_of(region.matrix))}
        form = possible.get(rows) or next(iter(possible.values()))
        conjugate = form.transposed and region.matrix.conjugate
        region = turned(region) if form.transposed else region
        return Factor(region, form.rows, form.cols, form.leading, form.transposed + conjugate)

    def _in_words(self, region: Region) -> bool:
        """Whether kernels for int8 can load a factor from where it is."""
        m = region.matrix
        steps = (self.k, forms(m)[0].leading, *m.batch)
        return m.alignment == ALIGNED and not any(step % WORD for step in steps) and self._fuses(m)

    def _padded(self, region: Region, *, transpose: bool) -> Factor:
        """A copy in which k is a multiple of the numbers that kernels load, with zeros at its end."""
        m = region.matrix
        k = round_up(self.k, WORD)
        across = m._replace(cols=k) if transpose else m._replace(rows=k)
        place = self._placed(Region(across, region.slot), transpose)
        if k > self.k:
            self.before.append(
                Clear(place.slot, bytes_of(across, self.problem.batch if any(place.matrix.batch) else ()))
            )
        self.before.append(Copy(region, place._replace(matrix=place.matrix._replace(rows=m.rows, cols=m.cols))))
        return self._factor(place, transpose)

    def _added(self) -> Factor:
        """C: column-major like the result, or one column that is added to all."""
        problem, d = self.problem, self.result
        if problem.c is None or problem.inplace:
            if problem.d.dtype not in SCALED:
                return d
            # what would be added has another dtype than the result, so its address has to be another one; as beta is 0,
            # nothing is read there
            inputs = dict(zip(problem.input_names, problem.inputs, strict=True))
            dtype = added_dtype(problem, inputs["bias"].dtype if "bias" in inputs else None)
            return d._replace(region=Region(d.region.matrix._replace(dtype=dtype), self.first.region.slot))
        region = self.region("c", problem.c)
        region = turned(region) if self.transposed else region
        if region.matrix.conjugate or forms(region.matrix)[0].transposed or not self._fuses(region.matrix):
            region = self._staged(region)
        repeated = region.matrix.cols == 1 < self.n
        return Factor(region, self.m, self.n, 0 if repeated else forms(region.matrix)[0].leading)

    # Where alpha is 0.

    @property
    def zeros_size(self) -> int:
        """Bytes of zeros that serve as either factor of `of_zeros`; 0 where there is no such product.

        Sums of integers know no NaN; sums over a factor are of what it holds.
        """
        if self.problem.a.dtype == "int8" or self.one_by_one or self.epilog.sums in ("bgrada", "bgradb"):
            return 0
        return ZERO_TERMS * max(self.m, self.n) * max(ITEMSIZE[factor.dtype] for factor in (self.first, self.second))

    def of_zeros(self, zeros: Slot) -> Arrangement:
        """This arrangement, with a few zeros for the factors, the same ones for all of the batch."""
        made = copying.copy(self)
        made.first, made.second = (
            factor._replace(region=Region(by_columns(factor.region.matrix), zeros), rows=rows, cols=cols, leading=rows)
            for factor, (rows, cols) in (
                (self.first, (ZERO_TERMS, self.m) if self.first.operation else (self.m, ZERO_TERMS)),
                (self.second, (self.n, ZERO_TERMS) if self.second.operation else (ZERO_TERMS, self.n)),
            )
        )
        loops = [(count, (0, 0, *by[2:])) for count, by in self.walk.loops]
        made.walk = Walk(self.walk.matrices, (0, 0, *self.walk.steps[2:]), loops)
        return made

    # What the description of the product points to.

    def _pointers(self) -> dict[str, Region]:
        problem = self.problem
        found = {}
        inputs = dict(zip(problem.input_names, problem.inputs, strict=True))
        results = problem.auxiliary()
        for name, matrix in (inputs | results).items():
            region = self.region(name, matrix)
            if name in POINTERS:
                found[POINTERS[name]] = region
            elif name in AUXILIARY_STEP:
                found["EPILOGUE_AUX_POINTER"] = self._auxiliary(region, AUXILIARY_STEP[name])
            else:
                found["BIAS_POINTER"] = self._vector(region)
        letters = {"a": "B", "b": "A"} if self.transposed else {}
        scales = dict(zip("ab", problem.narrow.blocks, strict=False)) if problem.narrow else {}
        for name in problem.narrow.scaled if problem.narrow else ():
            pointer = f"{letters.get(name, name.upper())}_SCALE_POINTER"
            found[pointer] = self.region(scale_slot(name), scales.get(name, SINGLE))
        return found

    def _vector(self, region: Region) -> Region:
        """A bias with its elements next to each other."""
        m = region.matrix
        next_to_each_other = m.row == 1 or m.rows == 1
        in_place = next_to_each_other and m.alignment == ALIGNED and self._fuses(m) and not self.one_by_one
        return region if in_place else self._staged(region)

    def _auxiliary(self, region: Region, step: int) -> Region:
        """An auxiliary matrix with columns, and matrices of the batch, at addresses that the library takes."""
        m = region.matrix
        in_place = m.row == 1 and m.col >= m.rows and m.alignment == ALIGNED and self._fuses(m)
        return region if in_place and not any(s % step for s in (m.col, *m.batch)) else self._staged(region)

    def _attributes(self) -> dict[str, int]:
        choices = self.problem.cuda
        assert choices is not None
        found = {"TRANSA": self.first.operation, "TRANSB": self.second.operation, "EPILOGUE": int(self.problem.epilog)}
        if choices.multiprocessors:
            found["SM_COUNT_TARGET"] = choices.multiprocessors
        if choices.fast_accumulation:
            found["FAST_ACCUM"] = 1
        if self.one_by_one:
            mode = SCALE_MODE[self.problem.a.dtype]
            found |= {"A_SCALE_MODE": mode, "B_SCALE_MODE": mode}
            if "D_OUT_SCALE_POINTER" in self.pointers:
                found["D_OUT_SCALE_MODE"] = mode
        steps = dict(zip(self.moving_pointers, self.walk.steps[len(self.factors) :], strict=True))
        if (bias := self.pointers.get("BIAS_POINTER")) is not None:
            if self.walk.matrices > 1:
                found["BIAS_BATCH_STRIDE"] = steps["BIAS_POINTER"]
            if bias.matrix.dtype != self.result.dtype:
                found["BIAS_DATA_TYPE"] = CUDA_TYPE[bias.matrix.dtype]
        if (mask := self.pointers.get("EPILOGUE_AUX_POINTER")) is not None:
            bits = 8 if mask.matrix.dtype == "uint8" else 1  # of a mask, the library counts bits
            found["EPILOGUE_AUX_LD"] = mask.matrix.col * bits
            if self.walk.matrices > 1:
                found["EPILOGUE_AUX_BATCH_STRIDE"] = steps["EPILOGUE_AUX_POINTER"] * bits
            if bits == 1 and (self.problem.a.dtype in SCALED or mask.matrix.dtype != self.result.dtype):
                found["EPILOGUE_AUX_DATA_TYPE"] = CUDA_TYPE[mask.matrix.dtype]
        return found

    def alignments(self, *, aligned: bool) -> list[int]:
        """Bytes by multiples of which the four matrices are placed: `aligned`, or where their elements can be."""
        return [
            ALIGNED if aligned or self.is_temporary(factor.region) else min(ALIGNED, ITEMSIZE[factor.dtype])
            for factor in self.factors
        ]

    @property
    def aligned(self) -> bool:
        """Whether the four matrices are where the fastest kernels load and store them, in each of the calls."""
        steps = [step for _, by in self.walk.loops for step in by[: len(self.factors)]]
        return not any(
            step % ALIGNED for step in (*steps, *(factor.region.matrix.alignment for factor in self.factors))
        )


#: Addresses of single numbers, and of the scales of the result's blocks, by the names of what is there.
POINTERS = {
    AUXILIARY_SCALE: "EPILOGUE_AUX_SCALE_POINTER", AUXILIARY_AMAX: "EPILOGUE_AUX_AMAX_POINTER",
    RESULT_AMAX: "AMAX_D_POINTER", RESULT_SCALES: "D_OUT_SCALE_POINTER",
}  # fmt: skip
#: How blocks are scaled (``cublasLtMatmulMatrixScale_t``): VEC32_UE8M0 and VEC16_UE4M3.
SCALE_MODE = dict.fromkeys(NARROW, 2) | {FP4: 1}
#: Addresses in the description that go from matrix to matrix of a batch.
POINTERS_OF_A_BATCH = ("BIAS_POINTER", "EPILOGUE_AUX_POINTER")
#: cudaDataType of each dtype.
CUDA_TYPE = {dtype: int(number) for number, dtype in DTYPE_OF.items()}


def turned(region: Region) -> Region:
    """The transposed matrix."""
    return region._replace(matrix=region.matrix.T)


def by_columns(matrix: Matrix) -> Matrix:
    """A matrix of this size whose columns are dense."""
    return matrix._replace(row=1, col=matrix.rows, conjugate=False)


def forms(matrix: Matrix) -> list[Form]:
    """The ways to describe the matrix in memory by columns; a vector has two."""
    found = []
    for transposed, m in ((False, matrix), (True, matrix.T)):
        if m.row == 1 or m.rows == 1:
            found.append(Form(transposed, m.rows, m.cols, m.col if m.cols > 1 else max(m.rows, 1)))
    assert found, matrix
    return found


def walk(batch: tuple[int, ...], moving: Sequence[Region], unit: int = 1, *, one_by_one: bool = False) -> Walk:
    """How calls go over the batches of regions: the longest walk is the library's own, which is faster than ours.

    It goes forward, as not all kernels walk backwards, by multiples of `unit` bytes; `one_by_one`, there is none.
    """
    none = (0,) * len(batch)
    sizes = [ITEMSIZE[region.matrix.dtype] for region in moving]
    steps = [
        tuple([size * step for step in region.matrix.batch or none]) for region, size in zip(moving, sizes, strict=True)
    ]
    loops = batch_loops(batch, steps)
    possible = [i for i, (_, by) in enumerate(loops) if min(by) >= 0 and not any(step % unit for step in by)]
    if one_by_one or not possible:
        return Walk(1, (0,) * len(moving), loops)
    count, by = loops.pop(max(possible, key=lambda i: (loops[i][0], i)))
    return Walk(count, tuple([step // size for step, size in zip(by, sizes, strict=True)]), loops)


def transfer(batch: tuple[int, ...], copy: Copy) -> Transfer:
    """How matrices of a batch are copied.

    Of a batch that is not transposed and has the same leading dimension on both sides, ``cublasLtMatrixTransform``
    copies the first matrix only (seen with cuBLASLt 13.1). Dense matrices are told to it as the columns of one, others
    are copied one by one.
    """
    over, (source, target) = walk(batch, [copy.source, copy.target]), copy.forms
    if over.matrices == 1 or copy.operation != NO_TRANSPOSE or source.leading != target.leading:
        return Transfer((source, target), copy.operation, over)
    size = source.rows * source.cols
    if min(over.steps) >= size and source.leading == source.rows:
        first, second = (Form(False, size, over.matrices, step) for step in over.steps)
        return Transfer((first, second), NO_TRANSPOSE, Walk(1, (0, 0), over.loops))
    width = ITEMSIZE[copy.source.matrix.dtype]
    loop = over.matrices, tuple([step * width for step in over.steps])
    return Transfer((source, target), NO_TRANSPOSE, Walk(1, (0, 0), [*over.loops, loop]))
