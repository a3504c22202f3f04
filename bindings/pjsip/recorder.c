/* Recording: a port of the bridge for each channel, one writer thread for all files. See node.h.
 *
 *   clock thread          put_frame -> samples of its channel into the recording's buffer, at the frame's time stamp
 *   writer, 4 times a s.  what all channels have -> file, then the header's sizes: a file is a playable WAV at any moment
 *
 * A recording is freed by the writer, after the bridge has let go of its ports and the rest is written.
 */
#define _GNU_SOURCE
#include "node.h"

#include <errno.h>
#include <fcntl.h>
#include <pjsua-lib/pjsua.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CHANNELS_MAX 2
#define BUFFER (2 * NODE_RATE) /* samples a channel: how long the disk may take */
#define HEADER 44
#define FLUSH_NS 250000000L

typedef struct recording recording;

typedef struct {
    pjmedia_port base; /* first: PJMEDIA hands us this */
    recording *of;
    pj_pool_t *pool;
    int channel;
} tap;

struct recording {
    recording *next;
    pthread_mutex_t mutex; /* of all below */
    int64_t number;
    int file, channels, taps, failed, paused;
    int started;
    uint64_t base;                   /* time stamp of sample 0 */
    uint64_t end[CHANNELS_MAX];      /* samples that the channel has */
    uint64_t written;                /* samples in the file */
    int ports[CHANNELS_MAX];
    pjmedia_port *port[CHANNELS_MAX];
    int16_t samples[BUFFER * CHANNELS_MAX]; /* ring, channels interleaved */
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
    if (!r->started) {
        r->started = 1;
        r->base = stamp;
    }
    if (stamp < r->base || stamp - r->base + count > r->written + BUFFER)
        return; /* before the start, or the disk is two seconds late */
    uint64_t at = stamp - r->base;
    for (uint64_t i = r->end[channel]; i < at; i++)
        r->samples[(i % BUFFER) * (unsigned)r->channels + (unsigned)channel] = 0;
    for (unsigned i = 0; i < count; i++)
        r->samples[((at + i) % BUFFER) * (unsigned)r->channels + (unsigned)channel] = samples ? samples[i] : 0;
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

static void little_endian(unsigned char *at, uint32_t value, int bytes) {
    for (int i = 0; i < bytes; i++)
        at[i] = (unsigned char)(value >> (8 * i));
}

static int write_header(recording *r, uint64_t samples) {
    unsigned char h[HEADER] = "RIFF____WAVEfmt ";
    uint32_t frame = 2 * (uint32_t)r->channels, bytes = (uint32_t)samples * frame;
    little_endian(h + 4, bytes + HEADER - 8, 4);
    little_endian(h + 16, 16, 4);
    little_endian(h + 20, 1, 2); /* PCM */
    little_endian(h + 22, (uint32_t)r->channels, 2);
    little_endian(h + 24, NODE_RATE, 4);
    little_endian(h + 28, NODE_RATE * frame, 4);
    little_endian(h + 32, frame, 2);
    little_endian(h + 34, 16, 2);
    memcpy(h + 36, "data", 4);
    little_endian(h + 40, bytes, 4);
    return pwrite(r->file, h, HEADER, 0) == HEADER ? 0 : -1;
}

static int write_all(recording *r, const char *bytes, size_t size, off_t at) {
    while (size > 0) {
        ssize_t n = pwrite(r->file, bytes, size, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        bytes += n;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

/* Write what every channel has. Returns 1 when the recording is complete: no port is left. */
static int flush(recording *r, int16_t *copy) {
    uint64_t end;
    pthread_mutex_lock(&r->mutex);
    int complete = r->taps == 0;
    end = r->end[0];
    for (int c = 1; c < r->channels; c++)
        if (r->end[c] < end)
            end = r->end[c];
    uint64_t from = r->written, count = end - from;
    for (uint64_t i = 0; i < count; i++)
        memcpy(copy + i * (unsigned)r->channels, r->samples + ((from + i) % BUFFER) * (unsigned)r->channels,
               sizeof(int16_t) * (unsigned)r->channels);
    pthread_mutex_unlock(&r->mutex);
    if (count > 0 && !r->failed) {
        size_t frame = sizeof(int16_t) * (unsigned)r->channels;
        if (write_all(r, (char *)copy, count * frame, (off_t)(HEADER + from * frame)) || write_header(r, end))
            r->failed = errno ? errno : EIO;
    }
    pthread_mutex_lock(&r->mutex);
    if (!r->failed)
        r->written = end;
    else
        r->base += count, r->end[0] -= count, r->end[1] -= count; /* what is lost makes room, but has no length */
    pthread_mutex_unlock(&r->mutex);
    return complete;
}

static void finish(recording *r) {
    node_event event = {.kind = NODE_RECORDED, .leg = r->number, .code = r->failed, .jitter = (double)r->written / NODE_RATE};
    close(r->file);
    pthread_mutex_destroy(&r->mutex);
    free(r);
    node_push(&event);
}

static void *run(void *unused) {
    static int16_t copy[BUFFER * CHANNELS_MAX];
    struct timespec until;
    PJ_UNUSED_ARG(unused);
    pthread_mutex_lock(&writer.mutex);
    while (writer.running || writer.first) {
        for (recording **at = &writer.first; *at;) {
            recording *r = *at;
            pthread_mutex_unlock(&writer.mutex); /* only this thread takes out; new ones come in at the front */
            int complete = flush(r, copy);
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
        until.tv_nsec += writer.running ? FLUSH_NS : FLUSH_NS / 25;
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

int node_record(const char *path, int channels, int *ports, int64_t *number) {
    recording *r = calloc(1, sizeof(*r));
    if (!r)
        return PJ_ENOMEM;
    r->file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (r->file < 0) {
        free(r);
        return PJ_STATUS_FROM_OS(errno);
    }
    r->channels = channels;
    r->number = *number = node_number();
    pthread_mutex_init(&r->mutex, NULL);
    if (write_header(r, 0))
        r->failed = errno ? errno : EIO;
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
    pthread_mutex_lock(&writer.mutex);
    recording *r = find(number);
    if (r)
        let_go(r);
    pthread_mutex_unlock(&writer.mutex);
    return r ? PJ_SUCCESS : NODE_GONE;
}
