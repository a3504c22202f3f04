"""A map of 64-bit hashes to numbers above 0, in 16 bytes a slot: open addressing, half full at most, never smaller."""

from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

cdef enum:
    FIRST_SLOTS = 1024


cdef struct Slot_C:
    int64_t key
    int64_t value  # 0: the slot is free


cdef class IdMap:
    """Made empty. The latest value of a key counts."""

    cdef Slot_C *_slots
    cdef int64_t _mask
    cdef int64_t _used

    def __cinit__(self):
        self._slots = <Slot_C *>calloc(FIRST_SLOTS, sizeof(Slot_C))
        if self._slots == NULL:
            raise MemoryError
        self._mask = FIRST_SLOTS - 1
        self._used = 0

    def __dealloc__(self):
        free(self._slots)

    def __len__(self):
        return self._used

    def add(self, int64_t key, int64_t value):
        """Set the value of a key. ValueError for a value below 1."""
        if value < 1:
            raise ValueError(f"{value} is below 1")
        if 2 * self._used > self._mask:
            self._grow()
        cdef Slot_C *slot = self._place(key)
        self._used += slot.value == 0
        slot.key = key
        slot.value = value

    def add_rows(self, list rows):
        """``add`` for each (value, anything, text): the key is the text's ``hash``."""
        for row in rows:
            self.add(hash(row[2]), row[0])

    def find(self, int64_t key):
        """The value of a key, 0 for none."""
        return self._place(key).value

    cdef Slot_C *_place(self, int64_t key) noexcept:
        """The slot of a key, or the free one where it would be. There is always a free one."""
        cdef int64_t at = key & self._mask
        while self._slots[at].value != 0 and self._slots[at].key != key:
            at = (at + 1) & self._mask
        return &self._slots[at]

    cdef int _grow(self) except -1:
        cdef Slot_C *old = self._slots
        cdef int64_t count = self._mask + 1
        cdef Slot_C *slots = <Slot_C *>calloc(2 * count, sizeof(Slot_C))
        if slots == NULL:
            raise MemoryError
        self._slots = slots
        self._mask = 2 * count - 1
        cdef int64_t i
        for i in range(count):
            if old[i].value != 0:
                self._place(old[i].key)[0] = old[i]
        free(old)
        return 0
