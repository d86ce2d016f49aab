#include <string.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"

/*
 * How an IKE SA is found: by its handle, our SPI, the tunnel that it owns; and among many by the
 * peer's address and authenticated identity and by the policy. Nothing here depends on how
 * many SAs there are.
 */

static void no_memory(struct ike_sa *sa)
{
	if (sa->engine->out)
		sa->engine->out->no_memory = true;
}

int ike_sa_index(struct ike_sa *sa, uint64_t our_spi)
{
	struct ike_engine *engine = sa->engine;

	if (handle_map_insert(&engine->sa_by_handle, 0, sa->handle, sa) < 0)
		return -1;
	if (handle_map_insert(&engine->sa_by_spi, 0, our_spi, sa) < 0)
		goto no_spi;
	if (handle_map_insert(&engine->sa_by_tunnel, 0, sa->tunnel, sa) < 0)
		goto no_tunnel;
	return 0;
no_tunnel:
	handle_map_remove(&engine->sa_by_spi, 0, our_spi);
no_spi:
	handle_map_remove(&engine->sa_by_handle, 0, sa->handle);
	return -1;
}

void ike_sa_unindex(struct ike_sa *sa)
{
	struct ike_engine *engine = sa->engine;

	handle_map_remove(&engine->sa_by_handle, 0, sa->handle);
	handle_map_remove(&engine->sa_by_spi, 0, ike_sa_our_spi(sa));
	ike_sa_move_tunnel(sa, NULL);
	multi_map_remove(&engine->sa_by_peer_id, &sa->by_peer_id);
	multi_map_remove(&engine->sa_by_peer_addr, &sa->by_peer_addr);
	multi_map_remove(&engine->sa_by_policy, &sa->by_policy);
}

struct ike_sa *ike_sa_by_handle(const struct ike_engine *engine, uint64_t handle)
{
	return handle_map_find(&engine->sa_by_handle, 0, handle);
}

struct ike_sa *ike_sa_by_spi(const struct ike_engine *engine, uint64_t our_spi)
{
	return handle_map_find(&engine->sa_by_spi, 0, our_spi);
}

struct ike_sa *ike_sa_by_tunnel(const struct ike_engine *engine, uint64_t tunnel)
{
	return handle_map_find(&engine->sa_by_tunnel, 0, tunnel);
}

void ike_sa_move_tunnel(struct ike_sa *from, struct ike_sa *to)
{
	struct handle_map *map = &from->engine->sa_by_tunnel;

	if (to && to->owns_tunnel)
		handle_map_remove(map, 0, to->tunnel);
	if (to) {
		to->tunnel = from->tunnel;
		to->session_ms = from->session_ms;
		to->session_policy = from->session_policy;
		from->session_ms = 0;
		to->owns_tunnel = from->owns_tunnel;
	}
	if (from->owns_tunnel && to)
		handle_map_replace(map, 0, from->tunnel, to);
	else if (from->owns_tunnel)
		handle_map_remove(map, 0, from->tunnel);
	from->owns_tunnel = false;
}

/* ---- one key, many SAs -------------------------------------------------------------------- */

static void reindex(struct ike_sa *sa, struct multi_map *map, struct multi_link *link, uint64_t key)
{
	multi_map_remove(map, link);
	if (multi_map_add(map, key, link) < 0)
		no_memory(sa);
}

void ike_sa_set_policy(struct ike_sa *sa, const struct ike_policy *policy)
{
	struct multi_map *map = &sa->engine->sa_by_policy;

	sa->policy = policy;
	if (policy)
		reindex(sa, map, &sa->by_policy, policy->number);
	else
		multi_map_remove(map, &sa->by_policy);
}

void ike_sa_set_remote(struct ike_sa *sa, const struct endpoint *remote)
{
	struct ike_engine *engine = sa->engine;
	bool has_moved = !addr_equal(&sa->remote.addr, &remote->addr);

	if (!sa->by_peer_addr.next || has_moved)
		reindex(sa, &engine->sa_by_peer_addr, &sa->by_peer_addr,
			engine_hash_addr(engine, &remote->addr));
	sa->remote = *remote;
	if (has_moved)
		session_changed(sa);
}

static uint64_t peer_id_key(const struct ike_engine *engine, const struct ike_id *id)
{
	uint8_t text[1 + IKE_ID_MAXLEN] = {id->type};

	memcpy(text + 1, id->data, id->len);
	return engine_hash(engine, text, 1 + (size_t)id->len);
}

void ike_sa_index_peer_id(struct ike_sa *sa)
{
	reindex(sa, &sa->engine->sa_by_peer_id, &sa->by_peer_id,
		peer_id_key(sa->engine, &sa->peer_id));
}

struct multi_link *ike_sa_first_of_peer(const struct ike_engine *engine, const struct ike_id *id)
{
	return multi_map_first(&engine->sa_by_peer_id, peer_id_key(engine, id));
}

struct ike_sa *ike_sa_of_policy(const struct ike_engine *engine, uint32_t number)
{
	const struct multi_map *map = &engine->sa_by_policy;
	struct multi_link *at = multi_map_last(map, number);

	for (; at; at = multi_map_prev(map, at)) {
		struct ike_sa *sa = multi_object(at, struct ike_sa, by_policy);

		if (sa->state < IKE_SA_CLOSING && !sa->is_replaced)
			return sa;
	}
	return NULL;
}

bool ike_sa_has_sibling(const struct ike_sa *sa)
{
	struct multi_link *at = sa->by_peer_addr.next;

	for (; at && at != &sa->by_peer_addr; at = at->next) {
		const struct ike_sa *other = multi_object(at, struct ike_sa, by_peer_addr);

		if (other->state == IKE_SA_ESTABLISHED &&
			addr_equal(&other->remote.addr, &sa->remote.addr))
			return true;
	}
	return false;
}

struct ike_sa *ike_sa_same_peer(const struct ike_sa *sa)
{
	const struct multi_map *map = &sa->engine->sa_by_peer_id;
	struct multi_link *at = ike_sa_first_of_peer(sa->engine, &sa->peer_id);

	for (; at; at = multi_map_next(map, at)) {
		struct ike_sa *other = multi_object(at, struct ike_sa, by_peer_id);

		if (other != sa && ike_id_equal(&other->peer_id, &sa->peer_id))
			return other;
	}
	return NULL;
}
