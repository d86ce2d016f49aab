#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/addr.h"

struct nexthop;

enum { /* path.flags; the numbers of ipc_path.flags */
	PATH_UDP = 1 << 0,
	PATH_PEER_NATTED = 1 << 1,
	PATH_KEEPALIVE = 1 << 2,
};

#define PATH_HDR_MAX 48 /* IPv6 and UDP */

/*
 * The addresses that all SAs of an IKE SA share. Addresses, flags and the header made from them
 * never change in an object: to move the SAs, main makes a new path, stores it into each SA
 * (sa_set_path) and frees the old one after a grace period, so that a worker sees either the
 * old or the new one whole. mtu and nexthop change in place: one aligned store each.
 */
struct path {
	/* Outer IPv4/IPv6 header and UDP header, lengths, TOS, TTL, id and checksum still 0. */
	uint8_t hdr[PATH_HDR_MAX];
	uint8_t hdr_len;      /* 20, 28, 40 or 48 */
	uint8_t ip_len;       /* 20 or 40 */
	uint8_t family;       /* outer, 4 or 6 */
	uint8_t flags;        /* PATH_* */
	_Atomic uint16_t mtu; /* outer, bytes; main writes */
	uint16_t hdr_sum;     /* IPv4: one's complement sum of hdr's words, as they lie there */
	struct nexthop *_Atomic nexthop; /* NULL: not known; main writes */

	struct endpoint local, remote;
	struct ip_addr old_local;   /* after a move: packets under way to it are still taken */
	uint64_t handle;            /* the owner's */
	_Atomic uint32_t last_tx_s; /* for keepalives; the owner workers write */
	void *user;                 /* main's */
};

/* Fills a path in memory of the caller (aligned to 64); 0, or -1 if the families differ. */
int path_init(struct path *p, const struct endpoint *local, const struct endpoint *remote,
	uint32_t flags, uint16_t mtu) __attribute__((warn_unused_result));
/* Allocated with path_init's arguments; NULL without memory or when they are wrong. */
struct path *path_create(
	const struct endpoint *local, const struct endpoint *remote, uint32_t flags, uint16_t mtu);
void path_destroy(struct path *p);
