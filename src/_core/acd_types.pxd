# The memory of the routing engine: one Engine holds everything, in arrays indexed by small ints. Times are int64
# microsecond ticks, INT64_MAX means never; -1 is "none" in every int32 field that names something.
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t

from cordboard._core.rng cimport Rng_C

cdef enum:
    CHANNELS = 6                  # voice, chat, email, sms, social, task
    VOICE = 0
    HEAP_KINDS = 3                # how a pool may be sorted: see HEAP_*
    ACD_MAX_AGENTS = 1 << 20      # the timers' order packs an agent in 20 bits ...
    ACD_SEQ_BITS = 40             # ... and a contact's line in 40

cdef extern from "<stdint.h>" nogil:
    const int64_t NEVER "INT64_MAX"

# What a function of the engine returns.
cdef enum:
    ACD_OK = 0
    ACD_NO_MEMORY = -1
    ACD_TIME_BACK = -2            # t is before the engine's time
    ACD_UNKNOWN_AGENT = -3
    ACD_UNKNOWN_QUEUE = -4
    ACD_UNKNOWN_CONTACT = -5      # no contact lives in this slot
    ACD_DUPLICATE_CONTACT = -6
    ACD_NO_OFFER = -7             # this contact is not offered to this agent (any more)
    ACD_CONNECTED = -8            # contact_left of a contact in conversation
    ACD_NOT_CONNECTED = -9        # contact_ended of a contact that is not in conversation
    ACD_NO_WRAP_UP = -10          # wrap_up_ended of an agent who is in none
    ACD_TOO_MANY_CONTACTS = -11   # max_contacts live contacts already
    ACD_BAD_VALUE = -12           # a number that can't be meant: NaN, or a queued_at after t

cdef enum:                        # order of the center
    ORDER_PRIORITY = 0
    ORDER_SCORE = 1
    ORDER_RATIO = 2

cdef enum:                        # strategy of a queue
    LONGEST_IDLE = 0
    FEWEST_CONTACTS = 1
    LEAST_OCCUPIED = 2
    MOST_SKILLED = 3
    LEAST_SKILLED = 4
    ROUND_ROBIN = 5
    LINEAR = 6
    RANDOM = 7
    RING_ALL = 8
    WEIGHTED = 9

cdef enum:                        # presence of an agent
    OFFLINE = 0                   # after loading, agent_offline
    AWAY = 1                      # after agent_away, or max_no_answer offers expired in a row
    READY = 2                     # after agent_ready

cdef enum:                        # Agent.shown: a presence, or
    SHOWN_OFFERED = 3
    SHOWN_CONNECTED = 4
    SHOWN_WRAP_UP = 5

cdef enum:                        # state of a contact
    FREE = 0                      # the slot is empty
    WAITING = 1                   # after contact_queued, or when its last open offer is gone
    OFFERED = 2                   # after an offer effect
    CONNECTED = 3                 # after offer_accepted

cdef enum:                        # Effect_C.effect
    EFFECT_OFFER = 1
    EFFECT_OFFER_WITHDRAWN = 2
    EFFECT_OFFER_EXPIRED = 3
    EFFECT_CONTACT_REJECTED = 4
    EFFECT_CONTACT_EXPIRED = 5
    EFFECT_AGENT_AWAY = 6
    EFFECT_WRAP_UP_STARTED = 7
    EFFECT_WRAP_UP_ENDED = 8
    EFFECT_REFUSED = 9            # array interface only: the event could not be applied; reason = the code

cdef enum:                        # Effect_C.reason
    REASON_NONE = 0
    REASON_AGENT_AWAY = 1
    REASON_AGENT_OFFLINE = 2
    REASON_CONTACT_LEFT = 3
    REASON_ACCEPTED_ELSEWHERE = 4
    REASON_CONTACT_EXPIRED = 5
    REASON_FULL = 6
    REASON_NO_ANSWER = 7

cdef enum:                        # kind of a timer, in the order in which they fire at one instant
    TIMER_MAX_WAIT = 0
    TIMER_OFFER = 1
    TIMER_WRAP_UP = 2
    TIMER_RETRY = 3
    TIMER_PHASE = 4

cdef enum:                        # orders in which a pool is kept, as its queues' strategies need
    HEAP_IDLE = 0                 # idle since, ascending
    HEAP_HANDLED = 1              # contacts handled, ascending
    HEAP_LATEST = 2               # idle since, descending (weighted with a negative idle coefficient)
    KEEP_BITS = 8                 # flag: a bit set in file order
    KEEP_OCCUPANCY = 16           # flag: a kinetic tournament on the share of time spent handling

# NumPy dtype: cordboard._core.acd.EFFECT
cdef packed struct Effect_C:
    double t                      # seconds
    int64_t contact               # its id
    int32_t slot                  # its slot; -1 for a contact rejected on arrival
    int32_t effect
    int32_t agent
    int32_t queue                 # offer: the contact's queue; contact_expired: the overflow queue
    int32_t reason
    # why, of an offer (zero where the engine does not explain):
    int32_t tier
    int32_t eligible_agents
    int32_t eligible_contacts     # contacts that this agent could have got
    int32_t runner_agent
    int32_t runner_slot
    double value                  # the agent's key in its queue's strategy; wrap_up_started: until, in seconds
    double runner_value
    double contact_value          # the contact's key in the center's order
    double runner_contact_value
    int64_t runner_contact
    int32_t preferred             # 1: offered because it is the contact's preferred agent
    int32_t rest

ctypedef struct Queued_C:         # what contact_queued says
    int64_t id                    # >= 0; negative ids are kept for contacts that Python knows by name
    int64_t queued_at             # ticks; -1: now
    double priority
    int32_t queue
    int32_t steps                 # interned plan of requirements; -1: the queue's
    int32_t tiers                 # interned tier window; -1: none
    int32_t preferred             # agent; -1: none
    int32_t values                # interned values per agent, for strategy weighted; -1: none
    int32_t customer              # index into e.last_served; -1: nobody in particular
    int32_t handed                # from an engaged agent who is preferred: see acd_steps.pxd

ctypedef struct Timer:
    int64_t due
    uint64_t order                # kind, then contact's line, then agent: the canonical order at one instant
    int32_t subject               # contact slot, link or agent
    int32_t kind

ctypedef struct Place:            # in a line, in the order of (key, arrival, seq)
    int64_t key
    int64_t arrival               # of an agent: 0
    int64_t seq                   # of an agent: its index
    int32_t subject               # contact slot, or agent; -1: a gap

ctypedef struct Line:             # see acd_line.pxd
    int32_t n
    int32_t n_heap
    int32_t heap_room
    int32_t run_room              # 0, or a power of two
    uint32_t head                 # numbers in the run: the first one's, and the one after the last one's
    uint32_t tail
    Place* heap
    Place* run

ctypedef struct Contact:          # two cache lines: all that an offer and an end read is in the first
    int64_t id
    int32_t state
    int32_t queue
    int32_t cls
    int32_t place                 # in the line of its class
    int32_t links                 # its open offers, or its one connection
    int32_t excluded              # interned set of agents; 0 = nobody
    int32_t steps
    int32_t tiers
    int32_t values
    int32_t preferred
    int32_t customer
    int32_t tm_max_wait
    int32_t tm_phase
    int32_t next_free
    int64_t seq
    int64_t arrival
    int64_t entered
    int64_t phase                 # ticks of waiting up to which delay, steps and tiers have been applied
    double priority
    int64_t rest[3]

ctypedef struct Id_C:             # of the table of ids
    int64_t id
    int32_t slot                  # -1: this place is empty
    int32_t rest

ctypedef struct Link:             # an agent holds a contact: offered, or connected
    int32_t contact
    int32_t agent
    int32_t connected
    int32_t timer
    int32_t next_of_contact
    int32_t prev_of_contact
    int32_t next_of_agent
    int32_t prev_of_agent

ctypedef struct Agent:            # two cache lines
    int64_t idle_since
    int64_t handled
    int64_t busy_before           # ticks spent handling while logged in, up to busy_from
    int64_t busy_from             # since when it is handling; -1: it is not, or is offline
    int64_t since                 # of what is shown, for wallboards
    int32_t group
    int32_t links
    int32_t n_links
    int32_t n_connected
    int32_t tm_wrap_up            # runs while it is wrapping, until the wrap-up ends
    int32_t tm_retry              # runs until it may be offered something again
    int16_t held[6]
    int16_t capacity[6]
    uint8_t available             # bit c: sits in the pool of channel c
    uint8_t idle                  # ready, with nothing on: what reserve rules count
    uint8_t blend
    uint8_t presence
    uint8_t shown                 # presence, or SHOWN_* while it has something to do
    uint8_t wrapping
    uint8_t engaged               # on a call that is no contact of its own: a place of voice is taken
    int32_t misses
    int32_t rank                  # among its group, in file order
    int64_t wrap_up               # its own; -1: the queue's
    int64_t login                 # when it logged in, earlier by all that it was logged in before
    int64_t logged_in             # ticks before it went offline

ctypedef struct Queue:
    int64_t weight                # order-preserving image of the number, negated: small comes first
    int64_t within
    int64_t delay
    int64_t tier_wait
    int64_t offer_timeout
    int64_t retry_delay
    int64_t wrap_up
    int64_t max_wait
    int32_t max_waiting
    int32_t max_no_answer
    int32_t tier_wait_multiplies
    int32_t channel
    int32_t strategy
    int32_t overflow
    int32_t steps
    int32_t plain                 # no delay, steps or tier waits: a contact without wishes never changes class
    int32_t plain_class           # where such a contact waits; -1: not made yet
    int32_t classes               # first of its classes
    int32_t last_agent            # offered last, for round_robin
    int32_t sticky
    int32_t groups_from           # its groups in by_queue, tier ascending
    int32_t groups_to
    int32_t waiting
    int32_t offered
    int32_t connected
    double w_wait
    double w_idle
    double w_priority
    double w_proficiency
    double w_value
    double w_tier

ctypedef struct Membership:       # a group's place in a queue
    int32_t group
    int32_t tier

ctypedef struct Class:            # contacts with the same eligibility; two cache lines
    Line line
    uint64_t* groups              # n_tiers bit sets over the groups
    int32_t n_tiers
    int32_t dirty
    int32_t queue
    int32_t channel
    int32_t excluded
    int32_t requirement           # interned; -1: parked, nobody may take it yet
    int32_t min_tier
    int32_t max_tier
    int32_t* tiers                # the distinct tiers of the groups that may serve it, ascending
    int32_t live
    int32_t next_in_bucket
    int32_t next_in_queue
    int32_t prev_in_queue
    int64_t rest[2]

ctypedef struct Match:            # node of a kinetic tournament
    int64_t fails                 # the first tick at which something below this node may change
    int32_t winner
    int32_t rest

ctypedef struct Pool:             # three cache lines: the agents of a group that can take one more contact of a channel
    int32_t n
    int32_t keep                  # bit k: line k; KEEP_BITS; KEEP_OCCUPANCY
    Line lines[3]                 # the first, of those idle longest, lies in the pool's first cache line
    uint64_t* bits                # over ranks
    uint64_t* summary             # bit w: word w of bits is not zero
    Match* matches                # 2 * leaves
    int32_t leaves
    int32_t n_words
    int64_t rest[4]

ctypedef struct Group:            # agents with the same skills, queues and channels
    int32_t n
    int32_t* members              # agents, ascending
    int32_t n_idle
    int32_t n_reserves
    int32_t* reserves
    int32_t dirty

ctypedef struct Reserve:
    int32_t agents                # so many idle ones are held back
    int32_t n_groups
    int32_t* groups
    uint64_t* queues              # bit set of the queues it is held for
    int32_t idle                  # its idle agents now

ctypedef struct Interned:
    int64_t* data
    uint64_t hash
    int32_t n
    int32_t refs
    int32_t next

ctypedef struct InternTable:      # arrays of numbers, each stored once, counted, freed when nobody refers to it
    Interned* items
    int32_t* buckets
    int32_t n
    int32_t room
    int32_t n_buckets
    int32_t free
    int32_t live

ctypedef struct Counts:
    int64_t entered
    int64_t waiting
    int64_t offered
    int64_t connected
    int64_t ended                 # in any way: conversation over, left, rejected, expired

ctypedef struct Engine:
    int64_t now
    int64_t seq
    int32_t order
    int32_t early                 # a timer fires that comes before the phases of the same instant
    int32_t explain
    int32_t index_ids             # keep the table id -> slot (array interface)
    Rng_C rng
    Counts counts
    # what the caller reads and then sets back to zero
    Effect_C* effects
    int32_t n_effects
    int32_t effects_room
    int32_t out_of_memory         # for good: every later call returns ACD_NO_MEMORY
    Effect_C spare                # written to when there is no memory for a row
    int32_t* freed                # slots of contacts with a negative id that are gone
    int32_t n_freed
    int32_t freed_room
    # contacts
    Contact* contacts
    int32_t n_contacts            # slots ever used
    int32_t contacts_room
    int32_t max_contacts
    int32_t live_contacts
    int32_t free_contact
    Id_C* ids
    int64_t ids_room              # a power of two
    int64_t ids_used
    # links
    Link* links
    int32_t n_links
    int32_t links_room
    int32_t free_link
    # timers
    Timer* timers
    int32_t n_timers
    int32_t timers_room
    # agents, queues
    Agent* agents
    int32_t n_agents
    Queue* queues
    int32_t n_queues
    Membership* by_queue
    int32_t* last_served          # customer -> the agent who had their last conversation; -1
    int32_t customers_room
    # groups
    Group* groups
    int32_t n_groups
    int32_t group_words
    uint8_t* levels               # n_groups x n_skills
    int32_t n_skills
    Pool* pools                   # channel * n_groups + group
    uint64_t* has_agents          # channel * group_words: the pools that are not empty
    int64_t* head_key[3]          # the first of each pool's lines
    int32_t* head_agent[3]
    int32_t* agent_at[3]          # channel * n_agents + agent -> place in the line
    int32_t* dirty_groups
    int32_t n_dirty_groups
    Reserve* reserves
    int32_t n_reserves
    int32_t* scratch              # n_agents: agents to ring
    int64_t* numbers              # n_agents + 1: a set of exclusions being made
    # classes
    Class* classes
    int32_t n_classes             # ids ever used
    int32_t classes_room          # a multiple of 64
    int32_t class_words
    int32_t live_classes
    int32_t free_class
    int32_t* class_buckets
    int32_t n_class_buckets
    uint64_t* has_contacts        # classes that are not empty
    uint64_t* may_serve           # n_groups x class_words
    int64_t* first_weight         # the keys of each class's first contact
    int64_t* first_key
    int64_t* first_arrival
    int64_t* first_seq
    int32_t* dirty_classes
    int32_t n_dirty_classes
    # interned
    InternTable requirements
    InternTable exclusions
    InternTable plans
    InternTable windows
    InternTable pair_values
