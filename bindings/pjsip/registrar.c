/* REGISTER of phones: a module of PJSIP that hands each request to whoever polls, and sends what is decided there. See
 * node.h. PJSIP parses and keeps the transaction, so that what is sent twice is answered twice and decided once. */
#include "registrar.h"
#include "node.h"

#include <pjsip.h>
#include <pjsua-lib/pjsua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PENDING_MAX 64 /* undecided; beyond, a phone hears 503 and comes back */
#define PENDING_S 10
#define TEXT_MAX 8192

static struct {
    int64_t number; /* 0: free */
    pj_time_val since;
    pjsip_rx_data *request;
    pjsip_transaction *tsx;
} pending[PENDING_MAX];

static void forget(int i) {
    pending[i].number = 0;
    pjsip_rx_data_free_cloned(pending[i].request);
}

static void on_tsx_state(pjsip_transaction *tsx, pjsip_event *event) {
    PJ_UNUSED_ARG(event);
    for (int i = 0; i < PENDING_MAX && tsx->state >= PJSIP_TSX_STATE_TERMINATED; i++)
        if (pending[i].number && pending[i].tsx == tsx)
            forget(i);
}

static int free_slot(void) {
    pj_time_val now;
    pj_gettickcount(&now);
    for (int i = 0; i < PENDING_MAX; i++) {
        if (pending[i].number && now.sec - pending[i].since.sec > PENDING_S)
            pjsip_tsx_terminate(pending[i].tsx, PJSIP_SC_SERVER_TIMEOUT); /* forgotten by whoever decides; frees the slot */
        if (!pending[i].number) {
            pending[i].since = now;
            return i;
        }
    }
    return -1;
}

/* To, source, how many proxies; then the headers that matter, line by line. NULL if there is no memory or no room. */
static char *describe(pjsip_rx_data *rdata) {
    static const char *names[] = {"Expires", "Authorization", "Contact"};
    char *text = malloc(TEXT_MAX);
    int used = 0, size, vias = 0;
    pjsip_hdr *header;
    if (!text)
        return NULL;
    for (header = rdata->msg_info.msg->hdr.next; header != &rdata->msg_info.msg->hdr; header = header->next)
        vias += header->type == PJSIP_H_VIA;
    size = pjsip_uri_print(PJSIP_URI_IN_FROMTO_HDR, pjsip_uri_get_uri(rdata->msg_info.to->uri), text, TEXT_MAX / 2);
    if (size < 0)
        goto too_long;
    used = size + snprintf(text + size, TEXT_MAX / 4, "\n%s %d %s\n%d\n", rdata->pkt_info.src_name, rdata->pkt_info.src_port,
                           rdata->tp_info.transport->type_name, vias - 1);
    for (header = rdata->msg_info.msg->hdr.next; header != &rdata->msg_info.msg->hdr; header = header->next)
        for (int i = 0; i < 3; i++)
            if (pj_stricmp2(&header->name, names[i]) == 0) {
                if (used > TEXT_MAX - 3)
                    goto too_long;
                size = pjsip_hdr_print_on(header, text + used, (pj_size_t)(TEXT_MAX - used - 2));
                if (size < 0)
                    goto too_long;
                used += size;
                text[used++] = '\n';
            }
    text[used] = 0;
    return text;
too_long:
    free(text);
    return NULL;
}

static pj_bool_t on_rx_request(pjsip_rx_data *rdata);

static pjsip_module module = {
    NULL, NULL, {"mod-cordboard-registrar", 23}, -1, PJSIP_MOD_PRIORITY_APPLICATION, NULL, NULL, NULL, NULL,
    &on_rx_request, NULL, NULL, NULL, &on_tsx_state,
};

static pj_bool_t on_rx_request(pjsip_rx_data *rdata) {
    node_event event = {.kind = NODE_REGISTER};
    int i;
    if (rdata->msg_info.msg->line.req.method.id != PJSIP_REGISTER_METHOD)
        return PJ_FALSE;
    i = free_slot();
    event.text = i < 0 ? NULL : describe(rdata);
    if (!event.text || pjsip_rx_data_clone(rdata, 0, &pending[i].request) != PJ_SUCCESS) {
        free(event.text);
        pjsip_endpt_respond_stateless(pjsua_get_pjsip_endpt(), rdata, i < 0 ? 503 : 400, NULL, NULL, NULL);
        return PJ_TRUE;
    }
    if (pjsip_tsx_create_uas2(&module, rdata, NULL, &pending[i].tsx) != PJ_SUCCESS) {
        pjsip_rx_data_free_cloned(pending[i].request);
        free(event.text);
        return PJ_TRUE;
    }
    event.leg = pending[i].number = node_number();
    pjsip_tsx_recv_msg(pending[i].tsx, rdata);
    node_push(&event);
    return PJ_TRUE;
}

int node_register_reply(int64_t number, int code, const char *headers) {
    pjsip_tx_data *response;
    int i = 0;
    node_enter();
    while (i < PENDING_MAX && pending[i].number != number)
        i++;
    if (i == PENDING_MAX || !number)
        return NODE_GONE;
    int status = pjsip_endpt_create_response(pjsua_get_pjsip_endpt(), pending[i].request, code, NULL, &response);
    if (status == PJ_SUCCESS) {
        pjsip_transaction *tsx = pending[i].tsx;
        node_add_headers(response->pool, &response->msg->hdr, headers);
        forget(i); /* before the transaction ends, which it may within the next call */
        status = pjsip_tsx_send_msg(tsx, response);
        if (status != PJ_SUCCESS)
            pjsip_tx_data_dec_ref(response);
    }
    return status;
}

int registrar_start(void) {
    memset(pending, 0, sizeof(pending));
    module.id = -1;
    return pjsip_endpt_register_module(pjsua_get_pjsip_endpt(), &module);
}
