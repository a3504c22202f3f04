# cython: language_level=3
"""PJSUA for Python: a thin, typed skin over node.c.

Rules of lifetime: one :class:`Sip` in a process at a time; after ``stop`` it answers every call with an error; a call
or player that is over gives an error too, never a crash. No callback enters Python: events wait in a ring for ``poll``.

Methods that can fail return PJSIP's reason as text, empty for success.
"""

from libc.math cimport ceil
from libc.stdint cimport int16_t, int64_t, uint8_t
from libc.stdlib cimport free
from libc.string cimport memcpy

from cordboard._core.trees cimport trees_handle, trees_probability

cdef extern from "listening.h" nogil:
    ctypedef struct listening_model:
        const void *handle
        double (*probability)(const void *handle, const double *row) noexcept nogil
    ctypedef struct listening_limits:
        double machine_at, person_at
        int deadline

cdef extern from "node.h" nogil:
    enum: NODE_GONE
    cdef enum node_kind:
        NODE_INCOMING, NODE_TRYING, NODE_EARLY, NODE_ANSWERED, NODE_ENDED, NODE_AUDIO, NODE_KEY, NODE_QUALITY, NODE_PLAYED
        NODE_RECORDED, NODE_REGISTERED, NODE_REGISTER, NODE_PONG, NODE_HEARD, NODE_REFUSED
    ctypedef struct node_event:
        int kind, call, code, flag
        int64_t leg, received, lost, sent
        double jitter, round_trip
        char *text
    ctypedef struct node_settings:
        const char *address
        const char *codecs
        const char *headers
        const char *certificate
        const char *key
        const char *authority
        int verify, verify_clients
        int ports[3]
        int strict_rtp, session_s, registrar, rtp_port, rtp_ports, legs_max, events_max, log_level
    ctypedef struct node_account:
        const char *id
        int transport
        const char *user
        const char *password
        const char *realm
        const char *registrar
        int expires, srtp
        const char *keying
    int node_start(const node_settings *settings)
    void node_stop()
    int node_port(int transport)
    void node_error(int status, char *text, int size)
    int node_poll(int ms)
    int node_take(node_event *into, int max)
    int64_t node_overflowed()
    int64_t node_passed()
    void node_wake()
    int node_admit(const unsigned char *address, int bits)
    void node_limit(double requests_per_s)
    int64_t node_refused()
    int node_account_add(const node_account *account, int *id)
    int node_account_source(int account, int transport, const char *network, int bits)
    int node_register_reply(int64_t number, int code, const char *headers)
    int node_ping(const char *to, int account, int64_t *number)
    int node_dial(const char *to, const char *caller, const char *headers, int account, int *call, int64_t *leg)
    int node_answer(int call, int64_t leg, int code)
    int node_hang_up(int call, int64_t leg, int code, int retry_after)
    int node_cancel(int call, int64_t leg)
    int node_alive(int call, int64_t leg)
    int node_received(int call, int64_t leg, int64_t *packets)
    int node_keys(int call, int64_t leg, const char *keys)
    int node_connect(int source, int sink)
    int node_disconnect(int source, int sink)
    int node_play(const char *path, int loop, int sink, int *player, int *port, int64_t *number)
    int node_stop_player(int player)
    int node_record(const char *path, const unsigned char *key, const unsigned char *header, int size, int channels, int opus,
                    int *ports, int64_t *number)
    int node_pause_recording(int64_t number, int on)
    int node_stop_recording(int64_t number)
    int node_listen(const listening_model *model, listening_limits limits, int *port, int64_t *number)
    int node_listening_answered(int64_t number, int frames)
    int node_stop_listening(int64_t number)

cdef extern from "stream.h" nogil:
    enum: STREAM_FRAME
    int node_stream_open(int *port, int64_t *number)
    int node_stream_close(int64_t number)
    int node_stream_heard(int64_t number, int16_t *into, int max, int64_t *first, int64_t *dropped)
    int node_stream_say(int64_t number, const int16_t *samples, int count)
    int node_stream_clear(int64_t number)
    int node_stream_said(int64_t number, int64_t *written, int64_t *played)
    void node_ulaw_of(const int16_t *samples, uint8_t *into, int count)
    void node_of_ulaw(const uint8_t *bytes, int16_t *into, int count)

INCOMING, TRYING, EARLY, ANSWERED, ENDED = NODE_INCOMING, NODE_TRYING, NODE_EARLY, NODE_ANSWERED, NODE_ENDED
AUDIO, KEY, QUALITY, PLAYED, RECORDED = NODE_AUDIO, NODE_KEY, NODE_QUALITY, NODE_PLAYED, NODE_RECORDED
REGISTERED, REGISTER, PONG, REFUSED = NODE_REGISTERED, NODE_REGISTER, NODE_PONG, NODE_REFUSED
HEARD = NODE_HEARD

cdef enum:
    BATCH = 256
    FRAMES = 50  # of a stream that are taken or given at once
    TEXT_MAX = 256

cdef bint _running = False
cdef object _trees = None  # what the taps walk in the clock thread
cdef listening_model _model


cdef str reason(int status):
    cdef char text[TEXT_MAX]
    if status == 0:
        return ""
    node_error(status, text, TEXT_MAX)
    return text[:].decode("utf-8", "replace")


cdef class Sip:
    """The one PJSUA of this process."""

    cdef bint alive

    def __init__(self, *, str address, tuple ports, str codecs, str headers, str certificate, str key, str authority,
                 bint verify, bint verify_clients, bint strict_rtp, int session_s, bint registrar, int rtp_port, int rtp_ports, int legs_max,
                 int events_max, int log_level):
        """``ports``: of UDP, TCP and TLS, -1 for none, 0 for a free one. Files: PEM, or empty."""
        global _running
        cdef bytes a = address.encode(), c = codecs.encode(), h = headers.encode()
        cdef bytes pem = certificate.encode(), k = key.encode(), ca = authority.encode()
        cdef node_settings settings
        if _running:
            raise RuntimeError("this process runs a Sip already: stop it first, or start another process")
        settings.address, settings.codecs, settings.headers = a, c, h
        settings.certificate, settings.key, settings.authority = pem, k, ca
        settings.verify, settings.verify_clients = verify, verify_clients
        for i in range(3):
            settings.ports[i] = ports[i]
        settings.strict_rtp, settings.session_s, settings.registrar = strict_rtp, session_s, registrar
        settings.rtp_port, settings.rtp_ports = rtp_port, rtp_ports
        settings.legs_max, settings.events_max, settings.log_level = legs_max, events_max, log_level
        cdef int status
        with nogil:
            status = node_start(&settings)
            if status != 0:
                node_stop()
        if status != 0:
            raise OSError(f"PJSIP can't start on {address}: {reason(status)}")
        self.alive = _running = True

    def stop(self):
        """Forget all calls, without a word to anybody: hang up before."""
        global _running
        if self.alive:
            self.alive = False
            with nogil:
                node_stop()
            _running = False

    def __dealloc__(self):
        global _running
        if self.alive:
            node_stop()
            _running = False

    cdef int check(self) except -1:
        if not self.alive:
            raise RuntimeError("this Sip is stopped")
        return 0

    def port(self, int transport):
        """The port of a transport (0: UDP, 1: TCP, 2: TLS); -1 if there is none."""
        self.check()
        return node_port(transport)

    @property
    def overflowed(self):
        """Events that were lost because nobody polled in time."""
        return node_overflowed()

    @property
    def passed(self):
        """Packets of audio that went from one leg to the other as they came, in this process so far."""
        return node_passed()

    @property
    def refused(self):
        """Requests that were turned away: not admitted, or too many."""
        return node_refused()

    def admit(self, networks, double requests_per_s):
        """Take requests from these networks, (address as 16 bytes of IPv6, bits), at most so many from each source.
        ValueError if there are too many networks."""
        self.check()
        cdef bytes address
        cdef int bits
        node_limit(requests_per_s)
        for address, bits in networks:
            if len(address) != 16 or not 0 <= bits <= 128 or node_admit(address, bits):
                raise ValueError(f"{address.hex()}/{bits} is no network, or one too many")

    def wake(self):
        """From any thread: end a poll that waits."""
        if self.alive:
            node_wake()

    def poll(self, double seconds):
        """Run SIP for at most this long; return what happened: (kind, call, leg, code, flag, text, numbers)."""
        self.check()
        cdef int ms = <int>ceil(seconds * 1000)  # a part of one is not looked for again and again
        with nogil:
            node_poll(ms)
        return self.take()

    def take(self):
        """What has happened, without running anything; after ``stop`` too."""
        cdef node_event events[BATCH]
        cdef node_event *e
        cdef int count, i
        found = []
        while True:
            count = node_take(events, BATCH)
            for i in range(count):
                e = &events[i]
                text = ""
                if e.text != NULL:
                    text = (<bytes>e.text).decode("utf-8", "replace")
                    free(e.text)
                found.append((e.kind, e.call, e.leg, e.code, e.flag, text, (e.received, e.lost, e.sent, e.jitter, e.round_trip)))
            if count < BATCH:
                return found

    def account(self, str id, int transport, *, str user="", str password="", str realm="*", str registrar="",
                int expires=300, int srtp=0, str keying="sdes", tuple sources=()):
        """(reason, account): who we are for calls by a transport. ``sources``: networks, (address, bits), whose calls
        are for this account."""
        self.check()
        cdef bytes i = id.encode(), u = user.encode(), p = password.encode(), r = realm.encode(), g = registrar.encode()
        cdef bytes k = keying.encode()
        cdef node_account account
        cdef int number = -1, status
        account.id, account.user, account.password, account.realm, account.registrar, account.keying = i, u, p, r, g, k
        account.transport, account.expires, account.srtp = transport, expires, srtp
        with nogil:
            status = node_account_add(&account, &number)
        for network, bits in sources:
            if status == 0:
                status = node_account_source(number, transport, network.encode(), bits)
        return reason(status), number

    def reply(self, int64_t number, int code, str headers):
        """Answer the REGISTER of this number; headers: lines."""
        self.check()
        cdef bytes h = headers.encode()
        cdef const char *hp = h
        cdef int status
        with nogil:
            status = node_register_reply(number, code, hp)
        return reason(status)

    def ping(self, str to, int account):
        """(reason, number): OPTIONS; PONG comes with the number."""
        self.check()
        cdef bytes t = to.encode()
        cdef const char *tp = t
        cdef int64_t number = 0
        cdef int status
        with nogil:
            status = node_ping(tp, account, &number)
        return reason(status), number

    def dial(self, str to, str caller, str headers, int account):
        """(reason, call, leg)."""
        self.check()
        cdef bytes t = to.encode(), c = caller.encode(), h = headers.encode()
        cdef const char *tp = t
        cdef const char *cp = c
        cdef const char *hp = h
        cdef int call = -1, status
        cdef int64_t leg = 0
        with nogil:
            status = node_dial(tp, cp, hp, account, &call, &leg)
        return reason(status), call, leg

    def answer(self, int call, int64_t leg, int code):
        self.check()
        cdef int status
        with nogil:
            status = node_answer(call, leg, code)
        return reason(status)

    def hang_up(self, int call, int64_t leg, int code, int retry_after=0):
        """End a call at once. ``retry_after``: seconds that a caller is told in a header."""
        self.check()
        cdef int status
        with nogil:
            status = node_hang_up(call, leg, code, retry_after)
        return reason(status)

    def cancel(self, int call, int64_t leg):
        """Give up a call that was dialed and not answered: ENDED comes when the other side has confirmed it, ANSWERED if
        somebody was quicker."""
        self.check()
        cdef int status
        with nogil:
            status = node_cancel(call, leg)
        return reason(status)

    def is_alive(self, int call, int64_t leg):
        self.check()
        return bool(node_alive(call, leg))

    def received(self, int call, int64_t leg):
        """RTP packets received so far; -1 if there is no stream."""
        self.check()
        cdef int64_t packets = -1
        with nogil:
            node_received(call, leg, &packets)
        return packets

    def keys(self, int call, int64_t leg, str keys):
        self.check()
        cdef bytes k = keys.encode()
        cdef const char *kp = k
        cdef int status
        with nogil:
            status = node_keys(call, leg, kp)
        return reason(status)

    def connect(self, int source, int sink):
        self.check()
        cdef int status
        with nogil:
            status = node_connect(source, sink)
        return reason(status)

    def disconnect(self, int source, int sink):
        self.check()
        cdef int status
        with nogil:
            status = node_disconnect(source, sink)
        return reason(status)

    def play(self, str path, bint loop, int sink):
        """(reason, player, its port, number); PLAYED comes with the number at the end of a file that does not loop."""
        self.check()
        cdef bytes p = path.encode()
        cdef const char *pp = p
        cdef int player = -1, port = -1, status
        cdef int64_t number = 0
        with nogil:
            status = node_play(pp, loop, sink, &player, &port, &number)
        return reason(status), player, port, number

    def stop_player(self, int player):
        self.check()
        cdef int status
        with nogil:
            status = node_stop_player(player)
        return reason(status)

    def record(self, str path, bytes key, bytes header, int channels, bint opus=False):
        """(reason, ports, number): connect sources to the ports, one a channel; RECORDED comes with the number. ``key``
        and ``header``: of ``cordboard.recordings.container``, whose codec ``opus`` says."""
        self.check()
        cdef bytes p = path.encode()
        cdef const char *pp = p
        cdef const unsigned char *kp = key
        cdef const unsigned char *hp = header
        cdef int ports[2]
        cdef int status, size = len(header)
        cdef int64_t number = 0
        if not 1 <= channels <= 2 or len(key) != 32:
            raise ValueError(f"a recording has 1 or 2 channels and a key of 32 bytes, not {channels} and {len(key)}")
        with nogil:
            status = node_record(pp, kp, hp, size, channels, opus, ports, &number)
        return reason(status), tuple([ports[i] for i in range(channels)]), number

    def pause_recording(self, int64_t number, bint on):
        self.check()
        cdef int status
        with nogil:
            status = node_pause_recording(number, on)
        return reason(status)

    def stop_recording(self, int64_t number):
        self.check()
        cdef int status
        with nogil:
            status = node_stop_recording(number)
        return reason(status)

    def listen(self, trees, double machine_at, double person_at, int deadline):
        """(reason, port, number): connect a leg to the port; HEARD comes with the number. ``trees``: one
        ``_core.trees.Trees`` of ``_core.listening.FEATURES`` for all legs; ``deadline``: frames."""
        global _trees
        self.check()
        if _trees is None:
            _model.handle, _model.probability = trees_handle(trees), trees_probability
            _trees = trees
        elif trees is not _trees:
            raise RuntimeError("legs are judged by one model")
        cdef int port = -1, status
        cdef int64_t number = 0
        cdef listening_limits limits
        limits.machine_at, limits.person_at, limits.deadline = machine_at, person_at, deadline
        with nogil:
            status = node_listen(&_model, limits, &port, &number)
        return reason(status), port, number

    def listening_answered(self, int64_t number, int frames):
        """Who is listened to has picked up, so many frames ago."""
        self.check()
        cdef int status
        with nogil:
            status = node_listening_answered(number, frames)
        return reason(status)

    def stop_listening(self, int64_t number):
        self.check()
        cdef int status
        with nogil:
            status = node_stop_listening(number)
        return reason(status)

    def open_stream(self):
        """(reason, port, number): a stream, see stream.h. Its methods may be called by any one thread."""
        self.check()
        cdef int port = -1, status
        cdef int64_t number = 0
        with nogil:
            status = node_stream_open(&port, &number)
        return reason(status), port, number

    def close_stream(self, int64_t number):
        self.check()
        cdef int status
        with nogil:
            status = node_stream_close(number)
        return reason(status)

    def stream_heard(self, int64_t number, bint ulaw):
        """(audio, first, dropped): the frames that were heard since, a second of them at most, the number of the first, and
        how many were dropped so far, because nobody took them. Audio: 160 bytes of mu-law a frame, or 320 of 16 bits.
        None if the stream is closed."""
        cdef int16_t samples[FRAMES * STREAM_FRAME]
        cdef uint8_t bytes_[FRAMES * STREAM_FRAME]
        cdef int64_t first = 0, dropped = 0
        cdef int count
        with nogil:
            count = node_stream_heard(number, samples, FRAMES, &first, &dropped)
            if ulaw and count > 0:
                node_ulaw_of(samples, bytes_, count * STREAM_FRAME)
        if count < 0:
            return None
        cdef int size = count * STREAM_FRAME
        return (<char *>bytes_)[:size] if ulaw else (<char *>samples)[:2 * size], first, dropped

    def stream_say(self, int64_t number, const uint8_t[::1] audio, bint ulaw):
        """Have audio played; how many of its bytes there was room for, -1 if the stream is closed."""
        cdef int16_t samples[FRAMES * STREAM_FRAME]
        cdef Py_ssize_t at = 0, width = 1 if ulaw else 2, end = audio.shape[0] // width
        cdef int count, taken
        while at < end:
            count = <int>min(end - at, FRAMES * STREAM_FRAME)
            if ulaw:
                node_of_ulaw(&audio[at], samples, count)
            else:
                memcpy(samples, &audio[2 * at], 2 * count)
            with nogil:
                taken = node_stream_say(number, samples, count)
            if taken < 0:
                return -1
            at += taken
            if taken < count:
                break
        return at * width

    def stream_clear(self, int64_t number):
        """Play nothing more of what was said so far."""
        cdef int status
        with nogil:
            status = node_stream_clear(number)
        return status == 0

    def stream_said(self, int64_t number):
        """(samples given, samples of them that have been played or cleared); None if the stream is closed."""
        cdef int64_t written = 0, played = 0
        cdef int status
        with nogil:
            status = node_stream_said(number, &written, &played)
        return (written, played) if status == 0 else None
