"""How many threads libraries use: OpenBLAS, which has one number for the whole process, and whether any has changed.

Calls that run at the same time may each want another one. The first to come keeps the number that it finds, and the
last to go puts it back: whoever comes in between, and whoever asks meanwhile, is not misled by what others have set.
Each wheel that brings an OpenBLAS has its own.
"""

from libc.stdint cimport intptr_t

cdef extern from *:
    """
    #include <pthread.h>

    #define PM_LIBRARIES 2
    static pthread_mutex_t pm_limit_lock = PTHREAD_MUTEX_INITIALIZER;
    static struct {
        int (*get)(void);
        void (*set)(int);
        int limits, before, limited_at_fork;
    } pm_libraries[PM_LIBRARIES];

    static void pm_use_threads(int i, int n) {
        if (pm_libraries[i].get() != n) pm_libraries[i].set(n);
    }

    /* A limit of n threads from now on; 0 ends it. */
    static void pm_limit_threads(int i, int n) {
        pthread_mutex_lock(&pm_limit_lock);
        if (n > 0) {
            if (!pm_libraries[i].limits++) pm_libraries[i].before = pm_libraries[i].get();
            pm_use_threads(i, n);
        } else if (!--pm_libraries[i].limits) pm_use_threads(i, pm_libraries[i].before);
        pthread_mutex_unlock(&pm_limit_lock);
    }

    static int pm_unlimited_threads(int i) {
        pthread_mutex_lock(&pm_limit_lock);
        int n = pm_libraries[i].limits ? pm_libraries[i].before : pm_libraries[i].get();
        pthread_mutex_unlock(&pm_limit_lock);
        return n;
    }

    static void pm_limit_0(int n) { pm_limit_threads(0, n); }
    static void pm_limit_1(int n) { pm_limit_threads(1, n); }
    static int pm_unlimited_0(void) { return pm_unlimited_threads(0); }
    static int pm_unlimited_1(void) { return pm_unlimited_threads(1); }

    /* No fork comes between two of these lines. In the child, the calls that had limits are gone. */
    static void pm_before_fork(void) { pthread_mutex_lock(&pm_limit_lock); }
    static void pm_after_fork_in_parent(void) { pthread_mutex_unlock(&pm_limit_lock); }
    static void pm_after_fork_in_child(void) {
        pthread_mutex_init(&pm_limit_lock, NULL);
        for (int i = 0; i < PM_LIBRARIES; i++) {
            pm_libraries[i].limited_at_fork = pm_libraries[i].limits > 0;
            pm_libraries[i].limits = 0;
        }
    }

    static void pm_begin_limits_anew(void) {
        for (int i = 0; i < PM_LIBRARIES; i++) {
            if (pm_libraries[i].limited_at_fork) pm_use_threads(i, pm_libraries[i].before);
            pm_libraries[i].limited_at_fork = 0;
        }
    }

    static void pm_attach_threads(int i, intptr_t get, intptr_t set) {
        static int registered;
        pm_libraries[i].get = (int (*)(void))get;
        pm_libraries[i].set = (void (*)(int))set;
        if (!registered++) pthread_atfork(pm_before_fork, pm_after_fork_in_parent, pm_after_fork_in_child);
    }
    """
    enum: PM_LIBRARIES
    int pm_unlimited_threads(int i)
    void pm_limit_0(int n)
    void pm_limit_1(int n)
    int pm_unlimited_0()
    int pm_unlimited_1()
    void pm_attach_threads(int i, intptr_t get, intptr_t set)
    void pm_begin_limits_anew()


#: By the number of a library: the address of f(n), which sets a limit of n threads, and ends one where n is 0;
LIMIT = (<intptr_t>&pm_limit_0, <intptr_t>&pm_limit_1)
#: and that of f(), its number without limits.
UNLIMITED = (<intptr_t>&pm_unlimited_0, <intptr_t>&pm_unlimited_1)


def attach(int library, intptr_t get, intptr_t set):
    """Tell the addresses of a library's functions that return and set the number."""
    if not 0 <= library < PM_LIBRARIES:
        raise ValueError(f"library is {library}; expected a number below {PM_LIBRARIES}")
    pm_attach_threads(library, get, set)


def unlimited(int library):
    """The number without the limits of calls that are running, of a library that is attached."""
    return pm_unlimited_threads(library)


def begin_anew():
    """In a forked child: give libraries the number that they had without the limits of other threads' calls."""
    pm_begin_limits_anew()


# What tells plans that were made under one limit from those made under another.

cdef enum:
    MOST_NUMBERS = 32

cdef int (*numbers[MOST_NUMBERS])() noexcept
cdef long expected[MOST_NUMBERS]
cdef int watched = 0
cdef object look = None
cdef dict modules = {}
cdef Py_ssize_t seen = -1


def begin(function, dict loaded_modules):
    """Tell what to call when there may be new libraries: when modules were imported, or `look_again` was called."""
    global look, modules
    look, modules = function, loaded_modules


def look_again():
    """Say that a library was loaded."""
    global seen
    seen = -1


def watch(intptr_t number, long usual):
    """From now on, a difference of number(), a C function, from the usual one is part of the stamp."""
    global watched
    cdef int i
    for i in range(watched):
        if <intptr_t>numbers[i] == number:
            return
    if watched < MOST_NUMBERS:
        numbers[watched], expected[watched] = <int (*)() noexcept>number, usual
        watched += 1


def stamp():
    """A number for the limits that libraries' threads have now in the calling thread; 0 for those they began with."""
    global seen
    cdef long long mixed = 0
    cdef int i
    cdef Py_ssize_t now = len(modules)
    if now != seen:
        seen = now
        look()
    for i in range(watched):
        mixed = mixed * 1009 + numbers[i]() - expected[i]
    return mixed
