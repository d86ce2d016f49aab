#pragma once

#include <stdint.h>

#include "dataplane/spd.h"

/* Sets of flows, by how a gateway comes to them; flow i of a set is always the same. */
struct shape {
	const char *name, *text;
	/* Packets in the order of the search match it by their addresses. */
	struct ipc_flow (*flow)(uint32_t i, uint32_t n);
	uint32_t max; /* flows there are */
};

extern const struct shape shapes[];
extern const unsigned n_shapes;

/* A packet that flow i of n matches (a more specific one of the set may come first). */
struct spd_packet shape_packet(const struct shape *s, uint32_t i, uint32_t n, uint64_t *random);
