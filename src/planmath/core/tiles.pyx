"""Work that is done tile by tile, on several threads, by prepared calls."""

from cpython.mem cimport PyMem_Calloc, PyMem_Free

from planmath.native.call cimport PM_LOOPS, Call, pm_call, word

from planmath.native.call import Slot
from planmath.native.team import SHARE

cdef extern from "../core/tiles.h":
    enum: PM_TILE_THREADS
    ctypedef struct pm_steps:
        const pm_call *const *calls
        int n_calls
    ctypedef struct pm_tiles:
        word n_tiles, n_loops, n_threads
        word count[PM_LOOPS]
        word step[2][PM_LOOPS]
        word itemsize[2]
        int has_rest
        const pm_steps *full
        const pm_steps *rest
    ctypedef int (*pm_rows)(word, word, word, word, word, word, word, word, word, word)
    ctypedef struct pm_walk:
        pm_rows rows
        word data, itemsize, n_loops
        word count[PM_LOOPS]
        word step[PM_LOOPS]
        word tile_step[PM_LOOPS]
    int pm_copy_complex64(word, word, word, word, word, word, word, word, word, word)
    int pm_copy_complex128(word, word, word, word, word, word, word, word, word, word)
    int pm_run_tiles(const pm_tiles *tiles, word first, word second, word workspace)
    int pm_run_walk(const pm_walk *walk, word array, word offset, word tile)
    void pm_set_share(word address)

pm_set_share(SHARE)

#: What the calls of a tile refer to: both arrays and the workspace; how many elements into the arrays the tile starts; and
#: where that is.
FIRST, SECOND, WORKSPACE, FIRST_OFFSET, SECOND_OFFSET, FIRST_AT, SECOND_AT = [Slot(number) for number in range(7)]
#: Functions for a `Walk` that copy an array into a tile, by dtype.
COPY_ROWS = {"complex64": <word>&pm_copy_complex64, "complex128": <word>&pm_copy_complex128}
#: The most threads, and the most nested loops.
MOST_THREADS, MOST_LOOPS = PM_TILE_THREADS, PM_LOOPS


cdef class Tiles:
    """The tiles of two arrays, and the calls that are made for each.

    Parameters
    ----------
    loops : sequence of (count, step, step)
        Loops over tiles, outermost first: how many, and the elements between them in both arrays.
    itemsizes : (int, int)
        Bytes of the elements of both arrays.
    full : sequence of sequence of Call
        For each thread, the calls for a tile, on the addresses `FIRST` to `SECOND_AT`.
    rest : sequence of sequence of Call, optional
        The same for the last tile of the innermost loop, where that is smaller.
    """

    cdef pm_tiles native
    cdef pm_steps *steps
    cdef const pm_call **table
    cdef tuple keep

    def __init__(self, loops, itemsizes, full, rest=None):
        cdef pm_tiles *tiles = &self.native
        cdef int i, side, made = 0
        cdef const pm_call **place
        loops = list(loops) or [(1, 0, 0)]
        if not 1 <= len(full) <= PM_TILE_THREADS or len(loops) > PM_LOOPS or (rest is not None and len(rest) != len(full)):
            raise ValueError(f"{len(full)} threads and {len(loops)} loops; at most {PM_TILE_THREADS} and {PM_LOOPS}")
        groups = [tuple(calls) for calls in (*full, *(rest or ()))]
        self.keep = tuple(groups)
        self.steps = <pm_steps *>table_of(len(groups), sizeof(pm_steps))
        self.table = <const pm_call **>table_of(sum(map(len, groups)), sizeof(pm_call *))
        for i, calls in enumerate(groups):
            place = self.table + made
            self.steps[i].calls, self.steps[i].n_calls = <const pm_call *const *>place, len(calls)
            for call in calls:
                if (<Call?>call).highest_slot >= 7:
                    raise ValueError(f"{call.name} refers to address {call.highest_slot} of 7")
                self.table[made] = &(<Call>call).native
                made += 1
        tiles.full, tiles.rest, tiles.has_rest = self.steps, self.steps + len(full), rest is not None
        tiles.n_threads, tiles.n_loops, tiles.n_tiles = len(full), len(loops), 1
        for i, (count, first, second) in enumerate(loops):
            tiles.count[i], tiles.step[0][i], tiles.step[1][i] = count, first, second
            tiles.n_tiles *= count
        for side in range(2):
            tiles.itemsize[side] = itemsizes[side]

    def __dealloc__(self):
        PyMem_Free(self.steps)
        PyMem_Free(self.table)

    def call(self, first, second, workspace, **options):
        """The prepared call that does the work, on the arrays and the workspace that these slots stand for."""
        return Call(<word>&pm_run_tiles, [<word>&self.native, first, second, workspace], returns_status=True, keep=self,
                    **options)


cdef class Walk:
    """A native function for the elements of an array and of a tile.

    Parameters
    ----------
    rows : int
        Address of the function, a ``pm_rows`` (tiles.h).
    data : int
        Address of what else it is given.
    loops : sequence of (count, step, step in the tile)
        Outermost first; steps in elements.
    itemsize : int
        Bytes of an element of the tile.
    keep : object
        Owns the function and its data.
    """

    cdef pm_walk native
    cdef object keep

    def __init__(self, rows, data, loops, itemsize, keep):
        cdef int i
        loops = [(1, 0, 0)] * (2 - len(loops)) + list(loops)
        if len(loops) > PM_LOOPS:
            raise ValueError(f"{len(loops)} loops; at most {PM_LOOPS} can nest")
        self.keep = keep
        self.native.rows, self.native.data, self.native.itemsize = <pm_rows><word>rows, data, itemsize
        self.native.n_loops = len(loops)
        for i, (count, step, tile_step) in enumerate(loops):
            self.native.count[i], self.native.step[i], self.native.tile_step[i] = count, step, tile_step

    def call(self, array, offset, tile, **options):
        """The prepared call: the array is at an address, and its first element this far into it; and so is the tile."""
        return Call(<word>&pm_run_walk, [<word>&self.native, array, offset, tile], returns_status=True, keep=self, **options)


cdef void *table_of(Py_ssize_t count, Py_ssize_t size) except NULL:
    cdef void *made = PyMem_Calloc(max(count, 1), size)
    if made == NULL:
        raise MemoryError(f"{count * size} bytes of memory could not be allocated")
    return made
