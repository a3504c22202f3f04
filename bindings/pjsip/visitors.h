/* visitors.c: what node.c and guard.c need of it. */
#ifndef CORDBOARD_VISITORS_H
#define CORDBOARD_VISITORS_H

#include <pjsua-lib/pjsua.h>

void visitors_start(void);
void visitors_changed(pjsip_transport *transport, pjsip_transport_state state, const pjsip_transport_state_info *info);
void visitors_welcome(const pjsip_transport *transport); /* something came on it that was let in */
void visitors_look(void);                                /* now and then */

#endif
