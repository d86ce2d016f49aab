#include "controlplane/ike/flow_table.h"

#include <stdlib.h>
#include <string.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"

struct flow_pair *flow_pair_create(struct ike_engine *engine)
{
	struct flow_pair *pair = calloc(1, sizeof(*pair));

	if (pair) {
		pair->handle_out = engine_handle(engine);
		pair->handle_in = engine_handle(engine);
		if (handle_map_insert(&engine->flows.by_handle, 0, pair->handle_out, pair) == 0)
			return pair;
	}
	engine->out->no_memory = true;
	free(pair);
	return NULL;
}

void flow_pair_destroy(struct ike_engine *engine, struct flow_list *list, struct flow_pair *pair)
{
	if (list)
		flow_list_remove(list, pair);
	handle_map_remove(&engine->flows.by_handle, 0, pair->handle_out);
	multi_map_remove(&engine->flows.by_tunnel, &pair->by_tunnel);
	multi_map_remove(&engine->flows.by_selectors, &pair->by_selectors);
	free(pair);
}

void flow_list_append(struct flow_list *list, struct flow_pair *pair)
{
	pair->next = NULL;
	pair->prev = list->last;
	*(list->last ? &list->last->next : &list->first) = pair;
	list->last = pair;
}

void flow_list_remove(struct flow_list *list, struct flow_pair *pair)
{
	*(pair->prev ? &pair->prev->next : &list->first) = pair->next;
	*(pair->next ? &pair->next->prev : &list->last) = pair->prev;
	pair->next = pair->prev = NULL;
}

struct flow_pair *flows_find(const struct ike_engine *engine, uint64_t handle)
{
	return handle_map_find(&engine->flows.by_handle, 0, handle);
}

bool flow_pair_equal(const struct flow_pair *a, const struct flow_pair *b)
{
	return prefix_equal(&a->src, &b->src) && prefix_equal(&a->dst, &b->dst) &&
	       prefix_equal(&a->negotiated_src, &b->negotiated_src) && a->src_port == b->src_port &&
	       a->dst_port == b->dst_port && a->proto == b->proto;
}

static void put_prefix(struct writer *w, const struct ip_prefix *prefix)
{
	write_u8(w, prefix->addr.family);
	write_u8(w, prefix->len);
	write_bytes(w, prefix->addr.b, prefix->addr.family == 4 ? 4 : sizeof(prefix->addr.b));
}

uint64_t flow_pair_key(
	const struct ike_engine *engine, const struct flow_pair *pair, uint32_t policy)
{
	uint8_t text[64];
	struct writer w = writer_init(text, sizeof(text));

	write_u32(&w, policy);
	put_prefix(&w, &pair->negotiated_src);
	put_prefix(&w, &pair->dst);
	write_u16(&w, pair->src_port);
	write_u16(&w, pair->dst_port);
	write_u8(&w, pair->proto);
	return engine_hash(engine, text, w.len);
}

void flow_pair_index(struct ike_engine *engine, struct flow_pair *pair, uint64_t key)
{
	multi_map_remove(&engine->flows.by_selectors, &pair->by_selectors);
	if (multi_map_add(&engine->flows.by_selectors, key, &pair->by_selectors) < 0)
		engine->out->no_memory = true;
}

void flow_pair_set_tunnel(struct ike_engine *engine, struct flow_pair *pair, uint64_t tunnel)
{
	if (pair->tunnel == tunnel)
		return;
	multi_map_remove(&engine->flows.by_tunnel, &pair->by_tunnel);
	pair->tunnel = tunnel;
	if (tunnel && multi_map_add(&engine->flows.by_tunnel, tunnel, &pair->by_tunnel) < 0)
		engine->out->no_memory = true;
}

struct flow_pair *flow_pair_of_tunnel(const struct ike_engine *engine, uint64_t tunnel)
{
	return multi_object(
		multi_map_first(&engine->flows.by_tunnel, tunnel), struct flow_pair, by_tunnel);
}

struct flow_pair *flow_pair_next_of_tunnel(
	const struct ike_engine *engine, const struct flow_pair *pair)
{
	return multi_object(multi_map_next(&engine->flows.by_tunnel, &pair->by_tunnel),
		struct flow_pair, by_tunnel);
}

/* ---- espd --------------------------------------------------------------------------------- */

static uint64_t ids_hash(const struct ike_engine *engine, const struct flow_pair *pair)
{
	const struct ike_sa *sa = ike_sa_by_tunnel(engine, pair->tunnel);
	char text[2 * IKE_ID_STRLEN] = "";

	if (!sa)
		return 0;
	ike_id_str(&sa->local_id, text);
	ike_id_str(&sa->peer_id, text + IKE_ID_STRLEN);
	return engine_hash(engine, text, sizeof(text));
}

bool flow_pair_ids_changed(const struct ike_engine *engine, const struct flow_pair *pair)
{
	return pair->loaded_ids != ids_hash(engine, pair);
}

void flow_pair_load(struct ike_engine *engine, struct flow_pair *pair)
{
	if (!engine->is_coupled || !engine->is_attached || pair->is_suppressed)
		return;
	espd_flow_add(engine, pair, true);
	if (!pair->is_deny)
		espd_flow_add(engine, pair, false);
	pair->is_loaded = true;
	pair->loaded_ids = ids_hash(engine, pair);
}

void flow_pair_unload(struct ike_engine *engine, struct flow_pair *pair)
{
	if (!pair->is_loaded)
		return;
	espd_flow_delete(engine, pair->handle_out);
	if (!pair->is_deny)
		espd_flow_delete(engine, pair->handle_in);
	pair->is_loaded = false;
	pair->bound_out = 0;
}
