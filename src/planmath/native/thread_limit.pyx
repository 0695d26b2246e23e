"""How many threads libraries use: OpenBLAS, which has one number for the whole process, and whether any has changed.

Calls that run at the same time may each want another one. The first to come keeps the number that it finds, and the
last to go puts it back: whoever comes in between, and whoever asks meanwhile, is not misled by what others have set.
"""

from libc.stdint cimport intptr_t

cdef extern from *:
    """
    #include <pthread.h>

    static pthread_mutex_t pm_limit_lock = PTHREAD_MUTEX_INITIALIZER;
    static int (*pm_get_threads)(void);
    static void (*pm_set_threads)(int);
    static int pm_limits, pm_threads_before;

    static void pm_use_threads(int n) {
        if (pm_get_threads() != n) pm_set_threads(n);
    }

    /* A limit of n threads from now on; 0 ends it. */
    static void pm_limit_threads(int n) {
        pthread_mutex_lock(&pm_limit_lock);
        if (n > 0) {
            if (!pm_limits++) pm_threads_before = pm_get_threads();
            pm_use_threads(n);
        } else if (!--pm_limits) pm_use_threads(pm_threads_before);
        pthread_mutex_unlock(&pm_limit_lock);
    }

    static int pm_unlimited_threads(void) {
        pthread_mutex_lock(&pm_limit_lock);
        int n = pm_limits ? pm_threads_before : pm_get_threads();
        pthread_mutex_unlock(&pm_limit_lock);
        return n;
    }

    /* No fork comes between two of these lines. In the child, the calls that had limits are gone. */
    static int pm_limited_at_fork;
    static void pm_before_fork(void) { pthread_mutex_lock(&pm_limit_lock); }
    static void pm_after_fork_in_parent(void) { pthread_mutex_unlock(&pm_limit_lock); }
    static void pm_after_fork_in_child(void) {
        pthread_mutex_init(&pm_limit_lock, NULL);
        pm_limited_at_fork = pm_limits > 0;
        pm_limits = 0;
    }

    static void pm_begin_limits_anew(void) {
        if (pm_limited_at_fork) pm_use_threads(pm_threads_before);
        pm_limited_at_fork = 0;
    }

    static void pm_attach_threads(intptr_t get, intptr_t set) {
        pm_get_threads = (int (*)(void))get;
        pm_set_threads = (void (*)(int))set;
        pthread_atfork(pm_before_fork, pm_after_fork_in_parent, pm_after_fork_in_child);
    }
    """
    void pm_limit_threads(int n)
    int pm_unlimited_threads()
    void pm_attach_threads(intptr_t get, intptr_t set)
    void pm_begin_limits_anew()


def attach(intptr_t get, intptr_t set):
    """Tell the addresses of the library's functions that return and set the number."""
    pm_attach_threads(get, set)


def unlimited():
    """The number without the limits of calls that are running."""
    return pm_unlimited_threads()


def begin_anew():
    """In a forked child: give the library the number that it had without the limits of other threads' calls."""
    pm_begin_limits_anew()


#: Address of f(n), which sets a limit of n threads, and ends one where n is 0.
LIMIT = <intptr_t>&pm_limit_threads


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


#: Address of f(), OpenBLAS's number without limits.
UNLIMITED = <intptr_t>&pm_unlimited_threads
