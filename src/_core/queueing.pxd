# Steady-state formulas. Rates are per second, times in seconds, loads in Erlang. A measure that does not exist (an
# unstable queue) is NaN. The caller has checked that n >= 1 and that rates and times are finite and positive.

from cordboard._core.patience cimport Measures_C

ctypedef struct Target_C:      # a bound that is not asked for is NaN
    double service_level       # at least, within:
    double within
    double abandonment         # at most
    double mean_wait           # at most

cdef double erlang_b_inverse(long n, double load) noexcept nogil
cdef double erlang_c_of(double b_inverse, long n, double load) noexcept nogil
cdef void erlang_c_measures(Measures_C* m, long n, double rate, double handle, double within) noexcept nogil
cdef void erlang_a_measures(
    Measures_C* m, long n, double rate, double handle, double patience, double within) noexcept nogil
# Erlang A; Erlang C where patience is inf or nobody calls.
cdef void measures_of(
    Measures_C* m, long n, double rate, double handle, double patience, double within) noexcept nogil
cdef long minimum_agents_c(double rate, double handle, const Target_C* target, long limit) noexcept nogil
cdef long minimum_agents_a(
    double rate, double handle, double patience, const Target_C* target, long limit) noexcept nogil
