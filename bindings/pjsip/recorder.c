/* Recording: a port of the bridge for each channel, one writer thread for all files. See node.h.
 *
 *   clock thread   put_frame -> samples of its channel into the recording's ring, at the frame's time stamp
 *   writer         ten times a second: where a second is there, all channels of it as one sealed chunk -> file
 *
 * The file plays up to its last whole chunk at any moment. A chunk that the disk does not take is owed: it is tried again,
 * the same bytes at the same place, until it is there; what does not fit into the ring meanwhile is missing, and the next
 * chunk says where it begins. A recording is freed by the writer, after the bridge has let go of its ports.
 */
#define _GNU_SOURCE
#include "node.h"

#include "cipher.h"
#include "packets.h"

#include <errno.h>
#include <fcntl.h>
#include <pjsua-lib/pjsua.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CHANNELS_MAX 2
#define RING 16384u /* samples a channel, a power of two: how long the disk may take */
#define CHUNK NODE_RATE /* samples a channel from which on a chunk is written */
#define CHUNK_MAX (RING * CHANNELS_MAX * sizeof(int16_t) + CIPHER_EXTRA)
#define LOOK_NS 100000000L
#define CLOSING_NS 10000000L
#define RETRIES_MAX 50 /* looks at a recording that is over and that the disk does not take */

typedef struct recording recording;

typedef struct {
    pjmedia_port base; /* first: PJMEDIA hands us this */
    recording *of;
    pj_pool_t *pool;
    int channel;
} tap;

struct recording {
    recording *next;
    pthread_mutex_t mutex; /* of what the clock thread uses: */
    int channels, taps, paused, started;
    uint64_t base;               /* time stamp of sample 0 */
    uint64_t end[CHANNELS_MAX];  /* the sample after the last that the channel has */
    uint64_t latest;             /* the same of what did not fit */
    uint64_t missing[CHANNELS_MAX]; /* samples that did not fit */
    uint64_t written;            /* the first sample that is in no chunk yet */
    int16_t samples[CHANNELS_MAX][RING];
    /* of the writer alone: */
    int64_t number;
    int file, error, retries, closed; /* closed: the chunk of the end is made */
    int ports[CHANNELS_MAX];
    pjmedia_port *port[CHANNELS_MAX];
    cipher *cipher;
    packets *packets;     /* NULL: as it is */
    size_t owed, paid;    /* bytes of `debt`, and how many of them are in the file */
    unsigned owed_frames; /* samples a channel in it */
    uint64_t owed_first;  /* the first of them */
    uint64_t unsealed;    /* samples that OpenSSL did not seal, or libopus did not pack */
    unsigned char debt[CHUNK_MAX];
};

static struct {
    pthread_mutex_t mutex; /* of the list and the flag */
    pthread_cond_t changed;
    pthread_t thread;
    recording *first;
    int running;
} writer = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* ---- in the clock thread */

/* Copy a frame, or silence if samples is NULL, to where its time stamp says; silence fills what a channel missed. */
static void put(recording *r, int channel, uint64_t stamp, const int16_t *samples, unsigned count) {
    int16_t *ring = r->samples[channel];
    if (!r->started) {
        r->started = 1;
        r->base = stamp;
    }
    uint64_t at = stamp - r->base;
    if (stamp < r->base || at < r->written)
        return; /* before the start, or of what is in the file */
    if (at + count > r->written + RING) {
        r->missing[channel] += count;
        r->latest = at + count;
        return;
    }
    for (uint64_t i = r->end[channel]; i < at; i++)
        ring[i % RING] = 0;
    unsigned from = (unsigned)(at % RING), whole = from + count > RING ? RING - from : count;
    if (samples) {
        memcpy(ring + from, samples, whole * sizeof(int16_t));
        memcpy(ring, samples + whole, (count - whole) * sizeof(int16_t));
    } else {
        memset(ring + from, 0, whole * sizeof(int16_t));
        memset(ring, 0, (count - whole) * sizeof(int16_t));
    }
    if (at + count > r->end[channel])
        r->end[channel] = at + count;
}

static pj_status_t put_frame(pjmedia_port *port, pjmedia_frame *frame) {
    tap *t = (tap *)port;
    recording *r = t->of;
    int audible = frame->type == PJMEDIA_FRAME_TYPE_AUDIO && frame->size > 0;
    pthread_mutex_lock(&r->mutex);
    put(r, t->channel, frame->timestamp.u64, audible && !r->paused ? frame->buf : NULL,
        audible ? (unsigned)(frame->size / sizeof(int16_t)) : NODE_FRAME);
    pthread_mutex_unlock(&r->mutex);
    return PJ_SUCCESS;
}

static pj_status_t on_destroy(pjmedia_port *port) {
    tap *t = (tap *)port;
    pthread_mutex_lock(&t->of->mutex);
    t->of->taps--;
    pthread_mutex_unlock(&t->of->mutex);
    pj_pool_t *pool = t->pool; /* t lies in it */
    pj_pool_safe_release(&pool);
    return PJ_SUCCESS;
}

/* ---- in the writer */

/* Write what is owed, as far as the disk takes it. */
static int pay(recording *r) {
    while (r->paid < r->owed) {
        ssize_t n = write(r->file, r->debt + r->paid, r->owed - r->paid);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            r->error = n < 0 ? errno : EIO;
            return -1;
        }
        r->paid += (size_t)n;
    }
    r->owed = r->paid = 0;
    return 0;
}

/* Samples a channel that are in no file, of a recording that is over. */
static uint64_t missing(const recording *r) {
    uint64_t lost = r->unsealed + (r->missing[0] > r->missing[1] ? r->missing[0] : r->missing[1]);
    uint64_t longest = r->end[0] > r->end[1] ? r->end[0] : r->end[1];
    return lost + (r->owed ? r->owed_frames : 0) + (longest > r->written ? longest - r->written : 0);
}

/* Seal a chunk and write it; the disk may take it later. */
static void append(recording *r, enum chunk_kind kind, uint64_t first, const void *content, size_t size, unsigned frames) {
    r->owed = size > 0 ? cipher_seal(r->cipher, kind, first, content, size, r->debt) : 0;
    r->owed_frames = frames;
    r->owed_first = first;
    if (r->owed == 0) {
        r->error = EIO;
        r->unsealed += frames;
    }
    pay(r);
}

/* Take out of the ring what every channel has, if it is enough for a chunk or the rest; returns how many samples. Of what
 * becomes packets only whole ones are taken, but for the rest. */
static unsigned take(recording *r, int16_t copy[CHANNELS_MAX][RING], uint64_t *first, int *over) {
    pthread_mutex_lock(&r->mutex);
    *over = r->taps == 0;
    uint64_t shortest = r->end[0], longest = r->end[0];
    for (int c = 1; c < r->channels; c++) {
        shortest = r->end[c] < shortest ? r->end[c] : shortest;
        longest = r->end[c] > longest ? r->end[c] : longest;
    }
    uint64_t end = *over || r->latest ? longest : shortest;
    unsigned count = end < r->written ? 0 : (unsigned)(end - r->written);
    if (count < CHUNK && !*over && !r->latest)
        count = 0;
    if (r->packets && !*over && !r->latest)
        count -= count % PACKET_FRAMES;
    unsigned from = (unsigned)(r->written % RING), whole = from + count > RING ? RING - from : count;
    for (int c = 0; c < r->channels && count > 0; c++) {
        for (; r->end[c] < end; r->end[c]++)
            r->samples[c][r->end[c] % RING] = 0;
        memcpy(copy[c], r->samples[c] + from, whole * sizeof(int16_t));
        memcpy(copy[c] + whole, r->samples[c], (count - whole) * sizeof(int16_t));
    }
    *first = r->written;
    r->written += count;
    if (r->latest && longest <= r->written) { /* the ring is empty: it begins again after what did not fit */
        r->written = r->end[0] = r->end[1] = r->latest > r->written ? r->latest : r->written;
        r->latest = 0;
    }
    pthread_mutex_unlock(&r->mutex);
    return count;
}

/* Write what is there. Returns 1 when the recording is over and the file as good as it gets. */
static int flush(recording *r, int closing) {
    static int16_t copy[CHANNELS_MAX][RING], frames[RING * CHANNELS_MAX];
    static unsigned char packed[CHUNK_MAX - CIPHER_EXTRA];
    uint64_t first;
    int over;
    if (pay(r)) {
        pthread_mutex_lock(&r->mutex);
        over = r->taps == 0;
        pthread_mutex_unlock(&r->mutex);
        return over && (closing || ++r->retries > RETRIES_MAX);
    }
    if (r->closed)
        return 1;
    unsigned count = take(r, copy, &first, &over);
    if (count > 0) {
        for (unsigned i = 0; i < count && r->channels == 2; i++) {
            frames[2 * i] = copy[0][i];
            frames[2 * i + 1] = copy[1][i];
        }
        const int16_t *audio = r->channels == 2 ? frames : copy[0];
        if (r->packets)
            append(r, CHUNK_AUDIO, first, packed, packets_encode(r->packets, audio, count, packed, sizeof(packed)), count);
        else
            append(r, CHUNK_AUDIO, first, audio, count * sizeof(int16_t) * (unsigned)r->channels, count);
    }
    if (over && r->owed == 0) {
        uint64_t lost = missing(r);
        append(r, CHUNK_END, r->written, &lost, sizeof(lost), 0);
        r->closed = 1;
    }
    return r->closed && r->owed == 0;
}

static void finish(recording *r) {
    node_event event = {.kind = NODE_RECORDED, .leg = r->number, .code = r->error};
    event.jitter = (double)(r->owed ? r->owed_first : r->written) / NODE_RATE; /* owed: given up */
    event.round_trip = (double)missing(r) / NODE_RATE;
    close(r->file);
    cipher_free(r->cipher);
    packets_free(r->packets);
    pthread_mutex_destroy(&r->mutex);
    free(r);
    node_push(&event);
}

static void *run(void *unused) {
    struct timespec until;
    PJ_UNUSED_ARG(unused);
    pthread_setname_np(pthread_self(), "recorder");
    pthread_mutex_lock(&writer.mutex);
    while (writer.running || writer.first) {
        int closing = !writer.running;
        for (recording **at = &writer.first; *at;) {
            recording *r = *at;
            pthread_mutex_unlock(&writer.mutex); /* only this thread takes out; new ones come in at the front */
            int complete = flush(r, closing);
            pthread_mutex_lock(&writer.mutex);
            while (*at != r)
                at = &(*at)->next;
            if (complete) {
                *at = r->next;
                finish(r);
            } else
                at = &r->next;
        }
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += writer.running ? LOOK_NS : CLOSING_NS;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        if (writer.running || writer.first)
            pthread_cond_timedwait(&writer.changed, &writer.mutex, &until);
    }
    pthread_mutex_unlock(&writer.mutex);
    return NULL;
}

/* ---- from outside */

int recorder_start(void) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&writer.changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    writer.running = 1;
    int status = pthread_create(&writer.thread, NULL, &run, NULL);
    if (status != 0)
        writer.running = 0;
    return status == 0 ? PJ_SUCCESS : PJ_STATUS_FROM_OS(status);
}

static void let_go(recording *r) {
    for (int c = 0; c < r->channels; c++) {
        if (!r->port[c])
            continue;
        if (r->ports[c] >= 0)
            pjsua_conf_remove_port(r->ports[c]);
        pjmedia_port_destroy(r->port[c]); /* the bridge holds it until its next tick */
        r->port[c] = NULL;
    }
}

/* Ends every recording and waits for the writer; the bridge must still run. */
void recorder_stop(void) {
    if (!writer.running)
        return;
    pthread_mutex_lock(&writer.mutex);
    for (recording *r = writer.first; r; r = r->next)
        let_go(r);
    writer.running = 0;
    pthread_cond_signal(&writer.changed);
    pthread_mutex_unlock(&writer.mutex);
    pthread_join(writer.thread, NULL);
    pthread_cond_destroy(&writer.changed);
}

static int add_tap(recording *r, int channel) {
    pj_str_t name = pj_str("recording");
    pj_pool_t *pool = pjsua_pool_create("tap", 512, 512);
    if (!pool)
        return PJ_ENOMEM;
    tap *t = PJ_POOL_ZALLOC_T(pool, tap);
    pjmedia_port_info_init(&t->base.info, &name, PJMEDIA_SIG_CLASS_PORT_AUD('C', 'R'), NODE_RATE, 1, 16, NODE_FRAME);
    t->base.put_frame = &put_frame;
    t->base.on_destroy = &on_destroy;
    t->of = r;
    t->pool = pool;
    t->channel = channel;
    int status = pjmedia_port_init_grp_lock(&t->base, pool, NULL);
    if (status != PJ_SUCCESS) {
        pj_pool_release(pool);
        return status;
    }
    r->taps++;
    r->ports[channel] = -1;
    r->port[channel] = &t->base;
    return pjsua_conf_add_port(pool, &t->base, &r->ports[channel]);
}

int node_record(const char *path, const unsigned char *key, const unsigned char *header, int size, int channels, int opus,
                int *ports, int64_t *number) {
    if (size < 0 || (size_t)size > CHUNK_MAX)
        return PJ_ETOOBIG;
    node_enter();
    recording *r = calloc(1, sizeof(*r));
    if (r)
        r->cipher = cipher_new(key, header, (size_t)size);
    if (r && opus)
        r->packets = packets_new(channels);
    if (!r || !r->cipher || (opus && !r->packets)) {
        if (r) {
            cipher_free(r->cipher);
            packets_free(r->packets);
        }
        free(r);
        return PJ_ENOMEM;
    }
    r->file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    if (r->file < 0) {
        int error = errno;
        cipher_free(r->cipher);
        packets_free(r->packets);
        free(r);
        return PJ_STATUS_FROM_OS(error);
    }
    r->channels = channels;
    r->number = *number = node_number();
    pthread_mutex_init(&r->mutex, NULL);
    memcpy(r->debt, header, (size_t)size); /* the writer pays it first */
    r->owed = (size_t)size;
    int status = PJ_SUCCESS;
    for (int c = 0; c < channels && status == PJ_SUCCESS; c++) {
        status = add_tap(r, c);
        ports[c] = r->ports[c];
    }
    if (status != PJ_SUCCESS)
        let_go(r); /* the writer frees it and reports it, as any other */
    pthread_mutex_lock(&writer.mutex);
    r->next = writer.first;
    writer.first = r;
    pthread_mutex_unlock(&writer.mutex);
    return status;
}

static recording *find(int64_t number) {
    recording *r = writer.first;
    while (r && r->number != number)
        r = r->next;
    return r;
}

int node_pause_recording(int64_t number, int on) {
    pthread_mutex_lock(&writer.mutex);
    recording *r = find(number);
    if (r) {
        pthread_mutex_lock(&r->mutex);
        r->paused = on;
        pthread_mutex_unlock(&r->mutex);
    }
    pthread_mutex_unlock(&writer.mutex);
    return r ? PJ_SUCCESS : NODE_GONE;
}

int node_stop_recording(int64_t number) {
    node_enter();
    pthread_mutex_lock(&writer.mutex);
    recording *r = find(number);
    if (r)
        let_go(r);
    pthread_mutex_unlock(&writer.mutex);
    return r ? PJ_SUCCESS : NODE_GONE;
}
