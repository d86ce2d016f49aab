#pragma once

#include "dataplane/spd.h"

/*
 * The SPD as a list that is searched from end to end: nothing shared with dataplane/spd*.c but
 * the types, and slow enough to be obvious.
 */
struct reference_flow {
	spd_owner_t owner;
	struct ipc_flow flow;
	uint64_t registration;
};

struct reference {
	struct reference_flow *flows;
	uint32_t n, cap;
	uint64_t next_registration;
};

void reference_add(struct reference *r, spd_owner_t owner, const struct ipc_flow *flow);
void reference_delete(struct reference *r, spd_owner_t owner, uint64_t handle);
void reference_fini(struct reference *r);

struct reference_packet {
	uint8_t direction, proto;
	struct ip_addr src, dst;
	uint16_t src_port, dst_port;
};
/* NULL: no flow matches. */
const struct reference_flow *reference_lookup(
	const struct reference *r, const struct reference_packet *p);
