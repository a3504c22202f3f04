# The engine's large arrays: they begin on a cache line, so that a struct of 64 or 128 bytes lies in as few as it can, and
# from 2 MiB on they lie in huge pages where the kernel allows it, because finding the pages of arrays that are read here
# and there takes longer than reading them.
from libc.string cimport memcpy, memset
from libc.stdlib cimport free

cdef extern from *:
    """
    #include <stdlib.h>
    #if defined(__linux__)
    #include <sys/mman.h>
    #endif
    #define CB_HUGE ((size_t)2 << 20)
    static inline void *cb_array(size_t bytes) {
        void *found = NULL;
        if (posix_memalign(&found, bytes >= CB_HUGE ? CB_HUGE : 64, bytes) != 0)
            return NULL;
    #if defined(__linux__) && defined(MADV_HUGEPAGE)
        if (bytes >= CB_HUGE)
            (void)madvise(found, bytes & ~(CB_HUGE - 1), MADV_HUGEPAGE); /* refused: small pages, as ever */
    #endif
        return found;
    }
    #define cb_prefetch(p) __builtin_prefetch(p)
    """
    void* array_new "cb_array"(size_t bytes) noexcept nogil  # not cleared; NULL: no memory
    void prefetch "cb_prefetch"(const void* p) noexcept nogil

cdef inline void* array_zeros(size_t bytes) noexcept nogil:
    cdef void* found = array_new(bytes)
    if found != NULL:
        memset(found, 0, bytes)
    return found

cdef inline void* array_grown(void* old, size_t used, size_t bytes) noexcept nogil:
    # As realloc: NULL leaves the old one as it was.
    cdef void* found = array_new(bytes)
    if found != NULL:
        memcpy(found, old, used)
        free(old)
    return found
