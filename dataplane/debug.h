#pragma once

#include <stddef.h>

/*
 * The debug socket (ipc/debug.h): trace, capture and lists for people, served by main. Nothing
 * is traced or copied while nobody asks.
 */
struct debug;
struct espd;
struct rte_mbuf;

/* NULL with a text in err. */
struct debug *debug_create(struct espd *e, char *err, size_t cap);
void debug_destroy(struct debug *d);
/* A trace text or a captured packet from a worker; the buffer stays the caller's. */
void debug_packet(struct debug *d, struct rte_mbuf *m);
