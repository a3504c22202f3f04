/* Who may speak SIP to us, and how often: a module of PJSIP that sees requests before all others do. See node.h.
 *
 * - A request that begins something is taken from the sources that were admitted alone, at most so many a second from each.
 * - A request inside a dialog is taken from anyone who knows the dialog: phones that we dialed are no admitted sources.
 * - Others are answered 403 or 503 without any state, a few a second; the rest is dropped without an answer.
 * - A source that is refused is told of once a minute, and all of them LINES_MAX times a minute.
 *
 * All of it runs in the thread that calls node_poll. Memory is a table of a fixed size: where it is full, the source
 * that was silent for longest is forgotten.
 */
#define _GNU_SOURCE
#include "guard.h"
#include "node.h"
#include "visitors.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NETWORKS_MAX 4096
#define SETS 1024
#define WAYS 4
#define STRANGER_RATE 5.0 /* answers a second to one stranger; requests beyond are dropped */
#define STRANGERS_RATE 100.0 /* and to all of them */
#define MINUTE_MS 60000
#define LINES_MAX 60

typedef struct {
    unsigned char address[16]; /* IPv6, or IPv4 within it */
    int64_t at_ms, told_ms;    /* heard last; told of last */
    double tokens;
    int used, refused;         /* since it was told of last */
} source;

typedef struct {
    unsigned char address[16];
    int bits;
} network;

static struct {
    network networks[NETWORKS_MAX];
    int network_count;
    double rate;
    source table[SETS][WAYS];
    double strangers;
    int64_t strangers_ms, lines_ms, refused;
    int lines;
} guard;

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void address_of(const pj_sockaddr *from, unsigned char *into) {
    static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (from->addr.sa_family == pj_AF_INET6())
        memcpy(into, &from->ipv6.sin6_addr, 16);
    else {
        memcpy(into, mapped, 12);
        memcpy(into + 12, &from->ipv4.sin_addr, 4);
    }
}

static int is_admitted(const unsigned char *address) {
    for (int i = 0; i < guard.network_count; i++) {
        const network *n = &guard.networks[i];
        int bytes = n->bits / 8, left = n->bits % 8;
        if (memcmp(address, n->address, (size_t)bytes) == 0 &&
            (!left || ((address[bytes] ^ n->address[bytes]) >> (8 - left)) == 0))
            return 1;
    }
    return 0;
}

static source *find(const unsigned char *address, int64_t now) {
    uint32_t hash = 2166136261u;
    for (int i = 0; i < 16; i++)
        hash = (hash ^ address[i]) * 16777619u;
    source *set = guard.table[hash % SETS], *oldest = set;
    for (int i = 0; i < WAYS; i++) {
        if (set[i].used && memcmp(set[i].address, address, 16) == 0)
            return &set[i];
        if (!set[i].used || (oldest->used && set[i].at_ms < oldest->at_ms))
            oldest = &set[i];
    }
    *oldest = (source){.used = 1, .at_ms = now - MINUTE_MS, .told_ms = now - MINUTE_MS};
    memcpy(oldest->address, address, 16);
    return oldest;
}

/* Refill a bucket of two seconds' tokens, and take one. */
static int take(double *tokens, int64_t *at_ms, int64_t now, double rate) {
    *tokens += rate * (double)(now - *at_ms) / 1000.0;
    *at_ms = now;
    if (*tokens > 2.0 * rate)
        *tokens = 2.0 * rate;
    if (*tokens < 1.0)
        return 0;
    *tokens -= 1.0;
    return 1;
}

static void tell(source *from, const char *name, int code, int64_t now) {
    guard.refused++;
    from->refused++;
    if (now - from->told_ms < MINUTE_MS)
        return;
    if (now - guard.lines_ms >= MINUTE_MS) {
        guard.lines_ms = now;
        guard.lines = 0;
    }
    if (guard.lines++ >= LINES_MAX)
        return;
    node_event event = {.kind = NODE_REFUSED, .code = code, .leg = from->refused, .text = strdup(name)};
    from->told_ms = now;
    from->refused = 0;
    node_push(&event);
}

void guard_tell(const pj_sockaddr *source, int code) {
    char name[PJ_INET6_ADDRSTRLEN + 8];
    unsigned char address[16];
    int64_t now = now_ms();
    address_of(source, address);
    tell(find(address, now), pj_sockaddr_print(source, name, sizeof(name), 0), code, now);
}

static pj_bool_t answer(pjsip_rx_data *rdata, int code, pjsip_hdr *headers) {
    pjsip_endpt_respond_stateless(pjsua_get_pjsip_endpt(), rdata, code, NULL, headers, NULL);
    return PJ_TRUE;
}

static pj_bool_t refuse(pjsip_rx_data *rdata, source *from, int code, int in_time, int64_t now) {
    tell(from, rdata->pkt_info.src_name, code, now);
    return in_time ? answer(rdata, code, NULL) : PJ_TRUE;
}

/* What PJSIP's parser takes though it contradicts itself. */
static int is_wrong(const pjsip_rx_data *rdata) {
    return pjsip_method_cmp(&rdata->msg_info.msg->line.req.method, &rdata->msg_info.cseq->method) != 0;
}

static pj_bool_t let_in(const pjsip_rx_data *rdata) {
    visitors_welcome(rdata->tp_info.transport);
    return PJ_FALSE;
}

static pj_bool_t on_request(pjsip_rx_data *rdata) {
    const pjsip_msg *msg = rdata->msg_info.msg;
    int method = msg->line.req.method.id, known, wrong;
    unsigned char address[16];
    address_of(&rdata->pkt_info.src_addr, address);
    known = is_admitted(address);
    wrong = is_wrong(rdata);
    if (rdata->msg_info.to->tag.slen || method == PJSIP_ACK_METHOD || method == PJSIP_CANCEL_METHOD) {
        pjsip_dialog *dialog;
        if (known)
            return wrong && method != PJSIP_ACK_METHOD ? answer(rdata, PJSIP_SC_BAD_REQUEST, NULL) : let_in(rdata);
        dialog = pjsip_ua_find_dialog(&rdata->msg_info.cid->id, &rdata->msg_info.to->tag, &rdata->msg_info.from->tag, PJ_FALSE);
        if (dialog)
            return let_in(rdata);
        if (method == PJSIP_ACK_METHOD) /* of a call that was refused */
            return PJ_TRUE;
    }
    int64_t now = now_ms();
    source *from = find(address, now);
    int in_time = take(&from->tokens, &from->at_ms, now, known ? guard.rate : STRANGER_RATE);
    if (known && in_time)
        return wrong ? answer(rdata, PJSIP_SC_BAD_REQUEST, NULL) : let_in(rdata);
    if (known)
        return refuse(rdata, from, PJSIP_SC_SERVICE_UNAVAILABLE, 1, now);
    in_time = in_time && take(&guard.strangers, &guard.strangers_ms, now, STRANGERS_RATE);
    return refuse(rdata, from, PJSIP_SC_FORBIDDEN, in_time, now);
}

static pjsip_module first = {
    .name = {"guard", 5},
    .id = -1,
    .priority = PJSIP_MOD_PRIORITY_TRANSPORT_LAYER - 1,
    .on_rx_request = &on_request,
};

/* What nobody handles: a method that we do not know, or do not serve. */
static pj_bool_t on_leftover(pjsip_rx_data *rdata) {
    const pjsip_method *method = &rdata->msg_info.msg->line.req.method;
    const pjsip_hdr *allow = pjsip_endpt_get_capability(pjsua_get_pjsip_endpt(), PJSIP_H_ALLOW, NULL);
    pjsip_hdr headers;
    if (method->id == PJSIP_ACK_METHOD)
        return PJ_TRUE;
    pj_list_init(&headers);
    if (allow)
        pj_list_push_back(&headers, pjsip_hdr_shallow_clone(rdata->tp_info.pool, allow));
    return answer(rdata, method->id == PJSIP_OTHER_METHOD ? PJSIP_SC_NOT_IMPLEMENTED : PJSIP_SC_METHOD_NOT_ALLOWED, &headers);
}

static pjsip_module last = {
    .name = {"leftover", 8},
    .id = -1,
    .priority = PJSIP_MOD_PRIORITY_APPLICATION + 99,
    .on_rx_request = &on_leftover,
};

int guard_start(void) {
    memset(&guard, 0, sizeof(guard));
    guard.lines_ms = guard.strangers_ms = now_ms() - MINUTE_MS;
    first.id = last.id = -1; /* those of an older endpoint mean nothing here */
    int status = pjsip_endpt_register_module(pjsua_get_pjsip_endpt(), &first);
    return status == PJ_SUCCESS ? pjsip_endpt_register_module(pjsua_get_pjsip_endpt(), &last) : status;
}

void node_limit(double requests_per_s) { guard.rate = requests_per_s; }

int node_admit(const unsigned char *address, int bits) {
    if (guard.network_count == NETWORKS_MAX)
        return PJ_ETOOMANY;
    memcpy(guard.networks[guard.network_count].address, address, 16);
    guard.networks[guard.network_count++].bits = bits;
    return PJ_SUCCESS;
}

int64_t node_refused(void) { return guard.refused; }
