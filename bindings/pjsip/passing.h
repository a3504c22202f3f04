/* Legs whose audio is passed on packet by packet: see passing.c. */
#ifndef CORDBOARD_PASSING_H
#define CORDBOARD_PASSING_H

#include <pjsua-lib/pjsua.h>

int passing_start(void);
/* Callbacks of PJSUA. */
pjmedia_transport *passing_wrap(pjsua_call_id call, unsigned index, pjmedia_transport *below, unsigned flags);
void passing_changed(const pjmedia_conf_op_info *info);

void passing_port(pjsua_call_id call, int port); /* the audio of the call has this port of the bridge */
void passing_rest(pjsua_call_id call);           /* it is to be mixed for a while: something is sent to it beside audio */

#endif
