# Ridge regression that learns row by row and forgets, for several targets that share their features.
#
#   gram = (forget * gram) + x x'        lower triangle of a size x size matrix, row by row
#   rhs  = (forget * rhs)  + y x         size x targets
#
# and at every step (1 - forget) of the prior (strength * identity, around the weights `prior`) is put back, so what is
# not seen any more falls back to the prior instead of blowing up, as it does in recursive least squares.
from libc.math cimport sqrt
from libc.stdlib cimport calloc, free

ctypedef struct Ridge_C:
    int size
    int targets
    double forget
    double strength
    double* prior    # size x targets
    double* gram     # size x size
    double* rhs      # size x targets
    double* weights  # size x targets
    double* scratch  # size x size: the factor
    double* column   # size

cdef inline void ridge_free(Ridge_C* r) noexcept nogil:
    free(r.prior)
    free(r.gram)
    free(r.rhs)
    free(r.weights)
    free(r.scratch)
    free(r.column)

cdef inline int ridge_init(Ridge_C* r, int size, int targets, double forget, double strength) noexcept nogil:
    # 0, or -1 if there is no memory (what was allocated is then freed by ridge_free).
    r.size = size
    r.targets = targets
    r.forget = forget
    r.strength = strength
    r.prior = <double*>calloc(size * targets, sizeof(double))
    r.gram = <double*>calloc(size * size, sizeof(double))
    r.rhs = <double*>calloc(size * targets, sizeof(double))
    r.weights = <double*>calloc(size * targets, sizeof(double))
    r.scratch = <double*>calloc(size * size, sizeof(double))
    r.column = <double*>calloc(size, sizeof(double))
    if (r.prior == NULL or r.gram == NULL or r.rhs == NULL or r.weights == NULL or r.scratch == NULL
            or r.column == NULL):
        return -1
    cdef int i
    for i in range(size):
        r.gram[i * size + i] = strength
    return 0

cdef inline void ridge_set_prior(Ridge_C* r, int feature, int target, double weight) noexcept nogil:
    cdef int at = feature * r.targets + target
    r.prior[at] = weight
    r.weights[at] = weight
    r.rhs[at] = r.strength * weight

cdef inline double ridge_value(const Ridge_C* r, const double* x, int target) noexcept nogil:
    cdef double total = 0.0
    cdef int i
    for i in range(r.size):
        total += x[i] * r.weights[i * r.targets + target]
    return total

cdef inline void ridge_add(Ridge_C* r, const double* x, const double* y) noexcept nogil:
    cdef int i, j
    cdef double* row
    cdef double xi, back = (1.0 - r.forget) * r.strength
    for i in range(r.size):
        row = r.gram + i * r.size
        xi = x[i]
        for j in range(i + 1):
            row[j] = r.forget * row[j] + xi * x[j]
        row[i] += back
        for j in range(r.targets):
            r.rhs[i * r.targets + j] = (
                r.forget * r.rhs[i * r.targets + j] + xi * y[j] + back * r.prior[i * r.targets + j]
            )

cdef inline void ridge_solve(Ridge_C* r) noexcept nogil:
    # Cholesky: gram >= strength * identity at any time (above), so every pivot is at least `strength`, rounding apart.
    cdef int i, j, k, t, n = r.size
    cdef double* a = r.scratch
    cdef double* z = r.column
    cdef double total
    for i in range(n):
        for j in range(i + 1):
            total = r.gram[i * n + j]
            for k in range(j):
                total -= a[i * n + k] * a[j * n + k]
            if i == j:
                a[i * n + i] = sqrt(total if total > 1e-9 else 1e-9)
            else:
                a[i * n + j] = total / a[j * n + j]
    for t in range(r.targets):
        for i in range(n):
            total = r.rhs[i * r.targets + t]
            for k in range(i):
                total -= a[i * n + k] * z[k]
            z[i] = total / a[i * n + i]
        for i in range(n - 1, -1, -1):
            total = z[i]
            for k in range(i + 1, n):
                total -= a[k * n + i] * r.weights[k * r.targets + t]
            r.weights[i * r.targets + t] = total / a[i * n + i]
