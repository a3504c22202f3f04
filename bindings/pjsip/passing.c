/* Who hears one leg alone, in the same codec, gets that leg's packets as they come: nothing is decoded, mixed and encoded.
 * See passing.h.
 *
 * Between each stream and its socket (above SRTP) stands a passage. It looks at the packets that come in:
 *
 *   socket -> passage -> stream -> jitter buffer -> bridge -> stream -> passage -> socket      mixed
 *   socket -> passage -------------------------------------------------> passage -> socket      passed on
 *                 \-> stream, paused: counts what came, for RTCP and the report of quality
 *
 * What decides is the bridge itself: while a leg has one listener, and that one has no other source, the bridge does
 * without both (its port is read, or written, no more). A recording, a tap, a prompt, a third party are ports that
 * connect or disconnect; the bridge says so in its clock thread, and mixes again from that tick on. The packets are
 * passed on for LINGER more, until the jitter buffer has filled: so nobody hears a gap.
 *
 * A key (RFC 4733) goes to the stream, as ever. A source that does not send all the time (comfort noise, a peer that is
 * silent) is mixed: the bridge sends silence in its place.
 *
 * Silence: a leg from which no packet has come for a second gives the bridge nothing to mix, so that who hears it alone gets silence. Of
 * silence fifty packets a second go to whoever sends packets, too; to others one in ten, which keeps ways through NAT open and timers
 * of silence from ending calls.
 *
 * The mutex is taken by the thread that receives RTP for each packet, and seldom by others. It is held while something is
 * sent and while the bridge is asked or told, and never while a stream or PJSUA is called that could wait for one who waits for us. */
#include "passing.h"
#include "node.h"

#include <pjsua-lib/pjsua_internal.h>
#include <pthread.h>
#include <string.h>

#define LOOK 25      /* packets of a leg between two looks whether they can be passed on */
#define SETTLED 3    /* and after its connections have changed */
#define UNSTEADY 250 /* and after a gap */
#define RESTING 500  /* packets from a leg while keys are sent to it */
#define LINGER 3     /* packets that are passed on while the jitter buffer fills */
#define JUMP 100     /* in numbers of packets: the source began anew */
#define LOOK_MS 1000
#define FIRST 3     /* packets of silence that go out in any case, so that a way through NAT is opened */
#define HEARD 50    /* ticks after the last packet that came */
#define SPARSE 10   /* else one in so many */
#define TOO_MANY 250 /* packets between two looks: two who send back what they get would toss it between them for ever */

typedef struct passage passage;
enum step { MIXED, READY, PASSED, LINGERING }; /* READY: the bridge does without it, from the next packet on it is passed on */

typedef struct {
    unsigned came; /* by then */
    int left;      /* ticks */
} attention;

struct passage {
    pjmedia_transport base; /* first: PJMEDIA hands us this */
    pjmedia_transport *below;
    pj_pool_t *pool;
    pjmedia_stream_common *stream; /* that is attached; NULL: none */
    void *stream_data;
    void (*stream_rtp)(pjmedia_tp_cb_param *);
    void (*stream_rtcp)(void *, void *, pj_ssize_t);
    char codec[16];
    unsigned rate, channels, audio_type, key_type; /* payload types that come in */
    unsigned frame;  /* of the clock of RTP, in a packet */
    int port;        /* of the bridge; -1: none */
    enum step step;
    passage *to, *from; /* who gets what comes in here; whose packets go out here */
    int patience;    /* packets until we look whether they can be passed on */
    int linger;
    int after_key;   /* so the next time stamp may be any */
    pj_uint16_t seq; /* of the last packet */
    pj_uint32_t ts;
    unsigned came, came_before;
    unsigned rest; /* until so many came, it is not passed on to */
    pj_status_t (*put_frame)(pjmedia_port *, pjmedia_frame *), (*get_frame)(pjmedia_port *, pjmedia_frame *); /* the stream's own */
    int keys;       /* packets of silence that go out because keys are sent */
    /* of the clock thread alone: */
    attention ear, mouth; /* for what the bridge hears of this leg, and for silence that is sent to it */
    int left_out;   /* packets of silence that were not sent since somebody spoke */
    int marked;         /* the next packet begins anew after silence: RFC 3551, section 4.1 */
};

static struct {
    pthread_mutex_t mutex;
    passage *ports[PJSUA_MAX_CONF_PORTS];
    int64_t packets; /* that were passed on */
} passing = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* ---- from mixed to passed on and back; the mutex is held */

static void bridge(const passage *p, pjmedia_port_op tx, pjmedia_port_op rx) {
    if (p->port >= 0)
        pjmedia_conf_configure_port(pjsua_var.mconf, (unsigned)p->port, tx, rx);
}

static int alike(const passage *p, const passage *q) {
    return p->frame == q->frame && p->rate == q->rate && p->channels == q->channels && strcmp(p->codec, q->codec) == 0;
}

static void consider(passage *p) {
    pjmedia_conf_port_info source, sink;
    p->patience = LOOK;
    if (p->port < 0 || pjmedia_conf_get_port_info(pjsua_var.mconf, (unsigned)p->port, &source) != PJ_SUCCESS || source.listener_cnt != 1)
        return;
    passage *q = passing.ports[source.listener_slots[0]];
    if (!q || q == p || q->from || (int)(q->came - q->rest) < 0 || !alike(p, q) ||
        pjmedia_conf_get_port_info(pjsua_var.mconf, (unsigned)q->port, &sink) != PJ_SUCCESS || sink.transmitter_cnt != 1)
        return;
    p->to = q;
    q->from = p;
    p->step = READY;
    bridge(p, PJMEDIA_PORT_NO_CHANGE, PJMEDIA_PORT_DISABLE);
    bridge(q, PJMEDIA_PORT_DISABLE, PJMEDIA_PORT_NO_CHANGE);
}

static void finish(passage *p) {
    bridge(p->to, PJMEDIA_PORT_ENABLE, PJMEDIA_PORT_NO_CHANGE);
    p->to->from = NULL;
    p->to = NULL;
    __atomic_store_n(&p->step, MIXED, __ATOMIC_RELAXED);
}

/* Mix again; `patience` packets until we look again. */
static void stop(passage *p, int patience) {
    p->patience = patience;
    if (!p->to || p->step == LINGERING)
        return;
    p->stream->dec->paused = 0; /* not by pjmedia_stream_resume, which begins with three frames of silence */
    bridge(p, PJMEDIA_PORT_NO_CHANGE, PJMEDIA_PORT_ENABLE);
    if (p->step == PASSED) {
        p->step = LINGERING;
        p->linger = LINGER;
    } else
        finish(p);
}

static void cut(passage *p, int patience) {
    stop(p, patience);
    if (p->to)
        finish(p);
}

/* It has no port any more: it may be that of another soon. */
static void forget_port(passage *p) {
    cut(p, SETTLED);
    if (p->from)
        cut(p->from, SETTLED);
    if (p->port >= 0)
        passing.ports[p->port] = NULL;
    p->port = -1;
}

/* ---- packets; the mutex is held */

/* Send a packet that came to p as the next of q's. What is between two packets stays so, in numbers and in time. */
static void send_on(passage *p, const pjmedia_rtp_hdr *from, int step, pj_uint32_t time, pj_ssize_t size) {
    passage *q = p->to;
    pjmedia_rtp_session *out = &q->stream->enc->rtp;
    struct {
        pjmedia_rtp_hdr header;
        char payload[PJMEDIA_MAX_MTU];
    } packet;
    const pjmedia_rtp_hdr *header;
    const void *payload;
    unsigned length;
    if (pjmedia_rtp_decode_rtp(&p->stream->dec->rtp, from, (int)size, &header, &payload, &length) != PJ_SUCCESS || length == 0 ||
        length > sizeof(packet.payload) - PJMEDIA_STREAM_RESV_PAYLOAD_LEN - sizeof(packet.header))
        return;
    packet.header = out->out_hdr;
    packet.header.pt = (pj_uint8_t)q->stream->enc->pt;
    packet.header.m = from->m;
    packet.header.seq = pj_htons((pj_uint16_t)(out->out_extseq + (unsigned)step));
    packet.header.ts = pj_htonl(pj_ntohl(out->out_hdr.ts) + time);
    memcpy(packet.payload, payload, length);
    if (step > 0) {
        out->out_extseq += (unsigned)step;
        out->out_hdr.seq = packet.header.seq;
        out->out_hdr.ts = packet.header.ts;
    }
    if (pjmedia_transport_send_rtp(q->below, &packet, sizeof(packet.header) + length) != PJ_SUCCESS)
        return;
    __atomic_store_n(&passing.packets, passing.packets + 1, __ATOMIC_RELAXED);
    pjmedia_rtcp_session *rtcp = &q->stream->rtcp;
    pj_uint32_t now = pj_ntohl(out->out_hdr.ts);
    pjmedia_rtcp_tx_rtp(rtcp, length);
    rtcp->stat.rtp_tx_last_ts = now;
    rtcp->stat.rtp_tx_last_seq = pj_ntohs(out->out_hdr.seq);
    if (now - q->stream->rtcp_last_tx >= q->stream->rtcp_interval) {
        q->stream->rtcp_last_tx = now;
        pjmedia_stream_send_rtcp_sdes((pjmedia_stream *)q->stream);
    }
}

/* A packet of audio: pass it on, or see whether the next could be. */
static void audio(passage *p, const pjmedia_rtp_hdr *header, pj_ssize_t size) {
    pj_uint16_t seq = pj_ntohs(header->seq);
    pj_uint32_t ts = pj_ntohl(header->ts), time = ts - p->ts;
    int step = (pj_int16_t)(seq - p->seq);
    int steady = step <= 0 || p->after_key || time == (pj_uint32_t)step * p->frame;
    if (step > JUMP || step < -JUMP) {
        step = 1;
        time = p->frame;
        steady = 0;
    }
    if (step > 0) {
        p->seq = seq;
        p->ts = ts;
        p->after_key = 0;
    }
    if (!steady || (p->to && p->came - p->came_before > TOO_MANY))
        stop(p, UNSTEADY);
    if (p->step == MIXED) {
        if (--p->patience <= 0)
            consider(p);
        return;
    }
    if (p->step == READY) {
        pjmedia_stream_pause((pjmedia_stream *)p->stream, PJMEDIA_DIR_DECODING); /* empties the jitter buffer */
        __atomic_store_n(&p->step, PASSED, __ATOMIC_RELAXED);
    }
    if (p->step == PASSED) { /* paused, it would not know the next packet for its own */
        pjmedia_rtp_status status;
        pjmedia_rtp_session_update2(&p->stream->dec->rtp, header, &status, PJ_FALSE);
        if (status.status.flag.bad)
            return;
    }
    send_on(p, header, step, time, size);
    if (p->step == LINGERING && --p->linger == 0)
        finish(p);
}

static void on_rtp(pjmedia_tp_cb_param *param) {
    passage *p = param->user_data;
    pjmedia_tp_cb_param stream = *param;
    const pjmedia_rtp_hdr *header = param->pkt;
    int key = 0;
    pthread_mutex_lock(&passing.mutex);
    void (*receive)(pjmedia_tp_cb_param *) = p->stream_rtp;
    stream.user_data = p->stream_data;
    if (p->stream && param->size >= (pj_ssize_t)sizeof(*header)) {
        __atomic_store_n(&p->came, p->came + 1, __ATOMIC_RELAXED);
        key = header->pt == p->key_type;
        if (key) {
            p->seq = pj_ntohs(header->seq);
            p->after_key = 1;
            p->stream->dec->paused = 0;
        } else if (header->pt == p->audio_type && pj_sockaddr_cmp(&p->stream->rem_rtp_addr, param->src_addr) == 0)
            audio(p, header, param->size);
    }
    pthread_mutex_unlock(&passing.mutex);
    if (receive)
        receive(&stream);
    param->rem_switch = stream.rem_switch;
    if (key) {
        pthread_mutex_lock(&passing.mutex);
        if (p->stream)
            p->stream->dec->paused = p->step == PASSED;
        pthread_mutex_unlock(&passing.mutex);
    }
}

static void on_rtcp(void *data, void *packet, pj_ssize_t size) {
    passage *p = data;
    void (*receive)(void *, void *, pj_ssize_t) = p->stream_rtcp;
    if (receive)
        receive(p->stream_data, packet, size);
}

/* ---- silence; in the clock thread */

/* Whether packets have come lately; asked at each tick. */
static int is_heard(const passage *p, attention *whose) {
    unsigned came = __atomic_load_n(&p->came, __ATOMIC_RELAXED);
    if (came != whose->came) {
        whose->came = came;
        whose->left = HEARD;
    }
    return whose->left > 0 && whose->left--;
}

/* From the stream to the bridge. It would give frames of silence to be mixed. */
static pj_status_t get_frame(pjmedia_port *port, pjmedia_frame *frame) {
    passage *p = (passage *)((pjmedia_stream_common *)port->port_data.pdata)->transport;
    if (is_heard(p, &p->ear))
        return p->get_frame(port, frame);
    frame->type = PJMEDIA_FRAME_TYPE_NONE;
    frame->size = 0;
    return PJ_SUCCESS;
}

static int is_left_out(passage *p, int heard) {
    if (__atomic_load_n(&p->keys, __ATOMIC_RELAXED) > 0) {
        __atomic_sub_fetch(&p->keys, 1, __ATOMIC_RELAXED);
        return 0;
    }
    return !heard && ++p->left_out % SPARSE != 0;
}

/* From the bridge to the stream; a frame of no type is what nobody said. */
static pj_status_t put_frame(pjmedia_port *port, pjmedia_frame *frame) {
    pjmedia_stream_common *stream = port->port_data.pdata;
    passage *p = (passage *)stream->transport;
    int heard = is_heard(p, &p->mouth);
    if (frame->type != PJMEDIA_FRAME_TYPE_NONE) {
        p->marked |= p->left_out > 0;
        p->left_out = 0;
    } else if (is_left_out(p, heard)) /* time goes on */
        return pjmedia_rtp_encode_rtp(&stream->enc->rtp, 0, 0, 0, (int)p->frame, NULL, NULL);
    return p->put_frame(port, frame);
}

/* Streams whose packets are longer or shorter than the bridge's frames are left as they are. */
static void stand_before(passage *p, pjmedia_stream *stream) {
    pjmedia_port *port;
    if (pjmedia_stream_get_port(stream, &port) != PJ_SUCCESS || !port->put_frame || !port->get_frame || p->stream->enc_buf ||
        p->frame * NODE_RATE != p->rate * NODE_FRAME)
        return;
    p->put_frame = port->put_frame;
    p->get_frame = port->get_frame;
    p->mouth.left = FIRST;
    p->ear.left = p->left_out = p->marked = 0;
    port->put_frame = &put_frame;
    port->get_frame = &get_frame;
}

/* ---- the passage as a transport */

static void attach_stream(passage *p, pjmedia_stream *stream) {
    pjmedia_stream_info info;
    if (pjmedia_stream_get_info(stream, &info) != PJ_SUCCESS || info.fmt.encoding_name.slen >= (pj_ssize_t)sizeof(p->codec) || !info.param)
        return;
    memcpy(p->codec, info.fmt.encoding_name.ptr, (size_t)info.fmt.encoding_name.slen);
    p->codec[info.fmt.encoding_name.slen] = 0;
    p->rate = strcmp(p->codec, "G722") == 0 ? 8000 : info.fmt.clock_rate; /* RFC 3551, section 4.5.2 */
    p->channels = info.fmt.channel_cnt;
    p->audio_type = info.rx_pt;
    p->key_type = info.rx_event_pt >= 0 ? (unsigned)info.rx_event_pt : 128;
    p->frame = p->rate * info.param->info.frm_ptime * info.param->setting.frm_per_pkt / 1000;
    p->step = MIXED;
    p->patience = SETTLED;
    p->port = -1;
    p->stream = info.dir == PJMEDIA_DIR_ENCODING_DECODING ? (pjmedia_stream_common *)stream : NULL;
    if (p->stream)
        stand_before(p, stream);
}

static pj_status_t attach2(pjmedia_transport *transport, pjmedia_transport_attach_param *param) {
    passage *p = (passage *)transport;
    pthread_mutex_lock(&passing.mutex);
    p->stream_data = param->user_data;
    p->stream_rtp = param->rtp_cb2;
    p->stream_rtcp = param->rtcp_cb;
    attach_stream(p, param->stream);
    pthread_mutex_unlock(&passing.mutex);
    param->user_data = p;
    param->rtp_cb2 = &on_rtp;
    param->rtcp_cb = &on_rtcp;
    return pjmedia_transport_attach2(p->below, param);
}

static void leave(passage *p) {
    pthread_mutex_lock(&passing.mutex);
    forget_port(p);
    p->stream = NULL;
    pthread_mutex_unlock(&passing.mutex);
}

static void detach(pjmedia_transport *transport, void *stream) {
    passage *p = (passage *)transport;
    PJ_UNUSED_ARG(stream);
    leave(p);
    pjmedia_transport_detach(p->below, p); /* no callback is under way after this */
    p->stream_rtp = NULL;
    p->stream_rtcp = NULL;
}

static pj_status_t get_info(pjmedia_transport *transport, pjmedia_transport_info *info) {
    return pjmedia_transport_get_info(((passage *)transport)->below, info);
}

static pj_status_t send_rtp(pjmedia_transport *transport, const void *packet, pj_size_t size) {
    passage *p = (passage *)transport, *from = __atomic_load_n(&p->from, __ATOMIC_RELAXED);
    if (from && __atomic_load_n(&from->step, __ATOMIC_RELAXED) == PASSED)
        return PJ_SUCCESS; /* the bridge's last frame, late */
    if (p->marked) {
        p->marked = 0;
        ((pjmedia_rtp_hdr *)packet)->m = 1; /* in the stream's own buffer */
    }
    return pjmedia_transport_send_rtp(p->below, packet, size);
}

static pj_status_t send_rtcp(pjmedia_transport *transport, const void *packet, pj_size_t size) {
    return pjmedia_transport_send_rtcp(((passage *)transport)->below, packet, size);
}

static pj_status_t send_rtcp2(pjmedia_transport *transport, const pj_sockaddr_t *to, unsigned length, const void *packet, pj_size_t size) {
    return pjmedia_transport_send_rtcp2(((passage *)transport)->below, to, length, packet, size);
}

static pj_status_t media_create(pjmedia_transport *transport, pj_pool_t *pool, unsigned options, const pjmedia_sdp_session *remote,
                                unsigned index) {
    return pjmedia_transport_media_create(((passage *)transport)->below, pool, options, remote, index);
}

static pj_status_t encode_sdp(pjmedia_transport *transport, pj_pool_t *pool, pjmedia_sdp_session *local,
                              const pjmedia_sdp_session *remote, unsigned index) {
    return pjmedia_transport_encode_sdp(((passage *)transport)->below, pool, local, remote, index);
}

static pj_status_t media_start(pjmedia_transport *transport, pj_pool_t *pool, const pjmedia_sdp_session *local,
                               const pjmedia_sdp_session *remote, unsigned index) {
    return pjmedia_transport_media_start(((passage *)transport)->below, pool, local, remote, index);
}

static pj_status_t media_stop(pjmedia_transport *transport) { return pjmedia_transport_media_stop(((passage *)transport)->below); }

static pj_status_t simulate_lost(pjmedia_transport *transport, pjmedia_dir direction, unsigned percent) {
    return pjmedia_transport_simulate_lost(((passage *)transport)->below, direction, percent);
}

static void on_destroy(void *passed) {
    pj_pool_t *pool = ((passage *)passed)->pool; /* it lies in it */
    pj_pool_safe_release(&pool);
}

static pj_status_t destroy(pjmedia_transport *transport) {
    passage *p = (passage *)transport;
    leave(p);
    pjmedia_transport_close(p->below);
    pj_grp_lock_dec_ref(p->base.grp_lock);
    return PJ_SUCCESS;
}

static pjmedia_transport_op operations = {
    .get_info = &get_info,
    .detach = &detach,
    .send_rtp = &send_rtp,
    .send_rtcp = &send_rtcp,
    .send_rtcp2 = &send_rtcp2,
    .media_create = &media_create,
    .encode_sdp = &encode_sdp,
    .media_start = &media_start,
    .media_stop = &media_stop,
    .simulate_lost = &simulate_lost,
    .destroy = &destroy,
    .attach2 = &attach2,
};

pjmedia_transport *passing_wrap(pjsua_call_id call, unsigned index, pjmedia_transport *below, unsigned flags) {
    PJ_UNUSED_ARG(call);
    PJ_UNUSED_ARG(flags); /* always PJSUA_MED_TP_CLOSE_MEMBER */
    pj_pool_t *pool = below->grp_lock && index == 0 ? pjsua_pool_create("passage", 512, 512) : NULL;
    if (!pool)
        return below; /* its audio is mixed */
    passage *p = PJ_POOL_ZALLOC_T(pool, passage);
    p->pool = pool;
    p->below = below;
    p->port = -1;
    memcpy(p->base.name, pool->obj_name, sizeof(p->base.name));
    p->base.type = PJMEDIA_TRANSPORT_TYPE_USER;
    p->base.op = &operations;
    p->base.grp_lock = below->grp_lock;
    pj_grp_lock_add_ref(below->grp_lock);
    pj_grp_lock_add_handler(below->grp_lock, pool, p, &on_destroy);
    return &p->base;
}

/* ---- what happens to the bridge and to calls */

static passage *at_port(unsigned port) { return port < PJSUA_MAX_CONF_PORTS ? passing.ports[port] : NULL; }

/* In the clock thread, after each change of the bridge. A change that was given up may be told with the bridge locked. */
void passing_changed(const pjmedia_conf_op_info *info) {
    if (info->status != PJ_SUCCESS)
        return;
    pthread_mutex_lock(&passing.mutex);
    if (info->op_type == PJMEDIA_CONF_OP_CONNECT_PORTS || info->op_type == PJMEDIA_CONF_OP_DISCONNECT_PORTS) {
        passage *source = at_port(info->op_param.connect_ports.src), *sink = at_port(info->op_param.connect_ports.sink);
        if (source)
            stop(source, SETTLED);
        if (sink && sink->from)
            stop(sink->from, SETTLED);
    } else if (info->op_type == PJMEDIA_CONF_OP_REMOVE_PORT && at_port(info->op_param.remove_port.port))
        forget_port(at_port(info->op_param.remove_port.port));
    pthread_mutex_unlock(&passing.mutex);
}

static passage *of_call(pjsua_call_id call) {
    pjmedia_transport *transport = pjsua_var.calls[call].med_cnt > 0 ? pjsua_var.calls[call].media[0].tp : NULL;
    return transport && transport->op == &operations ? (passage *)transport : NULL;
}

void passing_port(pjsua_call_id call, int port) {
    passage *p = of_call(call);
    if (!p || port < 0 || port >= PJSUA_MAX_CONF_PORTS)
        return;
    pthread_mutex_lock(&passing.mutex);
    if (p->stream) {
        p->port = port;
        passing.ports[port] = p;
    }
    pthread_mutex_unlock(&passing.mutex);
}

void passing_rest(pjsua_call_id call) {
    passage *p = of_call(call);
    if (!p)
        return;
    pthread_mutex_lock(&passing.mutex);
    p->rest = p->came + RESTING;
    __atomic_store_n(&p->keys, RESTING, __ATOMIC_RELAXED);
    if (p->from)
        cut(p->from, LOOK);
    pthread_mutex_unlock(&passing.mutex);
}

/* Whoever has said nothing since the last look is mixed, so that the other side gets silence and not nothing. */
static void look(void *unused) {
    PJ_UNUSED_ARG(unused);
    pthread_mutex_lock(&passing.mutex);
    for (int i = 0; i < PJSUA_MAX_CONF_PORTS; i++) {
        passage *p = passing.ports[i];
        if (!p)
            continue;
        if (p->to && p->came == p->came_before)
            cut(p, LOOK);
        p->came_before = p->came;
    }
    pthread_mutex_unlock(&passing.mutex);
    pjsua_schedule_timer2(&look, NULL, LOOK_MS);
}

int64_t node_passed(void) { return __atomic_load_n(&passing.packets, __ATOMIC_RELAXED); }

int passing_start(void) { return pjsua_schedule_timer2(&look, NULL, LOOK_MS); }
