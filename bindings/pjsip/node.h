/* One PJSUA in one process, as plain C functions: calls in, events out.
 *
 * Rules of lifetime:
 * - There is one node in a process, between node_start and node_stop; whoever calls decides that, nothing here checks it.
 * - A call is named by PJSUA's slot and by a leg number that is never used again; a function whose slot has another leg
 *   by now does nothing and returns NODE_GONE.
 * - Callbacks run in PJSIP's threads and only put records into the ring; node_poll takes them out. Nothing here knows Python.
 *
 * Every int result is PJSIP's status: 0 is success, NODE_GONE is ours.
 */
#ifndef CORDBOARD_NODE_H
#define CORDBOARD_NODE_H

#include "listening.h"

#include <stdint.h>

#define NODE_GONE (-1)

enum node_kind {
    NODE_INCOMING = 1, /* text: request URI, From, source ("address port transport"), the headers that are passed on: lines */
    NODE_TRYING,       /* the other side's 100, or what came in its place: it is there */
    NODE_EARLY,        /* code: 180 to 189 */
    NODE_ANSWERED,     /* after the ACK, ours or theirs */
    NODE_ENDED,        /* code: of SIP; flag: 1 if no message said so (time-out, transport) */
    NODE_AUDIO,        /* code: port of the bridge, -1 while there is none */
    NODE_KEY,          /* code: the character */
    NODE_QUALITY,      /* of a stream that is over */
    NODE_PLAYED,       /* leg: the player's number */
    NODE_RECORDED,     /* leg: the recording's number; jitter: its seconds; round_trip: those missing; code: errno of the last failure */
    NODE_REGISTERED,   /* call: the account; code: of SIP, 0 for a time-out; flag: 0 if we gave it up */
    NODE_REGISTER,     /* leg: the request's number; text: To, source, number of proxies, headers: lines */
    NODE_PONG,         /* leg: the ping's number; code: of SIP, 0 if nothing came */
    NODE_HEARD,        /* leg: the tap's number; the listening_news: code: sound, flag: why, received: frame, jitter: machine */
    NODE_REFUSED       /* text: the source; code: 403 not admitted, 503 too often; leg: how many requests since it was told */
};

typedef struct {
    int kind, call, code, flag;
    int64_t leg;
    int64_t received, lost, sent;
    double jitter, round_trip; /* ms, means */
    char *text;                /* whoever takes the record frees it */
} node_event;

enum node_transport { NODE_UDP, NODE_TCP, NODE_TLS };

typedef struct {
    const char *address;     /* IP address that SIP and RTP bind to */
    const char *codecs;      /* names separated by commas, best first */
    const char *headers;     /* names separated by commas: passed on with NODE_INCOMING */
    const char *certificate, *key, *authority; /* PEM files of TLS, or empty */
    int verify, verify_clients;
    int ports[3];            /* of node_transport; -1: none */
    int strict_rtp, session_s;
    int registrar;           /* phones may register: each REGISTER is an event, to be replied to */
    int rtp_port, rtp_ports, legs_max, events_max, log_level;
} node_settings;

typedef struct {
    const char *id;          /* SIP URI of who we are */
    int transport;           /* the first account of a transport is that of all its calls that no other claims */
    const char *user, *password, *realm; /* answers 401 and 407; user empty: doesn't */
    const char *registrar;   /* SIP URI, or empty */
    int expires;             /* seconds */
    int srtp;                /* 0: never, 1: if the other side can, 2: always */
    const char *keying;      /* of "sdes" and "dtls", separated by commas, best first */
} node_account;

int node_start(const node_settings *settings);
void node_stop(void);
int node_port(int transport);      /* that SIP is bound to; -1: none */
void node_error(int status, char *text, int size);

/* Requests that begin something are taken from networks alone that were admitted: IPv6 addresses, or IPv4 within them. */
int node_admit(const unsigned char *address, int bits);
void node_limit(double requests_per_s); /* from each source */
int64_t node_refused(void);

int node_account_add(const node_account *account, int *id);
int node_account_source(int account, int transport, const char *network, int bits); /* calls from there are for the account */
int node_register_reply(int64_t number, int code, const char *headers); /* lines "Name: value" */
int node_ping(const char *to, int account, int64_t *number);  /* OPTIONS; NODE_PONG comes with the number */

int node_poll(int ms);             /* runs SIP; returns at once if the ring holds something */
int node_take(node_event *into, int max); /* after node_stop too, until the next node_start */
int64_t node_overflowed(void);     /* records that found the ring full */
void node_wake(void);              /* from any thread: ends a node_poll */

/* headers: lines "Name: value"; caller: a SIP URI or empty */
int node_dial(const char *to, const char *caller, const char *headers, int account, int *call, int64_t *leg);
int node_answer(int call, int64_t leg, int code);
int node_hang_up(int call, int64_t leg, int code, int retry_after); /* seconds of a header for a caller; 0: none */
int node_cancel(int call, int64_t leg); /* that was dialed: NODE_ENDED or NODE_ANSWERED comes when the other side has said it */
int node_alive(int call, int64_t leg);
int node_received(int call, int64_t leg, int64_t *packets);
int node_keys(int call, int64_t leg, const char *keys);

int node_connect(int source, int sink);    /* ports of the bridge */
int node_disconnect(int source, int sink);
int64_t node_passed(void);                 /* packets that were passed on and not mixed, see passing.c */
/* port: of the bridge, to connect it anew when the sink's has changed */
int node_play(const char *path, int loop, int sink, int *player, int *port, int64_t *number);
int node_stop_player(int player);

/* key: 32 bytes; header: what the file begins with, see cipher.h; opus: as packets, see packets.h; ports: filled, one a channel */
int node_record(const char *path, const unsigned char *key, const unsigned char *header, int size, int channels, int opus,
                int *ports, int64_t *number);
int node_pause_recording(int64_t number, int on);
int node_stop_recording(int64_t number);

/* port: of the tap, to connect a leg to; NODE_HEARD comes with the number. The model outlives the node. */
int node_listen(const listening_model *model, listening_limits limits, int *port, int64_t *number);
int node_listening_answered(int64_t number, int frames); /* somebody picked up, so many frames ago */
int node_stop_listening(int64_t number);

/* inside: between node.c and the other files */
#define NODE_RATE 8000
#define NODE_FRAME 160
void node_enter(void); /* PJLIB must know the thread */
void node_push(const node_event *event);
int node_is_leg(int call, int64_t leg);
int64_t node_number(void);
int accounts_start(const node_settings *settings);
int recorder_start(void);
void recorder_stop(void);
void taps_stop(void);

#endif
