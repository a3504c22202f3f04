# What contacts say of agents, {agent: value}, interned as pairs sorted by agent. A dump has as many of these as contacts
# wait, each of its own, so the text of one is read here as it stands, without a dict or a number of Python's.
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.math cimport isfinite
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc, qsort
from libc.string cimport memcmp

from cordboard._core.acd_intern cimport intern_get
from cordboard._core.acd_types cimport Engine

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    double PyOS_string_to_double(const char* text, char** end, void* overflow) except? -1.0

cdef enum:
    PLAIN_MAX = 64                # pairs that are read as text; who brings more is read as JSON
    DIGITS_EXACT = 15             # so many digits are an exact double, and 10 ** 15 is one too

ctypedef struct Value:
    int64_t agent
    double value

cdef inline int by_agent(const void* a, const void* b) noexcept nogil:
    return -1 if (<const Value*>a).agent < (<const Value*>b).agent else 1

cdef inline int pairs_store(Engine* e, const Value* pairs, int32_t n) except -1:  # sorted
    cdef int32_t found = intern_get(&e.pair_values, <const int64_t*>pairs, 2 * n)
    if found < 0:
        raise MemoryError
    return found

cdef inline int values_store(Engine* e, dict values, dict agents) except -1:
    """Intern the values of those agents that have an index."""
    cdef Value* pairs = <Value*>malloc((len(values) + 1) * sizeof(Value))
    cdef int32_t n = 0
    if pairs == NULL:
        raise MemoryError
    try:
        for name, value in values.items():
            agent = agents.get(name)
            if agent is not None:
                pairs[n].agent = agent
                pairs[n].value = value
                n += 1
        qsort(pairs, n, sizeof(Value), &by_agent)
        return pairs_store(e, pairs, n)
    finally:
        free(pairs)

cdef inline const char* digits_end(const char* at) noexcept nogil:
    while c"0" <= at[0] <= c"9":
        at += 1
    return at

cdef inline const char* number_read(const char* at, double* value) except? NULL:
    """A number of JSON; returns where it ends, or `at` itself if there is none."""
    cdef const char* first = at
    cdef const char* digits
    cdef const char* point
    cdef int64_t whole = 0
    cdef double scale = 1
    cdef bint exact
    at += at[0] == c"-"
    digits = at
    at = point = digits_end(at)
    if at == digits or (digits[0] == c"0" and at - digits > 1):
        return first
    if at[0] == c".":
        at = digits_end(point + 1)
        if at == point + 1:
            return first
    exact = at - digits <= DIGITS_EXACT
    if at[0] == c"e" or at[0] == c"E":
        exact = False
        at += 1
        at += at[0] == c"-" or at[0] == c"+"
        point = at
        at = digits_end(at)
        if at == point:
            return first
    if not exact:
        value[0] = PyOS_string_to_double(first, <char**>&point, NULL)
        return at
    while digits < at:
        if digits[0] != c".":
            whole = 10 * whole + (digits[0] - c"0")
            if digits > point:
                scale *= 10
        digits += 1
    value[0] = <double>whole / scale  # one rounding of two exact numbers
    if first[0] == c"-":
        value[0] = -value[0]
    return at

cdef inline int values_read(Engine* e, str text, dict agents) except -2:
    """Intern the values of {"values":{"an agent":1.5}}, written so, without a space or anything escaped; -1 for another text."""
    cdef Value pairs[PLAIN_MAX]
    cdef Py_ssize_t size
    cdef const char* at = PyUnicode_AsUTF8AndSize(text, &size)
    cdef const char* end = at + size
    cdef const char* start
    cdef int32_t n = 0
    cdef int32_t i
    if size < 13 or memcmp(at, b'{"values":{', 11) != 0:
        return -1
    at += 11
    while n < PLAIN_MAX and at[0] == c'"':
        at += 1
        start = at
        while at[0] != c'"' and at[0] != c"\\" and <unsigned char>at[0] >= 32:
            at += 1
        if at[0] != c'"' or at[1] != c":":
            return -1
        agent = agents.get(PyUnicode_DecodeUTF8(start, at - start, NULL))
        start = at + 2
        at = number_read(start, &pairs[n].value)
        if at == start or not isfinite(pairs[n].value):
            return -1
        if agent is not None:
            pairs[n].agent = agent
            n += 1
        if at[0] == c",":
            at += 1
            if at[0] != c'"':
                return -1
        elif at[0] == c"}":
            break
    if end - at != 2 or at[0] != c"}" or at[1] != c"}":
        return -1
    qsort(pairs, n, sizeof(Value), &by_agent)
    for i in range(1, n):
        if pairs[i].agent == pairs[i - 1].agent:  # one agent twice: in JSON the later value counts
            return -1
    return pairs_store(e, pairs, n)
