"""Threads that share the work of planmath's own kernels (team_pool.h)."""

from libc.stdint cimport intptr_t

cdef extern from "team_pool.h":
    void pm_share_parts(...)
    int pm_mind_forks()

if pm_mind_forks():
    raise MemoryError("the hook for forks could not be set")

#: Address of f(body, work, parts, most): does all parts by up to so many threads, for `pm_set_share` of team.h.
SHARE = <intptr_t>&pm_share_parts
#: Seconds for which the threads look for work after a call.
LINGER = 1e-4
