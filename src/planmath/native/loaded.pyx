"""Which shared libraries a process has loaded.

Not by a callback in Python: that may be made to wait for another thread, which may wait for the loader's lock.
"""

from libc.stddef cimport size_t
from libc.stdlib cimport free

cdef extern from *:
    """
    #include <stdlib.h>
    #include <string.h>
    #ifdef __linux__
    #include <link.h>

    typedef struct { char *text; size_t length, size; int failed; } pm_names;

    static int pm_note_library(struct dl_phdr_info *library, size_t size, void *data) {
        pm_names *names = (pm_names *)data;
        size_t n = strlen(library->dlpi_name) + 1;
        if (n == 1) return 0; /* the program itself */
        if (names->length + n > names->size) {
            size_t more = 2 * (names->size + n) + 4096;
            char *text = (char *)realloc(names->text, more);
            if (!text) return names->failed = 1;
            names->text = text;
            names->size = more;
        }
        memcpy(names->text + names->length, library->dlpi_name, n);
        names->length += n;
        return 0;
    }

    /* Their names, each with a 0 at its end, in memory to be freed; NULL where there is none for them. */
    static char *pm_loaded_libraries(size_t *length) {
        pm_names names = {(char *)malloc(1), 0, 1, 0};
        if (names.text) dl_iterate_phdr(pm_note_library, &names);
        if (names.failed) {
            free(names.text);
            names.text = NULL;
        }
        *length = names.length;
        return names.text;
    }
    #else
    static char *pm_loaded_libraries(size_t *length) {
        *length = 0;
        return (char *)malloc(1);
    }
    #endif
    """
    char *pm_loaded_libraries(size_t *length) nogil


def loaded_libraries():
    """The files of all shared libraries of this process, as bytes; none where that is not known, outside Linux."""
    cdef size_t length = 0
    cdef char *text
    with nogil:
        text = pm_loaded_libraries(&length)
    if text == NULL:
        raise MemoryError
    try:
        return text[:length].split(b"\0")[:-1]
    finally:
        free(text)
