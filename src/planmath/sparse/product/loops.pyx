"""Addresses of the loops over sparse tensors (loops.h), and the places in their descriptors."""

from libc.stdint cimport intptr_t

from planmath.native.team import SHARE

cdef extern from "loops.h":
    void pm_set_share(intptr_t address)
    enum: PM_LEVELS, PM_COLUMNS, PM_B_COLUMN, PM_C_COLUMN, PM_MODE, PM_THREADS, PM_PARTS, PM_FIRST, PM_WIDE, PM_ASSIGNS, \
        PM_ROWS, PM_ROW_STEP, PM_SPAN, PM_WINDOW, PM_STREAMS, PM_NESTED, PM_OUTER, PM_HEADER, PM_MOST_LEVELS, PM_REPEAT
    enum: PM_BY_NOTHING, PM_BY_POSITIONS, PM_BY_RUNS, PM_BY_COLUMNS, PM_BY_COPIES, PM_BY_WINDOWS
    enum: PM_F32, PM_F64, PM_C64, PM_C128, PM_MIN_PLUS_F32
    void **pm_best_kernels() except NULL
    void pm_place(...)

pm_set_share(SHARE)

cdef void **kernels = pm_best_kernels()

#: Places in a descriptor, which begins with them; the levels begin at HEADER.
PLACE = {
    "levels": PM_LEVELS, "columns": PM_COLUMNS, "b_column": PM_B_COLUMN, "c_column": PM_C_COLUMN, "mode": PM_MODE,
    "threads": PM_THREADS, "parts": PM_PARTS, "first": PM_FIRST, "wide": PM_WIDE, "assigns": PM_ASSIGNS, "rows": PM_ROWS,
    "row_step": PM_ROW_STEP, "span": PM_SPAN, "window": PM_WINDOW, "streams": PM_STREAMS, "nested": PM_NESTED,
}
OUTER, HEADER, MOST_LEVELS = PM_OUTER, PM_HEADER, PM_MOST_LEVELS
#: The kind of a loop that only repeats what is below; the others are LevelFormat's numbers.
REPEAT = PM_REPEAT
#: What threads share.
BY_NOTHING, BY_POSITIONS, BY_RUNS, BY_COLUMNS = PM_BY_NOTHING, PM_BY_POSITIONS, PM_BY_RUNS, PM_BY_COLUMNS
BY_COPIES, BY_WINDOWS = PM_BY_COPIES, PM_BY_WINDOWS

#: (semiring, dtype) -> f(descriptor, val, b, c, alpha, beta, copies)
PRODUCT = {("plus_times", dtype): <intptr_t>kernels[PM_F32 + n]
           for n, dtype in enumerate(("float32", "float64", "complex64", "complex128"))}
SEMIRINGS = ("min_plus", "max_plus", "max_times", "min_times", "max_min", "min_max", "plus_first", "plus_second")
for n, name in enumerate(SEMIRINGS):
    PRODUCT[name, "float32"] = <intptr_t>kernels[PM_MIN_PLUS_F32 + 2 * n]
    PRODUCT[name, "float64"] = <intptr_t>kernels[PM_MIN_PLUS_F32 + 2 * n + 1]

#: f(table, count, up to eight addresses): puts addresses of arrays where a descriptor has them.
STORE_ADDRESSES = <intptr_t>&pm_place
