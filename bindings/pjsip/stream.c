/* See stream.h. The rings' positions only grow; each is written by one side and read by the other. */
#include "stream.h"
#include "node.h"

#include <pjmedia/alaw_ulaw.h>
#include <pjsua-lib/pjsua.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LOAD(at) __atomic_load_n(at, __ATOMIC_ACQUIRE)
#define STORE(at, value) __atomic_store_n(at, value, __ATOMIC_RELEASE)

typedef struct stream stream;

typedef struct {
    int64_t at; /* its number */
    int16_t samples[STREAM_FRAME];
} frame;

struct stream {
    pjmedia_port base; /* first: PJMEDIA hands us this */
    stream *next;
    pj_pool_t *pool;
    int64_t number;
    int port;
    int64_t ticks;   /* of the clock thread alone: frames heard, with those that were dropped */
    frame *heard;    /* STREAM_HEARD of them */
    int64_t put, taken, dropped;
    int16_t *said;   /* STREAM_SAID of them */
    int64_t written, cleared, played; /* cleared: what lies before it is not to be played */
};

static struct {
    pthread_mutex_t mutex; /* of the list, held while a stream is used: the clock thread never takes it */
    stream *first;
} streams = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static pj_status_t put_frame(pjmedia_port *port, pjmedia_frame *from) {
    stream *s = (stream *)port;
    int64_t put = s->put, at = s->ticks++;
    if (put - LOAD(&s->taken) == STREAM_HEARD) {
        STORE(&s->dropped, s->dropped + 1);
        return PJ_SUCCESS;
    }
    frame *to = &s->heard[put % STREAM_HEARD];
    to->at = at;
    if (from->type == PJMEDIA_FRAME_TYPE_AUDIO && from->size == sizeof(to->samples))
        memcpy(to->samples, from->buf, sizeof(to->samples));
    else
        memset(to->samples, 0, sizeof(to->samples));
    STORE(&s->put, put + 1);
    return PJ_SUCCESS;
}

static pj_status_t get_frame(pjmedia_port *port, pjmedia_frame *to) {
    stream *s = (stream *)port;
    int64_t at = PJ_MAX(LOAD(&s->cleared), s->played); /* before written: what is cleared was written */
    int count = (int)PJ_MIN(LOAD(&s->written) - at, STREAM_FRAME);
    int16_t *samples = to->buf;
    for (int i = 0; i < count; i++)
        samples[i] = s->said[(at + i) % STREAM_SAID];
    memset(samples + count, 0, (size_t)(STREAM_FRAME - count) * sizeof(int16_t));
    STORE(&s->played, at + count);
    to->type = count ? PJMEDIA_FRAME_TYPE_AUDIO : PJMEDIA_FRAME_TYPE_NONE;
    to->size = STREAM_FRAME * sizeof(int16_t);
    return PJ_SUCCESS;
}

static pj_status_t on_destroy(pjmedia_port *port) {
    stream *s = (stream *)port;
    pj_pool_t *pool = s->pool; /* the stream lies in it */
    free(s->heard);
    free(s->said);
    pj_pool_safe_release(&pool);
    return PJ_SUCCESS;
}

int node_stream_open(int *port, int64_t *number) {
    pj_str_t name = pj_str("stream");
    node_enter();
    pj_pool_t *pool = pjsua_pool_create("stream", 512, 512);
    if (!pool)
        return PJ_ENOMEM;
    stream *s = PJ_POOL_ZALLOC_T(pool, stream);
    pjmedia_port_info_init(&s->base.info, &name, PJMEDIA_SIG_CLASS_PORT_AUD('C', 'S'), NODE_RATE, 1, 16, NODE_FRAME);
    s->base.put_frame = &put_frame;
    s->base.get_frame = &get_frame;
    s->base.on_destroy = &on_destroy;
    s->pool = pool;
    s->number = *number = node_number();
    s->heard = calloc(STREAM_HEARD, sizeof(frame));
    s->said = calloc(STREAM_SAID, sizeof(int16_t)); /* the system gives pages as they are written */
    int status = s->heard && s->said ? pjmedia_port_init_grp_lock(&s->base, pool, NULL) : PJ_ENOMEM;
    if (status != PJ_SUCCESS) {
        on_destroy(&s->base);
        return status;
    }
    status = pjsua_conf_add_port(pool, &s->base, &s->port);
    if (status != PJ_SUCCESS) {
        pjmedia_port_destroy(&s->base);
        return status;
    }
    *port = s->port;
    pthread_mutex_lock(&streams.mutex);
    s->next = streams.first;
    streams.first = s;
    pthread_mutex_unlock(&streams.mutex);
    return PJ_SUCCESS;
}

static void let_go(stream *s) {
    pjsua_conf_remove_port(s->port);
    pjmedia_port_destroy(&s->base); /* the bridge holds it until its next tick */
}

/* With the mutex held, also where there is none of that number. */
static stream **find(int64_t number) {
    pthread_mutex_lock(&streams.mutex);
    stream **at = &streams.first;
    while (*at && (*at)->number != number)
        at = &(*at)->next;
    return at;
}

int node_stream_close(int64_t number) {
    node_enter();
    stream **at = find(number), *s = *at;
    if (s)
        *at = s->next;
    pthread_mutex_unlock(&streams.mutex);
    if (!s)
        return NODE_GONE;
    let_go(s);
    return PJ_SUCCESS;
}

int node_stream_heard(int64_t number, int16_t *into, int max, int64_t *first, int64_t *dropped) {
    stream *s = *find(number);
    int count = s ? 0 : NODE_GONE;
    if (s) {
        int64_t taken = s->taken, put = LOAD(&s->put);
        *first = taken < put ? s->heard[taken % STREAM_HEARD].at : 0;
        for (; count < max && taken < put; count++, taken++) {
            frame *from = &s->heard[taken % STREAM_HEARD];
            if (from->at != *first + count)
                break; /* some were dropped in between */
            memcpy(into + count * STREAM_FRAME, from->samples, sizeof(from->samples));
        }
        *dropped = LOAD(&s->dropped);
        STORE(&s->taken, taken);
    }
    pthread_mutex_unlock(&streams.mutex);
    return count;
}

int node_stream_say(int64_t number, const int16_t *samples, int count) {
    stream *s = *find(number);
    int fits = NODE_GONE;
    if (s) {
        int64_t written = s->written, room = STREAM_SAID - (written - LOAD(&s->played));
        fits = (int)PJ_MIN(room, count);
        for (int i = 0; i < fits; i++)
            s->said[(written + i) % STREAM_SAID] = samples[i];
        STORE(&s->written, written + fits);
    }
    pthread_mutex_unlock(&streams.mutex);
    return fits;
}

int node_stream_clear(int64_t number) {
    stream *s = *find(number);
    if (s)
        STORE(&s->cleared, s->written);
    pthread_mutex_unlock(&streams.mutex);
    return s ? PJ_SUCCESS : NODE_GONE;
}

int node_stream_said(int64_t number, int64_t *written, int64_t *played) {
    stream *s = *find(number);
    if (s) {
        *written = s->written;
        *played = PJ_MAX(LOAD(&s->played), s->cleared);
    }
    pthread_mutex_unlock(&streams.mutex);
    return s ? PJ_SUCCESS : NODE_GONE;
}

void node_ulaw_of(const int16_t *samples, uint8_t *into, int count) {
    pjmedia_ulaw_encode(into, samples, (pj_size_t)count);
}

void node_of_ulaw(const uint8_t *bytes, int16_t *into, int count) {
    pjmedia_ulaw_decode(into, bytes, (pj_size_t)count);
}

/* Ends every stream; the bridge must still run. */
void streams_stop(void) {
    pthread_mutex_lock(&streams.mutex);
    stream *s = streams.first;
    streams.first = NULL;
    pthread_mutex_unlock(&streams.mutex);
    while (s) {
        stream *next = s->next;
        let_go(s);
        s = next;
    }
}
