/* registrar.c: what node.c needs of it, and it of node.c. */
#ifndef CORDBOARD_REGISTRAR_H
#define CORDBOARD_REGISTRAR_H

#include <pjsip.h>

int registrar_start(void);
void node_add_headers(pj_pool_t *pool, pjsip_hdr *list, const char *lines); /* lines "Name: value" */

#endif
