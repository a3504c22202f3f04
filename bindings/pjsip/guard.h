/* guard.c: what node.c needs of it. */
#ifndef CORDBOARD_GUARD_H
#define CORDBOARD_GUARD_H

#include <pjsua-lib/pjsua.h>

enum { GUARD_SILENT = 408 }; /* why a connection was ended, as a code of SIP */

int guard_start(void); /* after pjsua_init; nobody is admitted yet */
void guard_tell(const pj_sockaddr *source, int code); /* that it was turned away */

#endif
