/* How a call ends because we want it to. See node.h. */
#include "node.h"

#include <pjsua-lib/pjsua.h>
#include <pjsua-lib/pjsua_internal.h>
#include <stdio.h>

int node_hang_up(int call, int64_t leg, int code, int retry_after) {
    pjsua_msg_data data;
    pjsip_generic_string_hdr header;
    char seconds[16];
    pj_str_t name = {"Retry-After", 11}, value = {seconds, snprintf(seconds, sizeof(seconds), "%d", retry_after)};
    if (!node_is_leg(call, leg))
        return NODE_GONE;
    pjsua_msg_data_init(&data);
    if (retry_after > 0) {
        pjsip_generic_string_hdr_init2(&header, &name, &value);
        pj_list_push_back(&data.hdr_list, &header);
    }
    return pjsua_call_hangup(call, (unsigned)code, NULL, &data);
}

/* PJSUA alone would forget the call before the other side has said how it ended. */
int node_cancel(int call, int64_t leg) {
    pjsua_call *found;
    pjsip_dialog *dialog;
    pjsip_tx_data *cancel = NULL;
    if (!node_is_leg(call, leg))
        return NODE_GONE;
    int status = acquire_call("node_cancel", call, &found, &dialog);
    if (status != PJ_SUCCESS)
        return status;
    if (found->inv && found->inv->role == PJSIP_ROLE_UAC && found->inv->state < PJSIP_INV_STATE_CONNECTING) {
        status = pjsip_inv_end_session(found->inv, PJSIP_SC_REQUEST_TERMINATED, NULL, &cancel);
        if (status == PJ_SUCCESS && cancel)
            status = pjsip_inv_send_msg(found->inv, cancel);
    }
    pjsip_dlg_dec_lock(dialog);
    return status;
}
