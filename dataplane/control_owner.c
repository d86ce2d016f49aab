#include <stdlib.h>

#include "dataplane/control_private.h"
#include "ipc/spi.h"

/* Owners come and go; what they have stays. */

void owner_set_add(struct owner_set *set, uint32_t owner)
{
	for (unsigned int i = 0; i < set->n; i++) {
		if (set->owner[i] == owner)
			return;
	}
	if (set->n < OWNERS_KNOWN_MAX)
		set->owner[set->n++] = owner;
}

void owner_set_remove(struct owner_set *set, uint32_t owner)
{
	for (unsigned int i = 0; i < set->n; i++) {
		if (set->owner[i] == owner) {
			set->owner[i] = set->owner[--set->n];
			return;
		}
	}
}

bool owner_set_has(const struct owner_set *set, uint32_t owner)
{
	for (unsigned int i = 0; i < set->n; i++) {
		if (set->owner[i] == owner)
			return true;
	}
	return false;
}

static bool is_in_use(void *ctx, uint32_t index)
{
	const uint8_t *bits = ctx;

	return bits[index / 8] >> (index % 8) & 1;
}

/* A new engine has no leases yet: those of the one before it return, but for its SAs'. */
static void leases_return(struct control *c, uint32_t owner)
{
	uint8_t *bits = calloc((1u << c->cfg.index_bits) / 8 + 1, 1);
	struct sa_obj *sa;
	size_t cursor = 0;

	while (bits && (sa = handle_map_next(c->sas, &cursor))) {
		uint32_t index = ipc_spi_index(sa->spi, c->cfg.index_bits);

		if (sa->direction == IPC_DIR_IN)
			bits[index / 8] |= (uint8_t)(1u << index % 8);
	}
	if (bits)
		lease_return_all(c->leases, owner, control_now_s(c), is_in_use, bits);
	free(bits);
}

void control_owner_attached(struct control *c, uint32_t owner, uint64_t now_ms)
{
	c->now_ms = now_ms;
	owner_set_remove(&c->away, owner);
	leases_return(c, owner);
}

/*
 * SAs and flows of an engine that is gone stay, and so do its ports, if `punt` says so:
 * ESP in UDP comes by them, and a host that knows no IKE would answer the peers' with errors.
 */
void control_owner_detached(struct control *c, uint32_t owner)
{
	for (unsigned int i = 0; i < c->n_punts; i++)
		c->punts[i].is_old |= c->punts[i].owner == owner;
	if (!c->cfg.keeps_punts)
		control_punts_remove(c, owner, false);
	control_held_stop(c, owner);
	owner_set_add(&c->away, owner);
}

/* ---- another number of engines ------------------------------------------------------------- */

static int sa_move(struct control *c, struct sa_obj *sa, uint32_t to)
{
	if (handle_map_insert(c->sas, to, sa->ref.handle, sa) < 0)
		return -1;
	handle_map_remove(c->sas, sa->owner, sa->ref.handle);
	if (sa->direction == IPC_DIR_IN)
		lease_move(c->leases, ipc_spi_index(sa->spi, c->cfg.index_bits), sa->owner, to);
	sa->owner = to;
	if (sa->hot) {
		sa->hot->cold->owner = to;
		control_view_sa(c, sa);
	}
	return 0;
}

static int path_move(struct control *c, struct path_obj *p, uint32_t to)
{
	if (handle_map_insert(c->paths, to, p->conf.path.handle, p) < 0)
		return -1;
	handle_map_remove(c->paths, p->owner, p->conf.path.handle);
	p->owner = to;
	return 0;
}

/* The maps may not be added to during a walk: what is to move is collected first. */
static void objects_move(struct control *c, uint32_t from, uint32_t to)
{
	size_t n_sa = handle_map_count(c->sas), n_path = handle_map_count(c->paths), n = 0;
	void **list = calloc(n_sa + n_path + 1, sizeof(*list)), *object;
	size_t cursor = 0, n_sas;
	int rc = list ? 0 : -1;

	while (list && (object = handle_map_next(c->sas, &cursor))) {
		struct sa_obj *sa = object;

		if (sa->owner == from && !sa->is_deleting &&
			!handle_map_find(c->sas, to, sa->ref.handle))
			list[n++] = sa;
	}
	n_sas = n;
	cursor = 0;
	while (list && (object = handle_map_next(c->paths, &cursor))) {
		struct path_obj *p = object;

		if (p->owner == from && !handle_map_find(c->paths, to, p->conf.path.handle))
			list[n++] = p;
	}
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = i < n_sas ? sa_move(c, list[i], to) : path_move(c, list[i], to);
	free(list);
	lease_return_all(c->leases, from, control_now_s(c), NULL, NULL);
	if (rc < 0)
		log_warn(c->cfg.log, "no memory to give engine %u what engine %u had", to & 0xffff,
			from & 0xffff);
}

static void owner_note(void *ctx, const struct spd_flow_view *view)
{
	owner_set_add(ctx, view->owner);
}

void control_engines_move(struct control *c, uint32_t n_engines)
{
	struct owner_set owners = {0};
	struct sa_obj *sa;
	size_t cursor = 0;

	while ((sa = handle_map_next(c->sas, &cursor)))
		owner_set_add(&owners, sa->owner);
	spd_each(c->cfg.dp->spd, owner_note, &owners);
	for (unsigned int i = 0; i < owners.n; i++) {
		uint32_t from = owners.owner[i], number = from & 0xffff;
		uint32_t to = spd_owner(IPC_OWNER_ENGINE, (uint16_t)(number % n_engines));

		if (from >> 16 != IPC_OWNER_ENGINE || number < n_engines ||
			!owner_set_has(&c->away, from))
			continue;
		objects_move(c, from, to);
		spd_owner_move(c->cfg.dp->spd, from, to);
		c->flows_dirty = true;
		log_info(c->cfg.log, "engine %u takes what engine %u of an earlier iked had",
			to & 0xffff, number);
	}
}
