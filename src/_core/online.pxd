# The online learner for other modules here. A handle lives as long as the OnlineLearner it is of, and learns with it.
from libc.stdint cimport int32_t

cdef void* online_handle(object learner) except NULL
cdef int online_trace(const void* handle) noexcept nogil
cdef double online_probability(const void* handle, const double* numbers, const int32_t* codes, const int32_t* cells,
                               double extra, double* trace) noexcept nogil
