#include "controlplane/cli/tunnels.h"

#include <stdlib.h>
#include <string.h>

#include "shared/transform.h"

/* What was counted of an SA at the last update. */
struct seen_sa {
	uint64_t handle;
	uint32_t generation;
	uint8_t direction, is_used;
	struct tunnel_counters counters;
};

/* Open addressing; the size is a power of two, at most half full. */
struct sa_table {
	struct seen_sa *v;
	size_t size, n;
};

struct tunnels {
	struct tunnel *v;
	size_t n, cap, max, n_omitted;
	uint32_t *slots; /* index + 1, by the hash of a tunnel's key */
	size_t n_slots;
	struct sa_table sas;
	struct tunnel_counters total[2];
};

const char *tunnel_drop_str(enum tunnel_drop drop)
{
	static const char *const names[] = {"replay", "icv", "selectors", "other"};

	return (unsigned int)drop < TUNNEL_DROPS ? names[drop] : "?";
}

struct tunnels *tunnels_create(size_t max)
{
	struct tunnels *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->max = max;
	for (t->n_slots = 64; t->n_slots < 2 * max;)
		t->n_slots *= 2;
	t->slots = calloc(t->n_slots, sizeof(*t->slots));
	if (t->slots)
		return t;
	tunnels_destroy(t);
	return NULL;
}

void tunnels_destroy(struct tunnels *t)
{
	if (!t)
		return;
	free(t->v);
	free(t->slots);
	free(t->sas.v);
	free(t);
}

static uint64_t hash_bytes(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return h;
}

static uint64_t key_hash(const struct tunnel *k)
{
	uint64_t h = hash_bytes(0xcbf29ce484222325u, k->local, strlen(k->local) + 1);

	h = hash_bytes(h, k->remote, strlen(k->remote) + 1);
	h = hash_bytes(h, &k->proto, sizeof(k->proto));
	h = hash_bytes(h, &k->local_port, sizeof(k->local_port));
	h = hash_bytes(h, &k->remote_port, sizeof(k->remote_port));
	return h ^ h >> 32;
}

static bool same_key(const struct tunnel *a, const struct tunnel *b)
{
	return a->proto == b->proto && a->local_port == b->local_port &&
	       a->remote_port == b->remote_port && strcmp(a->local, b->local) == 0 &&
	       strcmp(a->remote, b->remote) == 0;
}

static void slots_fill(struct tunnels *t)
{
	memset(t->slots, 0, t->n_slots * sizeof(*t->slots));
	for (size_t i = 0; i < t->n; i++) {
		size_t at = key_hash(&t->v[i]) & (t->n_slots - 1);

		while (t->slots[at])
			at = (at + 1) & (t->n_slots - 1);
		t->slots[at] = (uint32_t)i + 1;
	}
}

/* The tunnel of the key, made if there is room; NULL if not. */
static struct tunnel *tunnel_get(struct tunnels *t, const struct tunnel *key)
{
	size_t at = key_hash(key) & (t->n_slots - 1);

	for (; t->slots[at]; at = (at + 1) & (t->n_slots - 1)) {
		struct tunnel *found = &t->v[t->slots[at] - 1];

		if (same_key(found, key))
			return found;
	}
	if (t->n == t->max)
		return NULL;
	if (t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 16;
		struct tunnel *grown = realloc(t->v, cap * sizeof(*grown));

		if (!grown)
			return NULL;
		t->v = grown;
		t->cap = cap;
	}
	t->v[t->n] = *key;
	t->slots[at] = (uint32_t)++t->n;
	return &t->v[t->n - 1];
}

static void net_str(const struct ip_range *range, char buf[TUNNEL_NET_LEN])
{
	char lo[ADDR_STRLEN], hi[ADDR_STRLEN], text[PREFIX_STRLEN];
	struct ip_prefix prefix;

	if (range_to_prefix(range, &prefix))
		snprintf(buf, TUNNEL_NET_LEN, "%s", prefix_str(&prefix, text));
	else
		snprintf(buf, TUNNEL_NET_LEN, "%s-%s", addr_str(&range->lo, lo),
			addr_str(&range->hi, hi));
}

static uint16_t single_port(const struct traffic_selector *ts)
{
	return ts->port_lo == ts->port_hi ? ts->port_lo : 0;
}

/* An SA belongs to the tunnel of its first selectors; one without any joins two hosts. */
static void sa_key(const struct view_sa *sa, struct tunnel *key)
{
	bool in = sa->direction == IPC_DIR_IN;
	const struct traffic_selector *local, *remote;

	memset(key, 0, sizeof(*key));
	if (sa->n_selectors == 0) {
		struct ip_range from = {sa->tunnel_src, sa->tunnel_src};
		struct ip_range to = {sa->tunnel_dst, sa->tunnel_dst};

		net_str(in ? &to : &from, key->local);
		net_str(in ? &from : &to, key->remote);
		return;
	}
	local = in ? &sa->selectors[0].dst : &sa->selectors[0].src;
	remote = in ? &sa->selectors[0].src : &sa->selectors[0].dst;
	net_str(&local->range, key->local);
	net_str(&remote->range, key->remote);
	key->proto = local->proto;
	key->local_port = single_port(local);
	key->remote_port = single_port(remote);
}

static size_t sa_slot(const struct sa_table *table, const struct view_sa *sa)
{
	uint64_t h = hash_bytes(0xcbf29ce484222325u, &sa->handle, sizeof(sa->handle));
	size_t at;

	h = hash_bytes(h, &sa->generation, sizeof(sa->generation));
	h = hash_bytes(h, &sa->direction, sizeof(sa->direction));
	h ^= h >> 32;
	for (at = h & (table->size - 1); table->v[at].is_used; at = (at + 1) & (table->size - 1)) {
		const struct seen_sa *s = &table->v[at];

		if (s->handle == sa->handle && s->generation == sa->generation &&
			s->direction == sa->direction)
			break;
	}
	return at;
}

/*
 * What the SA counted since the last update. An SA that is new, or was put into a new espd and
 * counts from zero, has counted all that it says.
 */
static struct tunnel_counters sa_delta(
	struct sa_table *old, struct sa_table *now, const struct listed_sa *s)
{
	const struct view_sa_counters *c = &s->counters;
	struct tunnel_counters value = {.packets = c->packets,
		.bytes = c->bytes,
		.drops = {c->drop_replay, c->drop_icv, c->drop_selectors, c->drop_other}};
	struct tunnel_counters delta = value;
	size_t at = sa_slot(now, &s->sa);

	if (old->size > 0) {
		const struct seen_sa *before = &old->v[sa_slot(old, &s->sa)];
		const struct tunnel_counters *b = &before->counters;

		if (before->is_used && b->packets <= value.packets && b->bytes <= value.bytes) {
			delta.packets -= b->packets;
			delta.bytes -= b->bytes;
			for (unsigned int i = 0; i < TUNNEL_DROPS; i++)
				delta.drops[i] -= b->drops[i] <= value.drops[i] ? b->drops[i] : 0;
		}
	}
	now->v[at] = (struct seen_sa){.handle = s->sa.handle,
		.generation = s->sa.generation,
		.direction = s->sa.direction,
		.is_used = 1,
		.counters = value};
	return delta;
}

static void counters_add(struct tunnel_counters *sum, const struct tunnel_counters *delta)
{
	sum->packets += delta->packets;
	sum->bytes += delta->bytes;
	for (unsigned int i = 0; i < TUNNEL_DROPS; i++)
		sum->drops[i] += delta->drops[i];
}

static void sa_describe(struct tunnel *t, const struct view_sa *sa, enum tunnel_direction d)
{
	const struct transform *encr = transform_find(
		TRANSFORM_ENCR, sa->encr_id, sa->encr_key_len);
	const struct transform *integ = transform_find(TRANSFORM_INTEG, sa->integ_id, 0);
	bool has_integ = integ && sa->integ_id != INTEG_NONE;

	t->newest_s[d] = sa->installed_s;
	t->spi[d] = sa->spi;
	addr_str(d == TUNNEL_IN ? &sa->tunnel_src : &sa->tunnel_dst, t->peer);
	snprintf(t->local_id, sizeof(t->local_id), "%s", sa->srcid);
	snprintf(t->peer_id, sizeof(t->peer_id), "%s", sa->dstid);
	snprintf(t->suite, sizeof(t->suite), "%s%s%s", encr ? encr->ipsecctl_name : "?",
		has_integ ? " " : "", has_integ ? integ->ipsecctl_name : "");
	if (sa->mtu)
		t->mtu = sa->mtu;
}

static void sa_take(struct tunnels *t, const struct listed_sa *s,
	const struct tunnel_counters *delta, uint64_t now_s)
{
	enum tunnel_direction d = s->sa.direction == IPC_DIR_IN ? TUNNEL_IN : TUNNEL_OUT;
	struct tunnel key, *found;

	counters_add(&t->total[d], delta);
	sa_key(&s->sa, &key);
	found = tunnel_get(t, &key);
	if (!found) {
		t->n_omitted++;
		return;
	}
	found->n_sas[d]++;
	found->seen_s = now_s;
	counters_add(&found->counters[d], delta);
	if (s->counters.last_use_s > found->last_use_s[d])
		found->last_use_s[d] = s->counters.last_use_s;
	if (found->n_sas[d] == 1 || s->sa.installed_s >= found->newest_s[d])
		sa_describe(found, &s->sa, d);
}

/* Outbound flows that want protection are what was configured. */
static void flow_take(struct tunnels *t, const struct view_flow *v, uint64_t now_s)
{
	const struct ipc_flow *f = &v->flow;
	struct ip_range src = prefix_range(&f->src), dst = prefix_range(&f->dst);
	struct tunnel key = {.proto = f->proto,
			      .local_port = f->src_port,
			      .remote_port = f->dst_port},
		      *found;

	if (f->direction != IPC_DIR_OUT || f->type == IPC_FLOW_DENY || f->type == IPC_FLOW_BYPASS)
		return;
	net_str(&src, key.local);
	net_str(&dst, key.remote);
	found = tunnel_get(t, &key);
	if (!found) {
		t->n_omitted++;
		return;
	}
	found->is_configured = true;
	found->seen_s = now_s;
	found->is_up |= v->sa_spi != 0;
	if (found->peer[0] == '\0' && f->peer.family)
		addr_str(&f->peer, found->peer);
}

/* Takes out what has long gone. Order is kept, so that a listing does not jump about. */
static void forget(struct tunnels *t, uint64_t now_s)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].seen_s + TUNNEL_KEEP_S >= now_s)
			t->v[kept++] = t->v[i];
	if (kept == t->n)
		return;
	t->n = kept;
	slots_fill(t);
}

int tunnels_update(struct tunnels *t, const struct ipsecctl_listing *listing, uint64_t now_s)
{
	struct sa_table now = {.size = 16};

	for (size_t i = 0; i < t->n; i++) {
		t->v[i].is_up = false;
		t->v[i].n_sas[TUNNEL_IN] = t->v[i].n_sas[TUNNEL_OUT] = 0;
	}
	if (!listing)
		return 0;
	while (now.size < 2 * listing->n_sas)
		now.size *= 2;
	now.v = calloc(now.size, sizeof(*now.v));
	if (!now.v)
		return -1;
	forget(t, now_s);
	t->n_omitted = 0;
	for (size_t i = 0; i < listing->n_flows; i++)
		flow_take(t, &listing->flows[i], now_s);
	for (size_t i = 0; i < listing->n_sas; i++) {
		struct tunnel_counters delta = sa_delta(&t->sas, &now, &listing->sas[i]);

		sa_take(t, &listing->sas[i], &delta, now_s);
	}
	/* A pair of SAs that no flow stands for (manual ones) is up as long as it is there. */
	for (size_t i = 0; i < t->n; i++)
		if (!t->v[i].is_configured && t->v[i].n_sas[TUNNEL_OUT] > 0)
			t->v[i].is_up = true;
	free(t->sas.v);
	t->sas = now;
	return 0;
}

void tunnels_mark(struct tunnels *t)
{
	for (size_t i = 0; i < t->n; i++)
		memcpy(t->v[i].marked, t->v[i].counters, sizeof(t->v[i].marked));
}

size_t tunnels_count(const struct tunnels *t)
{
	return t->n;
}

const struct tunnel *tunnels_at(const struct tunnels *t, size_t index)
{
	return &t->v[index];
}

size_t tunnels_omitted(const struct tunnels *t)
{
	return t->n_omitted;
}

const struct tunnel_counters *tunnels_total(const struct tunnels *t, enum tunnel_direction d)
{
	return &t->total[d];
}
