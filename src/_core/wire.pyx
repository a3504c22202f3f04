"""Batches between the wire and the journal: events that are plain, and outcomes of which nothing is to be told but that
they were applied, which is most of both. What is not of that kind is left to the general code of the services.

The bytes are those of ``EventBatch`` and ``SessionResponse`` in services/proto/cordboard/v1/routing_service.proto.
"""
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.math cimport llrint
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    NAME_MAX = 255
    VARINT = 0          # wire types
    BYTES = 2
    ROOM = 64           # bytes that an outcome takes at most: three numbers of 10, and what stands before them

cdef tuple KINDS = (  # by field of Event: its name, its names of the journal; those of AgentAway are one or both
    None, None, ("agent_ready", "agent"), ("agent_away", "agent", "reason"), ("agent_offline", "agent"),
    ("contact_queued", "contact", "queue"), ("contact_left", "contact"), ("offer_accepted", "contact", "agent"),
    ("offer_declined", "contact", "agent"), ("contact_ended", "contact"), ("wrap_up_ended", "agent"),
)
cdef list HEADS = ["" if kind is None else f'{{"event":"{kind[0]}","{kind[1]}":"' for kind in KINDS]
cdef list MIDDLES = ["" if kind is None or len(kind) < 3 else f'","{kind[2]}":"' for kind in KINDS]
cdef int AGENT_AWAY = 3


cdef struct Reader_C:
    const uint8_t* at
    const uint8_t* end


cdef int read_varint(Reader_C* r, uint64_t* value) noexcept nogil:
    """-1 if there is none."""
    cdef int shift = 0
    cdef uint8_t byte = 0x80
    value[0] = 0
    while byte & 0x80:
        if r.at == r.end or shift > 63:
            return -1
        byte = r.at[0]
        value[0] |= <uint64_t>(byte & 0x7F) << shift
        r.at += 1
        shift += 7
    return 0


cdef int read_field(Reader_C* r, Reader_C* content) noexcept nogil:
    """The number of the next field, which holds bytes; 0 at the end, -1 for anything else."""
    cdef uint64_t tag, length
    if r.at == r.end:
        return 0
    if read_varint(r, &tag) < 0 or tag & 7 != BYTES or tag >> 3 == 0 or tag >> 3 > 1000:
        return -1
    if read_varint(r, &length) < 0 or length > <uint64_t>(r.end - r.at):
        return -1
    content.at, content.end = r.at, r.at + length
    r.at += length
    return <int>(tag >> 3)


cdef bint is_plain(const Reader_C* r) noexcept nogil:
    """Whether UTF-8 is a name that the journal takes and JSON writes as it is; the odd one more is left to others."""
    cdef const uint8_t* c = r.at
    if not 0 < r.end - r.at <= NAME_MAX:
        return False
    while c < r.end:  # control characters: below 0x20, 0x7f, and U+0080 to U+009F, which begin with 0xc2
        if c[0] < 0x20 or c[0] == 0x22 or c[0] == 0x5C or c[0] == 0x7F or c[0] == 0xC2:
            return False
        c += 1
    return True


cdef object plain_event(Reader_C r):
    """(event, its JSON) of an Event, or None."""
    cdef Reader_C part, content
    cdef Reader_C[2] texts
    cdef int kind = 0
    cdef int field = read_field(&r, &content)
    cdef int n = 0
    while field > 0:
        if field > 1:  # 1 is the time, which is the engine's to give
            if kind != 0:
                return None
            kind, part = field, content
        field = read_field(&r, &content)
    if field < 0 or kind < 2 or kind >= len(KINDS):
        return None
    field = read_field(&part, &content)
    while field > 0:
        if field != n + 1 or n == 2 or not is_plain(&content):
            return None
        texts[n] = content
        n += 1
        field = read_field(&part, &content)
    cdef tuple names = <tuple>KINDS[kind]
    if field < 0 or n > len(names) - 1 or n < (1 if kind == AGENT_AWAY else len(names) - 1):
        return None
    cdef str first = PyUnicode_DecodeUTF8(<const char*>texts[0].at, texts[0].end - texts[0].at, NULL)
    cdef str second
    if n == 1:
        return {"event": names[0], names[1]: first}, f'{<str>HEADS[kind]}{first}"}}'
    second = PyUnicode_DecodeUTF8(<const char*>texts[1].at, texts[1].end - texts[1].at, NULL)
    text = f'{<str>HEADS[kind]}{first}{<str>MIDDLES[kind]}{second}"}}'
    return {"event": names[0], names[1]: first, names[2]: second}, text


def plain_events(bytes batch):
    """For each event of an EventBatch the event without its time and its JSON, as ``journal.check_event`` and
    ``live.center_json.encode`` would have given them; None for one that is not plain. ValueError for what is no batch."""
    cdef Reader_C r, content
    cdef int field
    cdef list found = []
    r.at = <const uint8_t*>batch
    r.end = r.at + len(batch)
    while True:
        field = read_field(&r, &content)
        if field == 1:
            found.append(plain_event(content))
        elif field == 0:
            return found
        elif field < 0:
            raise ValueError("no EventBatch")


cdef uint8_t* put_varint(uint8_t* at, uint64_t value) noexcept nogil:
    while value > 0x7F:
        at[0] = <uint8_t>(value & 0x7F | 0x80)
        value >>= 7
        at += 1
    at[0] = <uint8_t>value
    return at + 1


cdef uint8_t* put_number(uint8_t* at, int field, uint64_t value) noexcept nogil:
    """A field that holds a number; one that is 0 is left out."""
    if value == 0:
        return at
    return put_varint(put_varint(at, field << 3 | VARINT), value)


cdef uint8_t* put_length(uint8_t* at, int field, int64_t length) noexcept nogil:
    """The head of a field that holds bytes."""
    return put_varint(put_varint(at, field << 3 | BYTES), length)


cdef bytes plain_outcome(int64_t revision, int64_t ticks, bint repeated):
    """An Outcome in an OutcomeBatch: what was applied has a revision and a time."""
    cdef uint8_t time[ROOM]
    cdef uint8_t applied[ROOM]
    cdef uint8_t whole[ROOM]
    cdef uint8_t* end
    cdef int64_t n
    end = put_number(time, 1, ticks // 1_000_000)
    n = put_number(end, 2, ticks % 1_000_000 * 1000) - time
    end = put_length(put_number(applied, 1, revision), 2, n)
    memcpy(end, time, n)
    n = put_number(end + n, 4, repeated) - applied
    end = put_length(whole, 1, n)  # Outcome.applied, and its length before the whole
    memcpy(end, applied, n)
    n = end + n - whole
    return (<char*>whole)[:n]


def session_response(list outcomes, other):
    """The SessionResponse that tells outcomes, as bytes; ``other(outcome)`` gives the Outcome of one that has effects or
    an error, as bytes."""
    cdef uint8_t head[ROOM]
    cdef list parts = [b""]
    cdef bytes part
    cdef int64_t n
    cdef int64_t length = 0
    for outcome in outcomes:
        entry, repeated = outcome
        if entry.error is None and not entry.effects:
            part = plain_outcome(entry.revision, llrint(<double>entry.t * 1e6), repeated)
        else:
            part = other(outcome)
        n = put_length(head, 1, len(part)) - head
        parts.append((<char*>head)[:n])
        parts.append(part)
        length += n + len(part)
    parts[0] = (<char*>head)[: put_length(head, 2, length) - head]
    return b"".join(parts)
