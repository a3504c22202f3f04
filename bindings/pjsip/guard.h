/* guard.c: what node.c needs of it. */
#ifndef CORDBOARD_GUARD_H
#define CORDBOARD_GUARD_H

#include <pjsua-lib/pjsua.h>

int guard_start(void); /* after pjsua_init; nobody is admitted yet */

#endif
