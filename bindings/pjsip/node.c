/* See node.h. */
#define _GNU_SOURCE
#include "node.h"
#include "accounts.h"
#include "guard.h"
#include "passing.h"
#include "registrar.h"
#include "stream.h"
#include "visitors.h"

#include <pjsua-lib/pjsua.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TEXT_MAX 8192
#define KEYS "0123456789*#ABCDabcd"
#define HEADERS_MAX 16
#define CODECS_MAX 64

static struct {
    pthread_mutex_t mutex; /* of the ring alone */
    node_event *ring;
    unsigned capacity, head, count;
    int64_t overflowed;
    int64_t numbers;
    int sleeping; /* a thread is in node_poll, or about to be */
    pthread_t poller;
    int bell; /* our end of the pair that ends a poll */
    pj_ioqueue_key_t *bell_key;
    pj_ioqueue_op_key_t bell_read;
    char bell_bytes[64];
    pj_pool_t *pool;
    int strict_rtp;
    char headers[HEADERS_MAX][64];
    int header_count;
} node = {.mutex = PTHREAD_MUTEX_INITIALIZER, .bell = -1};

/* ---- the ring */

int64_t node_number(void) { return __atomic_add_fetch(&node.numbers, 1, __ATOMIC_RELAXED); }

int64_t node_overflowed(void) { return __atomic_load_n(&node.overflowed, __ATOMIC_RELAXED); }

void node_wake(void) {
    char byte = 0;
    ssize_t sent = send(node.bell, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent; /* a full bell rings already */
}

void node_push(const node_event *event) {
    int ring_bell = 0;
    pthread_mutex_lock(&node.mutex);
    if (node.count == node.capacity) {
        __atomic_add_fetch(&node.overflowed, 1, __ATOMIC_RELAXED);
        free(event->text);
    } else {
        node.ring[(node.head + node.count++) % node.capacity] = *event;
        ring_bell = node.sleeping && !pthread_equal(pthread_self(), node.poller);
        if (ring_bell)
            node.sleeping = 0; /* once is enough */
    }
    pthread_mutex_unlock(&node.mutex);
    if (ring_bell)
        node_wake();
}

int node_take(node_event *into, int max) {
    int taken = 0;
    pthread_mutex_lock(&node.mutex);
    while (taken < max && node.count > 0) {
        into[taken++] = node.ring[node.head];
        node.head = (node.head + 1) % node.capacity;
        node.count--;
    }
    pthread_mutex_unlock(&node.mutex);
    return taken;
}

static void on_bell(pj_ioqueue_key_t *key, pj_ioqueue_op_key_t *op, pj_ssize_t bytes) {
    pj_ssize_t size = sizeof(node.bell_bytes);
    PJ_UNUSED_ARG(bytes);
    pj_ioqueue_recv(key, op, node.bell_bytes, &size, PJ_IOQUEUE_ALWAYS_ASYNC);
}

static pj_status_t hang_bell(void) {
    int pair[2];
    pj_ioqueue_callback callback = {.on_read_complete = &on_bell};
    pj_status_t status;
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) != 0)
        return PJ_STATUS_FROM_OS(errno);
    node.bell = pair[0];
    status = pj_ioqueue_register_sock(node.pool, pjsip_endpt_get_ioqueue(pjsua_get_pjsip_endpt()), pair[1], NULL,
                                      &callback, &node.bell_key);
    if (status != PJ_SUCCESS) {
        close(pair[1]);
        return status;
    }
    pj_ioqueue_op_key_init(&node.bell_read, sizeof(node.bell_read));
    on_bell(node.bell_key, &node.bell_read, 0);
    return PJ_SUCCESS;
}

/* Python's threads come as they are: PJLIB must know each before it calls. */
void node_enter(void) {
    static _Thread_local pj_thread_desc description;
    pj_thread_t *thread;
    if (!pj_thread_is_registered()) {
        pj_bzero(description, sizeof(description));
        pj_thread_register("caller", description, &thread);
    }
}

int node_poll(int ms) {
    int waiting;
    node_enter();
    pthread_mutex_lock(&node.mutex);
    waiting = node.count > 0;
    node.poller = pthread_self();
    node.sleeping = !waiting;
    pthread_mutex_unlock(&node.mutex);
    int handled = pjsua_handle_events(waiting ? 0 : (unsigned)ms);
    visitors_look();
    pthread_mutex_lock(&node.mutex);
    node.sleeping = 0;
    pthread_mutex_unlock(&node.mutex);
    return handled < 0 ? -handled : 0;
}

/* ---- callbacks of PJSUA: any of its threads */

static int64_t leg_of(pjsua_call_id call) { return (int64_t)(intptr_t)pjsua_call_get_user_data(call); }

static int append(char *text, int used, const char *what, int size) {
    if (size < 0 || used + size + 1 >= TEXT_MAX)
        return used;
    memcpy(text + used, what, (size_t)size);
    used += size;
    text[used++] = '\n';
    return used;
}

static int append_uri(char *text, int used, pjsip_uri_context_e context, const void *uri) {
    char part[1024];
    int size = uri ? pjsip_uri_print(context, uri, part, sizeof(part)) : 0;
    return append(text, used, part, size < 0 ? 0 : size);
}

/* What Incoming tells, as lines; NULL if there is no memory. Header values hold no line breaks: PJSIP unfolds them. */
static char *describe(pjsip_rx_data *rdata) {
    char part[2048], *text = malloc(TEXT_MAX);
    int used = 0;
    pjsip_msg *msg = rdata->msg_info.msg;
    if (!text)
        return NULL;
    used = append_uri(text, used, PJSIP_URI_IN_REQ_URI, msg->line.req.uri);
    used = append_uri(text, used, PJSIP_URI_IN_FROMTO_HDR, rdata->msg_info.from ? rdata->msg_info.from->uri : NULL);
    used = append(text, used, part, snprintf(part, sizeof(part), "%s %d %s", rdata->pkt_info.src_name,
                                             rdata->pkt_info.src_port, rdata->tp_info.transport->type_name));
    for (int i = 0; i < node.header_count; i++) {
        pj_str_t name = pj_str(node.headers[i]);
        pjsip_hdr *header = NULL;
        while ((header = pjsip_msg_find_hdr_by_name(msg, &name, header ? header->next : NULL)) != NULL) {
            used = append(text, used, part, pjsip_hdr_print_on(header, part, sizeof(part)));
            if (header->next == &msg->hdr)
                break;
        }
    }
    text[used] = 0;
    return text;
}

static void on_incoming_call(pjsua_acc_id account, pjsua_call_id call, pjsip_rx_data *rdata) {
    node_event event = {.kind = NODE_INCOMING, .call = call, .leg = node_number()};
    PJ_UNUSED_ARG(account);
    pjsua_call_set_user_data(call, (void *)(intptr_t)event.leg);
    event.text = describe(rdata);
    node_push(&event);
}

static void on_call_state(pjsua_call_id call, pjsip_event *e) {
    pjsua_call_info info;
    node_event event = {.call = call, .leg = leg_of(call)};
    if (pjsua_call_get_info(call, &info) != PJ_SUCCESS)
        return; /* the watchdog finds it */
    event.code = (int)info.last_status;
    if (info.state == PJSIP_INV_STATE_EARLY && info.role == PJSIP_ROLE_UAC)
        event.kind = NODE_EARLY;
    else if (info.state == PJSIP_INV_STATE_CONFIRMED)
        event.kind = NODE_ANSWERED;
    else if (info.state == PJSIP_INV_STATE_DISCONNECTED) {
        event.kind = NODE_ENDED;
        event.flag = e && e->type == PJSIP_EVENT_TSX_STATE &&
                     (e->body.tsx_state.type == PJSIP_EVENT_TIMER || e->body.tsx_state.type == PJSIP_EVENT_TRANSPORT_ERROR);
    } else
        return;
    node_push(&event);
}

/* A 100 changes no state: it tells that somebody is there. */
static void on_call_tsx_state(pjsua_call_id call, pjsip_transaction *tsx, pjsip_event *e) {
    node_event event = {.kind = NODE_TRYING, .call = call, .leg = leg_of(call)};
    if (tsx->role == PJSIP_ROLE_UAC && tsx->method.id == PJSIP_INVITE_METHOD && tsx->state == PJSIP_TSX_STATE_PROCEEDING &&
        tsx->status_code == 100 && e->body.tsx_state.type == PJSIP_EVENT_RX_MSG)
        node_push(&event);
}

/* Left alone, PJSUA would call whomever a REFER names, or give a call to whoever knows its Call-ID. */
static void on_call_transfer_request(pjsua_call_id call, const pj_str_t *target, pjsip_status_code *code,
                                     pjsua_call_setting *setting) {
    (void)call, (void)target, (void)setting;
    *code = PJSIP_SC_FORBIDDEN;
}

static void on_call_replace_request(pjsua_call_id call, pjsip_rx_data *rdata, int *code, pj_str_t *text, pjsua_call_setting *setting) {
    (void)call, (void)rdata, (void)text, (void)setting;
    *code = PJSIP_SC_FORBIDDEN;
}

static void on_stream_created(pjsua_call_id call, pjsua_on_stream_created_param *param) {
    if (node.strict_rtp)
        accounts_strict_rtp(call, param->stream);
}

static void on_call_media_state(pjsua_call_id call) {
    pjsua_call_info info;
    node_event event = {.kind = NODE_AUDIO, .call = call, .code = -1, .leg = leg_of(call)};
    if (pjsua_call_get_info(call, &info) != PJ_SUCCESS)
        return;
    if (info.media_cnt > 0 && info.media[0].type == PJMEDIA_TYPE_AUDIO &&
        info.media[0].status != PJSUA_CALL_MEDIA_NONE && info.media[0].status != PJSUA_CALL_MEDIA_ERROR)
        event.code = info.media[0].stream.aud.conf_slot;
    passing_port(call, event.code);
    node_push(&event);
    if (info.state == PJSIP_INV_STATE_EARLY && info.role == PJSIP_ROLE_UAC) { /* told again, now that there is audio */
        event.kind = NODE_EARLY;
        event.code = (int)info.last_status;
        node_push(&event);
    }
}

static void on_stream_destroyed(pjsua_call_id call, pjmedia_stream *stream, unsigned index) {
    pjmedia_rtcp_stat stat;
    node_event event = {.kind = NODE_QUALITY, .call = call, .leg = leg_of(call)};
    PJ_UNUSED_ARG(index);
    if (pjmedia_stream_get_stat(stream, &stat) != PJ_SUCCESS)
        return;
    event.received = stat.rx.pkt;
    event.lost = stat.rx.loss;
    event.sent = stat.tx.pkt;
    event.jitter = stat.rx.jitter.mean / 1000.0;
    event.round_trip = stat.rtt.mean / 1000.0;
    node_push(&event);
}

static void on_dtmf_digit2(pjsua_call_id call, const pjsua_dtmf_info *info) {
    node_event event = {.kind = NODE_KEY, .call = call, .code = (int)info->digit, .leg = leg_of(call)};
    if (memchr(KEYS, event.code, sizeof(KEYS) - 1) && event.code > 0) /* by INFO anything comes; a hook flash is no key */
        node_push(&event);
}

static void on_player_end(pjmedia_port *port, void *number) {
    node_event event = {.kind = NODE_PLAYED, .leg = (int64_t)(intptr_t)number};
    PJ_UNUSED_ARG(port);
    node_push(&event);
}

static void write_log(int level, const char *data, int size) {
    PJ_UNUSED_ARG(level);
    ssize_t written = write(STDERR_FILENO, data, (size_t)size);
    (void)written;
}

/* ---- start and stop */

static void choose_codecs(const char *names) {
    pjsua_codec_info all[CODECS_MAX];
    unsigned count = CODECS_MAX, priority = 255;
    char name[32];
    if (pjsua_enum_codecs(all, &count) != PJ_SUCCESS)
        return;
    for (unsigned i = 0; i < count; i++)
        pjsua_codec_set_priority(&all[i].codec_id, 0);
    for (const char *at = names; *at;) {
        size_t size = strcspn(at, ",");
        if (size < sizeof(name)) {
            memcpy(name, at, size);
            name[size] = 0;
            pj_str_t id = pj_str(name);
            pjsua_codec_set_priority(&id, (pj_uint8_t)priority--);
        }
        at += size + (at[size] == ',');
    }
}

static void keep_header_names(const char *names) {
    node.header_count = 0;
    for (const char *at = names; *at && node.header_count < HEADERS_MAX;) {
        size_t size = strcspn(at, ",");
        if (size > 0 && size < sizeof(node.headers[0])) {
            memcpy(node.headers[node.header_count], at, size);
            node.headers[node.header_count++][size] = 0;
        }
        at += size + (at[size] == ',');
    }
}

static pj_status_t start_library(const node_settings *settings) {
    pjsua_config ua;
    pjsua_logging_config log;
    pjsua_media_config media;
    pjsua_config_default(&ua);
    ua.max_calls = (unsigned)settings->legs_max;
    ua.thread_cnt = 0;
    ua.user_agent = pj_str("cordboard");
    ua.cb.on_incoming_call = &on_incoming_call;
    ua.cb.on_call_state = &on_call_state;
    ua.cb.on_call_tsx_state = &on_call_tsx_state;
    ua.cb.on_acc_find_for_incoming = &accounts_choose;
    ua.cb.on_reg_state2 = &accounts_registered;
    ua.cb.on_call_transfer_request2 = &on_call_transfer_request;
    ua.cb.on_call_replace_request2 = &on_call_replace_request;
    ua.cb.on_transport_state = &visitors_changed;
    ua.cb.on_create_media_transport = &passing_wrap;
    ua.cb.on_conf_op_completed = &passing_changed;
    ua.cb.on_stream_created2 = &on_stream_created;
    ua.cb.on_call_media_state = &on_call_media_state;
    ua.cb.on_stream_destroyed = &on_stream_destroyed;
    ua.cb.on_dtmf_digit2 = &on_dtmf_digit2;
    pjsua_logging_config_default(&log);
    log.level = (unsigned)settings->log_level;
    log.console_level = log.level;
    log.msg_logging = settings->log_level >= 5;
    log.cb = &write_log;
    pjsua_media_config_default(&media);
    media.clock_rate = NODE_RATE;
    media.snd_clock_rate = NODE_RATE;
    media.channel_count = 1;
    media.audio_frame_ptime = 1000 * NODE_FRAME / NODE_RATE;
    media.ptime = media.audio_frame_ptime;
    media.no_vad = PJ_TRUE;
    media.ec_tail_len = 0;
    media.snd_auto_close_time = -1;
    media.max_media_ports = PJ_MIN(PJSUA_MAX_CONF_PORTS, 4 * ua.max_calls + 64); /* legs, players, recorders */
    return pjsua_init(&ua, &log, &media);
}

int node_start(const node_settings *settings) {
    pj_status_t status;
    node_event left;
    while (node_take(&left, 1) == 1)
        free(left.text);
    free(node.ring);
    node.head = 0; /* the next ring may be smaller */
    node.capacity = (unsigned)settings->events_max;
    node.overflowed = 0;
    node.ring = calloc(node.capacity, sizeof(node_event));
    if (!node.ring)
        return PJ_ENOMEM;
    keep_header_names(settings->headers);
    node.strict_rtp = settings->strict_rtp;
    pj_log_set_level(settings->log_level);
    if ((status = pjsua_create()) != PJ_SUCCESS)
        return status;
    pjsip_cfg()->endpt.disable_tcp_switch = PJ_TRUE;
    if ((status = start_library(settings)) != PJ_SUCCESS)
        return status;
    choose_codecs(settings->codecs);
    if (settings->registrar && (status = registrar_start()) != PJ_SUCCESS)
        return status;
    node.pool = pjsua_pool_create("node", 512, 512);
    visitors_start();
    if ((status = guard_start()) != PJ_SUCCESS || (status = accounts_start(settings)) != PJ_SUCCESS)
        return status;
    if ((status = pjsua_start()) != PJ_SUCCESS || (status = pjsua_set_null_snd_dev()) != PJ_SUCCESS)
        return status;
    if ((status = passing_start()) != PJ_SUCCESS || (status = hang_bell()) != PJ_SUCCESS)
        return status;
    return recorder_start();
}

void node_stop(void) {
    node_enter();
    recorder_stop();
    taps_stop();
    streams_stop();
    if (node.bell_key) {
        pj_ioqueue_unregister(node.bell_key); /* closes its end */
        node.bell_key = NULL;
    }
    if (node.pool) {
        pj_pool_release(node.pool);
        node.pool = NULL;
    }
    pjsua_destroy2(PJSUA_DESTROY_NO_RX_MSG);
    if (node.bell >= 0)
        close(node.bell);
    node.bell = -1;
}

void node_error(int status, char *text, int size) {
    if (status == NODE_GONE)
        strncpy(text, "the call is over", (size_t)size - 1);
    else
        pj_strerror(status, text, (pj_size_t)size);
    text[size - 1] = 0;
}

/* ---- calls */

int node_is_leg(int call, int64_t leg) {
    node_enter();
    return call >= 0 && call < (int)pjsua_call_get_max_count() && leg_of(call) == leg;
}

void node_add_headers(pj_pool_t *pool, pjsip_hdr *list, const char *lines) {
    for (const char *at = lines; *at;) {
        size_t size = strcspn(at, "\n"), name = strcspn(at, ":");
        pj_str_t key = {(char *)at, (pj_ssize_t)name};
        pj_str_t value = {(char *)at + name + 1, (pj_ssize_t)(size - name - 1)};
        pj_list_push_back(list, pjsip_generic_string_hdr_create(pool, &key, &value));
        at += size + (at[size] == '\n');
    }
}

int node_dial(const char *to, const char *caller, const char *headers, int account, int *call, int64_t *leg) {
    pjsua_msg_data data;
    pjsua_call_setting setting;
    pjsua_call_id id = PJSUA_INVALID_ID;
    pj_str_t named = pj_str((char *)to);
    node_enter();
    pj_pool_t *pool = pjsua_pool_create("dial", 1024, 1024);
    if (!pool)
        return PJ_ENOMEM;
    pjsua_msg_data_init(&data);
    data.local_uri = pj_str((char *)caller);
    node_add_headers(pool, (pjsip_hdr *)&data.hdr_list, headers);
    pjsua_call_setting_default(&setting);
    setting.vid_cnt = 0;
    setting.txt_cnt = 0; /* PJSUA would offer real-time text, too */
    *leg = node_number();
    int status = pjsua_call_make_call(account, &named, &setting, (void *)(intptr_t)*leg, &data, &id);
    *call = id;
    pj_pool_release(pool);
    return status;
}

int node_answer(int call, int64_t leg, int code) {
    return node_is_leg(call, leg) ? pjsua_call_answer(call, (unsigned)code, NULL, NULL) : NODE_GONE;
}

int node_alive(int call, int64_t leg) { return node_is_leg(call, leg) && pjsua_call_is_active(call); }

int node_received(int call, int64_t leg, int64_t *packets) {
    pjsua_stream_stat stat;
    int status = node_is_leg(call, leg) ? pjsua_call_get_stream_stat(call, 0, &stat) : NODE_GONE;
    if (status == PJ_SUCCESS)
        *packets = stat.rtcp.rx.pkt;
    return status;
}

int node_keys(int call, int64_t leg, const char *keys) {
    pjsua_call_send_dtmf_param param;
    pj_str_t digits = pj_str((char *)keys);
    if (!node_is_leg(call, leg))
        return NODE_GONE;
    passing_rest(call);
    int status = pjsua_call_dial_dtmf(call, &digits);
    if (status == PJ_SUCCESS)
        return status;
    pjsua_call_send_dtmf_param_default(&param); /* a peer that knows no telephone events gets INFO */
    param.method = PJSUA_DTMF_METHOD_SIP_INFO;
    param.digits = digits;
    return pjsua_call_send_dtmf(call, &param);
}

/* ---- audio */

int node_connect(int source, int sink) {
    node_enter();
    return pjsua_conf_connect(source, sink);
}

int node_disconnect(int source, int sink) {
    node_enter();
    return pjsua_conf_disconnect(source, sink);
}

int node_play(const char *path, int loop, int sink, int *player, int *port, int64_t *number) {
    pjmedia_port *media;
    pj_str_t name = pj_str((char *)path);
    node_enter();
    int status = pjsua_player_create(&name, loop ? 0 : PJMEDIA_FILE_NO_LOOP, player);
    if (status != PJ_SUCCESS)
        return status;
    *number = node_number();
    status = pjsua_player_get_port(*player, &media);
    if (status == PJ_SUCCESS && !loop)
        status = pjmedia_wav_player_set_eof_cb2(media, (void *)(intptr_t)*number, &on_player_end);
    *port = pjsua_player_get_conf_port(*player);
    if (status == PJ_SUCCESS)
        status = pjsua_conf_connect(*port, sink);
    if (status != PJ_SUCCESS)
        pjsua_player_destroy(*player);
    return status;
}

int node_stop_player(int player) {
    node_enter();
    return pjsua_player_destroy(player);
}
