#include <string.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"
#include "ipc/spi.h"

/* Commands for espd, made from our objects. Nothing is sent while it is away: at its return
 * all is pushed again (restore.c). */

static struct ike_command *command_add(
	struct ike_engine *engine, enum ipc_cmd_type type, size_t body_len)
{
	if (!engine->is_attached)
		return NULL;
	struct ike_action *action = ike_action_add(engine->out, IKE_ACT_COMMAND);

	if (!action)
		return NULL;
	action->command.header.type = type;
	action->command.header.number = ++engine->next_command;
	action->command.body_len = body_len;
	return &action->command;
}

static uint64_t ref_command(struct ike_engine *engine, enum ipc_cmd_type type, uint64_t handle)
{
	struct ike_command *c = command_add(engine, type, sizeof(struct ipc_ref));

	if (!c)
		return 0;
	c->body.ref = (struct ipc_ref){.handle = handle, .generation = 1};
	return c->header.number;
}

uint64_t espd_simple(struct ike_engine *engine, enum ipc_cmd_type type)
{
	struct ike_command *c = command_add(engine, type, 0);

	return c ? c->header.number : 0;
}

uint64_t espd_path_set(struct ike_engine *engine, const struct ike_sa *sa)
{
	struct ike_command *c = command_add(engine, IPC_CMD_PATH_SET, sizeof(struct ipc_path));

	if (!c)
		return 0;
	struct ipc_path *p = &c->body.path;

	p->path = (struct ipc_ref){.handle = sa->tunnel, .generation = 1};
	p->local = sa->local;
	p->remote = sa->remote;
	if (ike_sa_uses_udp_encap(sa))
		p->flags |= IPC_PATH_UDP;
	/* RFC 7296 2.23: only a peer behind NAT moves by itself. */
	if (sa->peer_is_natted)
		p->flags |= IPC_PATH_PEER_NATTED;
	if (sa->we_are_natted)
		p->flags |= IPC_PATH_KEEPALIVE;
	return c->header.number;
}

uint64_t espd_path_delete(struct ike_engine *engine, const struct ike_sa *sa)
{
	return ref_command(engine, IPC_CMD_PATH_DELETE, sa->tunnel);
}

static struct ipc_selector selector_of(const struct ts_pair *pair, enum ipc_direction direction)
{
	if (direction == IPC_DIR_OUT)
		return (struct ipc_selector){.src = pair->local, .dst = pair->remote};
	return (struct ipc_selector){.src = pair->remote, .dst = pair->local};
}

static void put_keys(struct ipc_sa_add *add, const struct child_sa *child, bool out)
{
	/* RFC 7296 2.17: what the exchange's initiator sends is protected by the first keys. */
	bool by_initiator = out == child->is_initiator;

	add->enc_key_len = child->keys.enc_len;
	add->integ_key_len = child->keys.integ_len;
	memcpy(add->enc_key, by_initiator ? child->keys.enc_i : child->keys.enc_r,
		child->keys.enc_len);
	memcpy(add->integ_key, by_initiator ? child->keys.integ_i : child->keys.integ_r,
		child->keys.integ_len);
}

static void put_more_selectors(struct ike_engine *engine, const struct child_sa *child,
	enum ipc_direction direction, struct ipc_ref ref, size_t at)
{
	while (at < child->n_pairs) {
		struct ike_command *c = command_add(
			engine, IPC_CMD_SA_SELECTORS, sizeof(struct ipc_sa_selectors));

		if (!c)
			return;
		struct ipc_sa_selectors *s = &c->body.sa_selectors;

		s->sa = ref;
		while (at < child->n_pairs && s->n_selectors < IPC_SELECTORS_PER_SLOT)
			s->selectors[s->n_selectors++] = selector_of(
				&child->pairs[at++], direction);
	}
}

uint64_t espd_sa_add(struct ike_engine *engine, const struct ike_sa *sa,
	const struct child_sa *child, enum ipc_direction direction, uint32_t flags)
{
	struct ike_command *c = command_add(engine, IPC_CMD_SA_ADD, sizeof(struct ipc_sa_add));

	if (!c)
		return 0;
	bool out = direction == IPC_DIR_OUT;
	struct ipc_sa_add *add = &c->body.sa_add;
	uint64_t number = c->header.number, handle = out ? child->handle_out : child->handle_in;

	add->sa = (struct ipc_ref){.handle = handle, .generation = 1};
	add->path = sa->tunnel;
	add->partner = out ? child->handle_in : child->handle_out;
	add->ike = sa->tunnel;
	add->spi = out ? child->spi_out : child->spi_in;
	add->flags = flags | (child->has_esn ? IPC_SA_ESN : 0);
	add->direction = (uint8_t)direction;
	add->mode = child->is_transport ? IPC_MODE_TRANSPORT : IPC_MODE_TUNNEL;
	add->encr_id = child->encr->id;
	add->encr_key_len = child->encr->key_len;
	add->integ_id = child->integ ? child->integ->id : INTEG_NONE;
	put_keys(add, child, out);
	add->soft_bytes = child->soft_bytes;
	add->hard_bytes = child->hard_bytes;
	add->soft_s = child->soft_s;
	add->hard_s = child->hard_s;
	add->tunnel_src = out ? sa->local.addr : sa->remote.addr;
	add->tunnel_dst = out ? sa->remote.addr : sa->local.addr;
	char id[IKE_ID_STRLEN];

	memccpy(add->srcid, ike_id_str(&sa->local_id, id), 0, sizeof(add->srcid) - 1);
	memccpy(add->dstid, ike_id_str(&sa->peer_id, id), 0, sizeof(add->dstid) - 1);
	add->n_selectors_total = (uint16_t)child->n_pairs;
	while (add->n_selectors < 2 && add->n_selectors < child->n_pairs) {
		add->selectors[add->n_selectors] = selector_of(
			&child->pairs[add->n_selectors], direction);
		add->n_selectors++;
	}
	put_more_selectors(engine, child, direction, add->sa, add->n_selectors);
	if (handle_map_insert(&engine->command_owner, 0, number, (void *)(uintptr_t)handle) < 0)
		engine->out->no_memory = true;
	return number;
}

uint64_t espd_sa_update(struct ike_engine *engine, uint64_t handle, uint32_t what)
{
	struct ike_command *c = command_add(
		engine, IPC_CMD_SA_UPDATE, sizeof(struct ipc_sa_update));

	if (!c)
		return 0;
	c->body.sa_update.sa = (struct ipc_ref){.handle = handle, .generation = 1};
	c->body.sa_update.what = what;
	return c->header.number;
}

uint64_t espd_sa_delete(struct ike_engine *engine, uint64_t handle)
{
	return ref_command(engine, IPC_CMD_SA_DELETE, handle);
}

uint64_t espd_held_delete(struct ike_engine *engine, uint64_t handle, uint32_t generation)
{
	struct ike_command *c = command_add(engine, IPC_CMD_SA_DELETE, sizeof(struct ipc_ref));

	if (!c)
		return 0;
	c->body.ref = (struct ipc_ref){.handle = handle, .generation = generation};
	return c->header.number;
}

uint64_t espd_sa_query(struct ike_engine *engine, uint64_t handle)
{
	return ref_command(engine, IPC_CMD_SA_QUERY, handle);
}

uint64_t espd_flow_add(struct ike_engine *engine, const struct flow_pair *pair, bool out)
{
	struct ike_command *c = command_add(engine, IPC_CMD_FLOW_ADD, sizeof(struct ipc_flow));

	if (!c)
		return 0;
	struct ipc_flow *f = &c->body.flow;

	f->flow = (struct ipc_ref){
		.handle = out ? pair->handle_out : pair->handle_in, .generation = 1};
	f->src = out ? pair->src : pair->dst;
	f->dst = out ? pair->dst : pair->src;
	f->src_port = out ? pair->src_port : pair->dst_port;
	f->dst_port = out ? pair->dst_port : pair->src_port;
	f->proto = pair->proto;
	f->direction = out ? IPC_DIR_OUT : IPC_DIR_IN;
	f->policy = pair->policy;
	if (pair->is_deny) {
		f->type = IPC_FLOW_DENY;
		return c->header.number;
	}
	f->type = out ? IPC_FLOW_REQUIRE : IPC_FLOW_USE;
	f->flags = out ? 0 : IPC_FLOW_F_STRICT_IN;
	f->peer = pair->peer;
	const struct ike_sa *sa = ike_sa_by_tunnel(engine, pair->tunnel);
	char id[IKE_ID_STRLEN];

	if (!sa)
		return c->header.number;
	memccpy(f->srcid, ike_id_str(&sa->local_id, id), 0, sizeof(f->srcid) - 1);
	memccpy(f->dstid, ike_id_str(&sa->peer_id, id), 0, sizeof(f->dstid) - 1);
	return c->header.number;
}

uint64_t espd_flow_delete(struct ike_engine *engine, uint64_t handle)
{
	return ref_command(engine, IPC_CMD_FLOW_DELETE, handle);
}

uint64_t espd_flow_bind(struct ike_engine *engine, uint64_t flow, uint64_t sa)
{
	struct ike_command *c = command_add(
		engine, IPC_CMD_FLOW_BIND, sizeof(struct ipc_flow_bind));

	if (!c)
		return 0;
	c->body.flow_bind.flow = (struct ipc_ref){.handle = flow, .generation = 1};
	c->body.flow_bind.sa = (struct ipc_ref){.handle = sa, .generation = 1};
	return c->header.number;
}

uint64_t espd_held_keep(struct ike_engine *engine, uint64_t handle, uint32_t generation)
{
	struct ike_command *c = command_add(
		engine, IPC_CMD_SA_UPDATE, sizeof(struct ipc_sa_update));

	if (!c)
		return 0;
	c->body.sa_update.sa = (struct ipc_ref){.handle = handle, .generation = generation};
	if (handle_map_insert(
		    &engine->command_owner, 0, c->header.number, (void *)(uintptr_t)handle) < 0)
		engine->out->no_memory = true;
	return c->header.number;
}

uint64_t espd_held_flow_add(struct ike_engine *engine, const struct ipc_flow *flow)
{
	struct ike_command *c = command_add(engine, IPC_CMD_FLOW_ADD, sizeof(struct ipc_flow));

	if (!c)
		return 0;
	c->body.flow = *flow;
	return c->header.number;
}

uint64_t espd_held_bind(struct ike_engine *engine, uint64_t flow, uint64_t sa, uint32_t generation)
{
	struct ike_command *c = command_add(
		engine, IPC_CMD_FLOW_BIND, sizeof(struct ipc_flow_bind));

	if (!c)
		return 0;
	c->body.flow_bind.flow = (struct ipc_ref){.handle = flow, .generation = 1};
	c->body.flow_bind.sa = (struct ipc_ref){.handle = sa, .generation = generation};
	return c->header.number;
}

uint64_t espd_route_query(struct ike_engine *engine, const struct ip_addr *dst, uint64_t token)
{
	struct ike_command *c = command_add(
		engine, IPC_CMD_ROUTE_QUERY, sizeof(struct ipc_route_query));

	if (!c)
		return 0;
	c->body.route_query.token = token;
	c->body.route_query.dst = *dst;
	return c->header.number;
}

void espd_lease_want(struct ike_engine *engine)
{
	if (engine->spis.is_asked)
		return;
	struct ike_command *c = command_add(
		engine, IPC_CMD_SPI_LEASE, sizeof(struct ipc_spi_lease));

	if (!c)
		return;
	c->body.spi_lease.count = SPI_LEASE_COUNT;
	engine->spis.is_asked = true;
}

void espd_lease_input(struct ike_engine *engine, const struct ipc_spi_lease *lease)
{
	struct spi_pool *pool = &engine->spis;

	pool->is_asked = false;
	if (!lease->count || !ipc_spi_index_bits_ok(lease->index_bits) ||
		pool->n == sizeof(pool->ranges) / sizeof(pool->ranges[0]))
		return;
	pool->ranges[pool->n++] = *lease;
}

static uint32_t pool_left(const struct spi_pool *pool)
{
	uint32_t left = 0;

	for (size_t i = 0; i < pool->n; i++)
		left += pool->ranges[i].count;
	return left;
}

uint32_t espd_spi_take(struct ike_engine *engine)
{
	struct spi_pool *pool = &engine->spis;

	if (pool_left(pool) <= SPI_LEASE_LOW)
		espd_lease_want(engine);
	if (!pool->n)
		return 0;
	struct ipc_spi_lease *range = &pool->ranges[0];
	uint32_t spi = ipc_spi_make(range->first, range->index_bits, engine_random_u32(engine));

	range->first++;
	pool->index_bits = range->index_bits;
	if (--range->count == 0)
		pool->ranges[0] = pool->ranges[--pool->n];
	return spi;
}

void espd_spi_release(struct ike_engine *engine, uint32_t spi)
{
	struct ike_command *c = command_add(
		engine, IPC_CMD_SPI_RELEASE, sizeof(struct ipc_spi_lease));

	if (!c)
		return;
	c->body.spi_lease.first = ipc_spi_index(spi, engine->spis.index_bits);
	c->body.spi_lease.count = 1;
	c->body.spi_lease.index_bits = engine->spis.index_bits;
}

void espd_flush_all(struct ike_engine *engine)
{
	struct ike_command *c = command_add(engine, IPC_CMD_FLUSH, sizeof(struct ipc_flush));

	if (c)
		c->body.flush.what = IPC_FLUSH_SA | IPC_FLUSH_FLOW;
}
