"""Addresses of the loops over sparse tensors (loops.h), and the places in their descriptors."""

from libc.stdint cimport intptr_t

from planmath.native.team import SHARE

cdef extern from "loops.h":
    void pm_set_share(intptr_t address)
    enum: PM_LEVELS, PM_COLUMNS, PM_B_COLUMN, PM_C_COLUMN, PM_MODE, PM_THREADS, PM_PARTS, PM_FIRST, PM_WIDE, PM_ASSIGNS, \
        PM_ROWS, PM_ROW_STEP, PM_SPAN, PM_WINDOW, PM_RUNS, PM_STREAMS, PM_NESTED, PM_OUTER, PM_HEADER, PM_MOST_LEVELS, PM_REPEAT
    enum: PM_BY_NOTHING, PM_BY_POSITIONS, PM_BY_RUNS, PM_BY_COLUMNS, PM_BY_COPIES, PM_BY_WINDOWS
    enum: PM_F32, PM_F64, PM_C64, PM_C128, PM_MIN_PLUS_F32
    void **pm_best_kernels() except NULL
    void pm_place(...)
    void pm_rows_of_narrow(...)
    void pm_rows_of_wide(...)
    enum: PM_OF_OUTER, PM_OF_SKIPS, PM_OF_SINGLE, PM_OF_ROWS, PM_OF_INNER, PM_OF_STARTS, PM_OF_COLUMNS, PM_OF_PLACES, \
        PM_OF_WORDS, PM_AHEAD

pm_set_share(SHARE)

cdef void **kernels = pm_best_kernels()

#: Places in a descriptor, which begins with them; the levels begin at HEADER.
PLACE = {
    "levels": PM_LEVELS, "columns": PM_COLUMNS, "b_column": PM_B_COLUMN, "c_column": PM_C_COLUMN, "mode": PM_MODE,
    "threads": PM_THREADS, "parts": PM_PARTS, "first": PM_FIRST, "wide": PM_WIDE, "assigns": PM_ASSIGNS, "rows": PM_ROWS,
    "row_step": PM_ROW_STEP, "span": PM_SPAN, "window": PM_WINDOW, "runs": PM_RUNS, "streams": PM_STREAMS, "nested": PM_NESTED,
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

#: Places in the description of how the entries of a matrix are found by rows (rows_of.h), and how many there are.
ROWS_OF = {
    "outer": PM_OF_OUTER, "skips": PM_OF_SKIPS, "single": PM_OF_SINGLE, "rows": PM_OF_ROWS, "inner": PM_OF_INNER,
    "starts": PM_OF_STARTS, "columns": PM_OF_COLUMNS, "places": PM_OF_PLACES,
}
ROWS_OF_WORDS = PM_OF_WORDS
#: Elements behind the last place that may be read.
AHEAD = PM_AHEAD
#: dtype of indices -> f(description, outer positions, coordinates, inner positions, coordinates, room): entries by rows; not
#: 0 where an index is out of range, or out of the order that was promised.
FIND_ROWS = {"int32": <intptr_t>&pm_rows_of_narrow, "int64": <intptr_t>&pm_rows_of_wide}
