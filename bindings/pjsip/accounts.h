/* accounts.c: callbacks for PJSUA, which node.c hands over. */
#ifndef CORDBOARD_ACCOUNTS_H
#define CORDBOARD_ACCOUNTS_H

#include <pjsua-lib/pjsua.h>

void accounts_choose(const pjsip_rx_data *rdata, pjsua_acc_id *account); /* for a call that comes in */
void accounts_registered(pjsua_acc_id account, pjsua_reg_info *info);
void accounts_strict_rtp(pjsua_call_id call, pjmedia_stream *stream); /* a stream that has begun */

#endif
