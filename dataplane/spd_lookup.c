#include "dataplane/spd_walk.h"

#include <arpa/inet.h>
#include <string.h>

void spd_packet_set_v4(struct spd_packet *p, uint32_t src_be, uint32_t dst_be)
{
	p->family = 4;
	p->src[0] = (uint64_t)ntohl(src_be) << 32;
	p->dst[0] = (uint64_t)ntohl(dst_be) << 32;
	p->src[1] = p->dst[1] = 0;
}

static uint64_t load_be64(const uint8_t *b)
{
	uint64_t v;

	memcpy(&v, b, sizeof(v));
	return __builtin_bswap64(v);
}

void spd_packet_set_v6(struct spd_packet *p, const uint8_t src[16], const uint8_t dst[16])
{
	p->family = 6;
	p->src[0] = load_be64(src);
	p->src[1] = load_be64(src + 8);
	p->dst[0] = load_be64(dst);
	p->dst[1] = load_be64(dst + 8);
}

const struct spd_flow *spd_lookup(
	const struct spd *spd, uint8_t direction, const struct spd_packet *packet)
{
	const struct spd_table *t = spd_table_of(spd, direction, packet->family);

	return t == NULL ? NULL : spd_table_lookup(t, packet, NULL);
}

const struct spd_flow *spd_lookup_counted(const struct spd *spd, uint8_t direction,
	const struct spd_packet *packet, uint32_t *touches)
{
	const struct spd_table *t = spd_table_of(spd, direction, packet->family);

	*touches = 0;
	return t == NULL ? NULL : spd_table_lookup(t, packet, touches);
}

/* The classes of a cell in the order of the search, without the packet's ports. */
static bool pair_cell(const struct spd_table *t, const struct spd_cell *cell,
	const struct spd_packet *p, void *arg)
{
	uint32_t classes = atomic_load_explicit(&cell->classes, memory_order_acquire);
	bool *needs_ports = arg;

	for (uint32_t left = classes & ~1u; left != 0;) {
		unsigned class = 31 - __builtin_clz(left);
		struct spd_rest_key key = {.cell = cell, .proto = p->proto};

		left &= ~(1u << class);
		if (class != SPD_CLASS_PROTO || p->proto == 0) {
			*needs_ports = true;
			return true;
		}
		if (spd_hash_find(&t->rest, spd_rest_hash(t, &key), &key, spd_rest_equal, NULL) !=
			NULL)
			return true;
	}
	return classes & 1;
}

bool spd_pair_has_ports(const struct spd *spd, uint8_t direction, const struct spd_packet *packet)
{
	const struct spd_table *t = spd_table_of(spd, direction, packet->family);
	const uint32_t no_ports = packet->proto == 0 ? 1u : 1u | 1u << SPD_CLASS_PROTO;
	const struct spd_plan *plan;
	bool needs_ports = false;

	if (t == NULL || (atomic_load_explicit(&t->classes, memory_order_acquire) & ~no_ports) == 0)
		return false;
	plan = spd_plan_of(t);
	if (plan != NULL)
		spd_cells_walk(t, plan, packet, packet->family == 4, pair_cell, &needs_ports, NULL);
	return needs_ports;
}

void spd_flow_hit_prefetch(const struct spd *spd, const struct spd_flow *flow, uint32_t worker)
{
	const struct spd_counter *chunk;

	if (worker >= spd->config.n_workers)
		return;
	chunk = atomic_load_explicit(
		&spd->counters[worker][flow->id / SPD_COUNTER_CHUNK], memory_order_acquire);
	__builtin_prefetch(&chunk[flow->id % SPD_COUNTER_CHUNK], 1);
}

void spd_flow_hits(const struct spd *spd, const struct spd_flow *flow, uint32_t worker,
	uint32_t packets, uint32_t bytes)
{
	struct spd_counter *chunk, *c;

	if (worker >= spd->config.n_workers)
		return;
	chunk = atomic_load_explicit(
		&spd->counters[worker][flow->id / SPD_COUNTER_CHUNK], memory_order_acquire);
	c = &chunk[flow->id % SPD_COUNTER_CHUNK];
	atomic_store_explicit(&c->packets,
		atomic_load_explicit(&c->packets, memory_order_relaxed) + packets,
		memory_order_relaxed);
	atomic_store_explicit(&c->bytes,
		atomic_load_explicit(&c->bytes, memory_order_relaxed) + bytes,
		memory_order_relaxed);
}

uint64_t spd_version(const struct spd *spd)
{
	return atomic_load_explicit(&spd->version, memory_order_acquire);
}
