# The memory of one simulated world around one routing engine. Slots are the engine's: contact and agent arrays here are
# parallel to its own. Times are int64 microseconds.
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from cordboard._core.acd_types cimport Engine, Queued_C
from cordboard._core.simlaws cimport Law_C

cdef enum:                    # columns of a queue's counters; cordboard.simulation.result.COUNTERS
    C_OFFERED = 0
    C_ANSWERED = 1
    C_ABANDONED = 2
    C_SHORT = 3
    C_TIMEOUT = 4
    C_FLOWOUT = 5
    C_REJECTED = 6
    C_ANSWERED_IN = 7
    C_ABANDONED_IN = 8
    C_WAIT_ANSWERED = 9
    C_WAIT_ABANDONED = 10
    C_WAIT_OTHER = 11
    C_LONGEST = 12
    C_DELAYED = 13
    C_TALK = 14
    C_OFFERS = 15
    C_MISSED = 16
    C_BUSY = 17
    C_RETRIED = 18
    C_OPEN = 19               # still waiting when the run ended
    N_COUNTERS = 20

cdef enum:                    # columns of an agent's row: time in each state, then contacts handled
    S_OFFLINE = 0
    S_AWAY = 1
    S_IDLE = 2
    S_RINGING = 3
    S_TALKING = 4
    S_WRAP_UP = 5
    S_HANDLED = 6
    N_AGENT = 8               # one cache line

cdef enum: N_BINS = 768       # waits: 32 bins of 1,024 us, then 32 an octave

cdef enum:                    # kinds of a heap node
    K_ARRIVAL = 0             # ref = source
    K_SERVED = 1              # ref = contact: the conversation is over
    K_PATIENCE = 2            # ref = contact, while its generation is the tag's
    K_RING = 3                # ref = pending: the agent accepts, or declines
    K_RETRY = 4               # ref = pending: a caller comes again
    K_WRAP_UP = 5             # ref = agent, while its wrap-up number is the tag's
    K_BACK = 6                # ref = agent, set away for not answering
    K_SHIFT = 7               # the next line of the shift plan
    K_BATCH = 8               # the next batch of the statistics begins

cdef enum:                    # purposes of a caller's random numbers
    P_SERVICE = 1
    P_WRAP_UP = 2
    P_PATIENCE = 3            # these four once an attempt or an offer: + 8 * its number
    P_RETRY = 4
    P_RETRY_DELAY = 5
    P_RING = 6
    P_NO_ANSWER = 7

cdef enum:                    # outcome in a record
    O_ANSWERED = 0
    O_ABANDONED = 1
    O_TIMEOUT = 2
    O_REJECTED = 3
    O_BUSY = 4

ctypedef struct Node_C:
    int64_t t
    uint32_t ref
    uint32_t tag              # kind, then 28 bits of generation

ctypedef struct Source_C:
    double at                 # of the last arrival, not rounded
    uint64_t arrival_state
    uint64_t key_state
    const double* piece_end   # us
    const double* piece_rate  # arrivals a us
    const int64_t* trace
    int64_t n_trace
    int32_t n_pieces
    int32_t piece
    int64_t count             # arrivals so far
    const int32_t* service    # law by kind of agent
    const int32_t* wrap_up    # law by kind of agent; -1: the center's own
    double p_retry
    double p_no_answer
    int32_t patience
    int32_t ring
    int32_t retry_delay
    int32_t attempts
    int32_t ring_at_once
    Queued_C spec

ctypedef struct Caller_C:     # a contact alive, by the engine's slot
    uint64_t key
    int64_t entered           # its present queue
    int64_t connected_at
    int64_t* row              # where it is counted
    uint32_t* bins
    int64_t index             # number among its source's arrivals
    uint32_t generation       # counts what ends a patience: an answer, a departure, the next contact in this slot
    int32_t source
    int32_t queue
    int32_t agent             # that talks to it; -1
    int32_t attempt
    int32_t offers
    int32_t pendings          # its open offers; -1
    int32_t spare

ctypedef struct Pending_C:    # an offer that will be accepted or declined, or a caller who will come again
    uint64_t key
    int64_t index
    int32_t slot              # contact; -1: overtaken by events
    int32_t agent
    int32_t source
    int32_t attempt
    int32_t declines
    int32_t next

ctypedef struct Desk_C:       # an agent
    int64_t since             # in its present state
    int32_t state
    int32_t kind              # column of the service table
    uint32_t wrap_up          # number of its present wrap-up
    int32_t on_shift

# NumPy dtype: cordboard._core.simkernel.RECORD
cdef packed struct Record_C:
    int64_t index
    int64_t entered           # us
    int64_t wait              # us, in its last queue
    int64_t talk              # us; what it will last
    int32_t source
    int32_t attempt
    int32_t outcome
    int32_t queue
    int32_t agent

ctypedef struct World_C:
    Engine* engine
    int64_t now
    int64_t end_of_arrivals
    int64_t stop
    int64_t lines
    int64_t places            # for waiting contacts, over all queues; 0: no limit
    int64_t back_after
    int64_t short_us
    int64_t n_events
    int64_t n_contacts
    int32_t error
    const Law_C* laws
    # heap; where hole is 1 its top is done with, and the next push takes its place
    Node_C* heap
    int32_t n_heap
    int32_t heap_room
    int32_t hole
    # callers
    Source_C* sources
    int32_t n_sources
    Caller_C* callers
    int32_t callers_room
    Pending_C* pendings
    int32_t n_pendings
    int32_t pendings_room
    int32_t free_pending
    int32_t retrying
    uint64_t ending_key       # of the contact whose conversation ends now, for its wrap-up
    int32_t ending_source
    # agents
    Desk_C* desks
    int32_t n_agents
    int32_t n_queues
    const int64_t* shift_at
    const int32_t* shift_agent
    const int32_t* shift_presence
    int32_t n_shifts
    int32_t shift
    # statistics: rows of batches 0 .. n_batches, of which the last takes what is not counted
    int64_t* counters
    uint32_t* bins
    int64_t* agent_rows
    const int64_t* within     # a queue's threshold
    const int64_t* batch_at   # n_batches + 1 boundaries
    int32_t n_batches
    int32_t batch
    int32_t next_batch
    # records
    Record_C* records
    int64_t n_records
    int64_t records_room      # 0: none are kept
