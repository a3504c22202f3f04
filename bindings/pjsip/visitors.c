/* Connections that others open to us, TCP and TLS: how many, and for how long without a reason.
 *
 * A visitor has a reason to stay once a request came on its connection that the guard let in. Until then it has SILENT_MS,
 * whatever bytes trickle in, and few such connections are open at once from one address, and from all together; one more
 * ends the oldest of them. PJSIP ends those that stay when they were not used for ten minutes, and a handshake of TLS that
 * takes more than five seconds.
 *
 * All of it runs in the thread that calls node_poll.
 */
#include "visitors.h"
#include "guard.h"

#include <string.h>

#define VISITORS_MAX 4096
#define OF_ONE_MAX 1024   /* of one address */
#define NEW_MAX 256       /* that have shown no reason yet, of everybody */
#define NEW_OF_ONE_MAX 32 /* and of one address: phones behind one come back together after its router was off */
#define SILENT_MS 8000
#define LOOK_MS 500

typedef struct {
    pjsip_transport *transport;
    int64_t at_ms;
    int welcome, leaving;
} visitor;

static struct {
    visitor table[VISITORS_MAX]; /* in the order in which they came */
    int count;
    int64_t looked_ms;
} visitors;

void visitors_start(void) { memset(&visitors, 0, sizeof(visitors)); }

static int64_t now_ms(void) {
    pj_time_val now;
    pj_gettickcount(&now);
    return now.sec * 1000LL + now.msec;
}

static int is_new(const visitor *v) { return !v->welcome && !v->leaving; }

static void end(visitor *v) {
    v->leaving = 1;
    guard_tell(&v->transport->key.rem_addr, GUARD_SILENT);
    pjsip_transport_shutdown2(v->transport, PJ_TRUE);
}

static int is_of(const visitor *v, const pj_sockaddr *host) {
    const pj_sockaddr *from = &v->transport->key.rem_addr;
    return from->addr.sa_family == host->addr.sa_family &&
           memcmp(pj_sockaddr_get_addr(from), pj_sockaddr_get_addr(host), pj_sockaddr_get_addr_len(host)) == 0;
}

/* End the oldest one that has shown no reason, of a host if there is one, if there are more than so many. */
static void make_room(const pj_sockaddr *host, int most) {
    visitor *oldest = NULL;
    int count = 0;
    for (int i = 0; i < visitors.count; i++) {
        visitor *v = &visitors.table[i];
        if (!is_new(v) || (host && !is_of(v, host)))
            continue;
        oldest = oldest ? oldest : v;
        count++;
    }
    if (count > most)
        end(oldest);
}

static int has_room_for(const pj_sockaddr *host) {
    int count = 0;
    for (int i = 0; i < visitors.count; i++)
        count += is_of(&visitors.table[i], host);
    return count < OF_ONE_MAX && visitors.count < VISITORS_MAX;
}

static void enter(pjsip_transport *transport) {
    const pj_sockaddr *host = &transport->key.rem_addr;
    if (!has_room_for(host)) {
        guard_tell(host, GUARD_SILENT);
        pjsip_transport_shutdown2(transport, PJ_TRUE);
        return;
    }
    visitors.table[visitors.count++] = (visitor){.transport = transport, .at_ms = now_ms()};
    make_room(host, NEW_OF_ONE_MAX);
    make_room(NULL, NEW_MAX);
}

static visitor *find(const pjsip_transport *transport) {
    for (int i = 0; i < visitors.count; i++)
        if (visitors.table[i].transport == transport)
            return &visitors.table[i];
    return NULL;
}

static void leave(const pjsip_transport *transport) {
    visitor *v = find(transport);
    if (v)
        memmove(v, v + 1, (size_t)(&visitors.table[--visitors.count] - v) * sizeof(*v));
}

void visitors_changed(pjsip_transport *transport, pjsip_transport_state state, const pjsip_transport_state_info *info) {
    PJ_UNUSED_ARG(info);
    if (state == PJSIP_TP_STATE_CONNECTED && transport->dir == PJSIP_TP_DIR_INCOMING)
        enter(transport);
    else if (state == PJSIP_TP_STATE_DESTROY)
        leave(transport);
}

void visitors_welcome(const pjsip_transport *transport) {
    visitor *v = transport->flag & PJSIP_TRANSPORT_RELIABLE ? find(transport) : NULL;
    if (v)
        v->welcome = 1;
}

void visitors_look(void) {
    int64_t now = now_ms();
    if (now - visitors.looked_ms < LOOK_MS)
        return;
    visitors.looked_ms = now;
    for (int i = 0; i < visitors.count && now - visitors.table[i].at_ms >= SILENT_MS; i++)
        if (is_new(&visitors.table[i]))
            end(&visitors.table[i]);
}
