# The tree walker for other modules here. A handle is what it walks; it lives as long as the Trees it is of.
cdef void* trees_handle(object trees) except NULL
cdef double trees_probability(const void* handle, const double* row) noexcept nogil
