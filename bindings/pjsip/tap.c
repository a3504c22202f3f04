/* Listening: a port of the bridge for a leg, whose frames go through listening.h in the clock thread. See node.h.
 *
 * A tap is named by its number; nothing outside holds a pointer to it. It lies in its port's pool, which the bridge frees
 * when it has let go of it. */
#include "node.h"

#include "listening.h"

#include <pjsua-lib/pjsua.h>
#include <pthread.h>
#include <stdatomic.h>

typedef struct tap tap;

struct tap {
    pjmedia_port base; /* first: PJMEDIA hands us this */
    tap *next;
    pj_pool_t *pool;
    int64_t number;
    int port;
    atomic_int answered; /* frames since the answer, and one; 0: not yet */
    listening heard;     /* of the clock thread alone */
};

static struct {
    pthread_mutex_t mutex;
    tap *first;
} taps = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static pj_status_t put_frame(pjmedia_port *port, pjmedia_frame *frame) {
    tap *t = (tap *)port;
    listening_news found[2];
    int answered = atomic_exchange_explicit(&t->answered, 0, memory_order_relaxed);
    if (answered > 0)
        listening_answered(&t->heard, answered - 1);
    int audible = frame->type == PJMEDIA_FRAME_TYPE_AUDIO && frame->size == HEARING_FRAME * sizeof(int16_t);
    int count = listening_frame(&t->heard, audible ? frame->buf : NULL, found);
    for (int i = 0; i < count; i++) {
        node_event event = {.kind = NODE_HEARD, .leg = t->number, .code = found[i].sound, .flag = found[i].why};
        event.received = found[i].frame;
        event.jitter = found[i].machine;
        node_push(&event);
    }
    return PJ_SUCCESS;
}

static pj_status_t on_destroy(pjmedia_port *port) {
    pj_pool_t *pool = ((tap *)port)->pool; /* the tap lies in it */
    pj_pool_safe_release(&pool);
    return PJ_SUCCESS;
}

int node_listen(const listening_model *model, listening_limits limits, int *port, int64_t *number) {
    pj_str_t name = pj_str("tap");
    node_enter();
    pj_pool_t *pool = pjsua_pool_create("tap", 1024, 512);
    if (!pool)
        return PJ_ENOMEM;
    tap *t = PJ_POOL_ZALLOC_T(pool, tap);
    pjmedia_port_info_init(&t->base.info, &name, PJMEDIA_SIG_CLASS_PORT_AUD('C', 'T'), NODE_RATE, 1, 16, NODE_FRAME);
    t->base.put_frame = &put_frame;
    t->base.on_destroy = &on_destroy;
    t->pool = pool;
    t->number = *number = node_number();
    listening_begin(&t->heard, model, limits);
    int status = pjmedia_port_init_grp_lock(&t->base, pool, NULL);
    if (status != PJ_SUCCESS) {
        pj_pool_release(pool);
        return status;
    }
    status = pjsua_conf_add_port(pool, &t->base, &t->port);
    if (status != PJ_SUCCESS) {
        pjmedia_port_destroy(&t->base);
        return status;
    }
    *port = t->port;
    pthread_mutex_lock(&taps.mutex);
    t->next = taps.first;
    taps.first = t;
    pthread_mutex_unlock(&taps.mutex);
    return PJ_SUCCESS;
}

/* Where a tap stands in the list; of its end, if there is none of that number. The mutex is held. */
static tap **find(int64_t number) {
    tap **at = &taps.first;
    while (*at && (*at)->number != number)
        at = &(*at)->next;
    return at;
}

int node_listening_answered(int64_t number, int frames) {
    pthread_mutex_lock(&taps.mutex);
    tap *t = *find(number);
    if (t)
        atomic_store_explicit(&t->answered, frames + 1, memory_order_relaxed);
    pthread_mutex_unlock(&taps.mutex);
    return t ? PJ_SUCCESS : NODE_GONE;
}

static void let_go(tap *t) {
    pjsua_conf_remove_port(t->port);
    pjmedia_port_destroy(&t->base); /* the bridge holds it until its next tick */
}

int node_stop_listening(int64_t number) {
    node_enter();
    pthread_mutex_lock(&taps.mutex);
    tap **at = find(number), *t = *at;
    if (t)
        *at = t->next;
    pthread_mutex_unlock(&taps.mutex);
    if (!t)
        return NODE_GONE;
    let_go(t);
    return PJ_SUCCESS;
}

/* Ends every tap; the bridge must still run. */
void taps_stop(void) {
    pthread_mutex_lock(&taps.mutex);
    tap *t = taps.first;
    taps.first = NULL;
    pthread_mutex_unlock(&taps.mutex);
    while (t) {
        tap *next = t->next;
        let_go(t);
        t = next;
    }
}
