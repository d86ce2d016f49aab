#include "dataplane/sad.h"

#include <stdlib.h>
#include <string.h>

#include <rte_hash.h>
#include <rte_jhash.h>
#include <rte_malloc.h>
#include <rte_prefetch.h>

#include "dataplane/sa_tag.h"

/* A freed outbound index rests until this many others were freed, so that a late packet of a
 * worker finds an empty slot or another generation, not another SA. */
#define OUT_INDEX_MIN 1

struct manual_key {
	uint32_t spi;
	uint8_t family, is_udp;
	uint8_t zero[2];
	uint8_t dst[16];
};

/*
 * Slots 0 .. 2^index_bits - 1 hold inbound SAs at their SPI's index, the following manual_max
 * slots those of the hash. Outbound SAs are in a table of their own.
 */
struct sad {
	struct sa_hot *_Atomic *in;
	uint32_t index_mask;
	uint32_t n_in; /* slots, manual ones included */
	_Atomic uint32_t n_manual;
	struct sa_hot *_Atomic *out;
	uint32_t n_out;
	struct rte_hash *manual; /* manual_key to slot; NULL if manual_max is 0 */
	unsigned int index_bits;
	_Atomic uint8_t owner[SAD_BUCKETS];
	_Atomic uint64_t version;
	/* Main's alone */
	uint32_t generation;
	uint32_t *out_free; /* ring of free outbound indices, first in first out */
	uint32_t out_head, out_tail;
	uint32_t manual_next; /* where the search for a free manual slot starts */
};

static void *table_create(size_t n, size_t size)
{
	return rte_zmalloc("sad", n * size, 64);
}

struct sad *sad_create(const char *name, unsigned int index_bits, uint32_t manual_max)
{
	if (index_bits < 8 || index_bits > 22)
		return NULL;
	struct sad *s = rte_zmalloc("sad", sizeof(*s), 64);
	if (!s)
		return NULL;
	s->index_bits = index_bits;
	s->index_mask = (1u << index_bits) - 1;
	s->n_in = s->index_mask + 1 + manual_max;
	s->n_out = s->index_mask + 1;
	s->in = table_create(s->n_in, sizeof(*s->in));
	s->out = table_create(s->n_out, sizeof(*s->out));
	s->out_free = table_create(s->n_out, sizeof(*s->out_free));
	if (!s->in || !s->out || !s->out_free)
		goto fail;
	for (uint32_t i = OUT_INDEX_MIN; i < s->n_out; i++)
		s->out_free[s->out_tail++] = i;
	if (manual_max > 0) {
		struct rte_hash_parameters hp = {
			.name = name,
			.entries = manual_max < 8 ? 8 : manual_max,
			.key_len = sizeof(struct manual_key),
			.hash_func = rte_jhash,
			.extra_flag = RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF,
		};
		s->manual = rte_hash_create(&hp);
		if (!s->manual)
			goto fail;
	}
	return s;
fail:
	sad_destroy(s);
	return NULL;
}

void sad_destroy(struct sad *s)
{
	if (!s)
		return;
	for (uint32_t i = 0; s->in && i < s->n_in; i++)
		sa_destroy(s->in[i]);
	for (uint32_t i = 0; s->out && i < s->n_out; i++)
		sa_destroy(s->out[i]);
	rte_hash_free(s->manual);
	rte_free(s->in);
	rte_free(s->out);
	rte_free(s->out_free);
	rte_free(s);
}

unsigned int sad_index_bits(const struct sad *s)
{
	return s->index_bits;
}

static struct manual_key manual_key_make(uint32_t spi, const struct ip_addr *dst, bool is_udp)
{
	struct manual_key k = {.spi = spi, .family = dst->family, .is_udp = is_udp};
	memcpy(k.dst, dst->b, addr_len(dst->family));
	return k;
}

static int manual_publish(struct sad *s, struct sa_hot *sa)
{
	uint32_t n_manual = s->n_in - s->index_mask - 1;
	const struct path *path = sa->path;
	if (!s->manual)
		return SAD_E_FULL;
	struct manual_key key = manual_key_make(sa->spi, &path->local.addr, path->flags & PATH_UDP);
	if (rte_hash_lookup(s->manual, &key) >= 0)
		return SAD_E_EXISTS;
	uint32_t slot = 0, tries = 0;
	for (; tries < n_manual; tries++) {
		slot = s->index_mask + 1 + (s->manual_next + tries) % n_manual;
		if (!s->in[slot])
			break;
	}
	if (tries == n_manual)
		return SAD_E_FULL;
	s->manual_next = (slot - s->index_mask) % n_manual;
	sa->id = slot;
	atomic_store_explicit(&s->in[slot], sa, memory_order_release);
	if (rte_hash_add_key_data(s->manual, &key, (void *)(uintptr_t)slot) != 0) {
		atomic_store_explicit(&s->in[slot], NULL, memory_order_release);
		return SAD_E_FULL;
	}
	atomic_fetch_add_explicit(&s->n_manual, 1, memory_order_release);
	return SAD_OK;
}

static void manual_unpublish(struct sad *s, struct sa_hot *sa)
{
	const struct path *path = sa->path;
	struct manual_key key = manual_key_make(sa->spi, &path->local.addr, path->flags & PATH_UDP);
	int32_t at = rte_hash_del_key(s->manual, &key);
	/* The hash keeps the key's place until readers are gone: sad_free gives it back. */
	sa->cold->manual_position = at < 0 ? UINT32_MAX : (uint32_t)at;
	atomic_fetch_sub_explicit(&s->n_manual, 1, memory_order_release);
}

static int out_publish(struct sad *s, struct sa_hot *sa)
{
	if (s->out_head == s->out_tail)
		return SAD_E_FULL;
	uint32_t index = s->out_free[s->out_head++ & s->index_mask];
	sa->id = index | SA_ID_OUT;
	return SAD_OK;
}

static struct sa_hot *_Atomic *slot_of(const struct sad *s, uint32_t id)
{
	uint32_t index = id & ~SA_ID_OUT;
	if (id & SA_ID_OUT)
		return index < s->n_out ? &s->out[index] : NULL;
	return index < s->n_in ? &s->in[index] : NULL;
}

int sad_publish(struct sad *s, struct sa_hot *sa)
{
	int err = SAD_OK;
	sa->generation = ++s->generation;
	if (sa->flags & SA_F_OUT)
		err = out_publish(s, sa);
	else if (sa->flags & SA_F_MANUAL)
		sa->id = s->index_mask + 1;
	else if (s->in[sa->spi & s->index_mask])
		err = SAD_E_EXISTS;
	else
		sa->id = sa->spi & s->index_mask;
	if (err != SAD_OK)
		return err;
	if (!(sa->flags & SA_F_HOLD_OUT))
		sa_set_state(sa, SA_LIVE);
	sa->bucket = (uint8_t)sa->id;
	if (!(sa->flags & SA_F_OUT) && sa->flags & SA_F_MANUAL) {
		err = manual_publish(s, sa);
		sa->bucket = (uint8_t)sa->id;
		return err;
	}
	atomic_store_explicit(slot_of(s, sa->id), sa, memory_order_release);
	return SAD_OK;
}

static void changed(struct sad *s)
{
	atomic_fetch_add_explicit(&s->version, 1, memory_order_release);
}

uint64_t sad_version(const struct sad *s)
{
	return atomic_load_explicit(&s->version, memory_order_acquire);
}

void sad_unpublish(struct sad *s, struct sa_hot *sa)
{
	if (!(sa->flags & SA_F_OUT) && sa->flags & SA_F_MANUAL)
		manual_unpublish(s, sa);
	atomic_store_explicit(slot_of(s, sa->id), NULL, memory_order_release);
	changed(s);
	sa_set_state(sa, SA_DEAD);
	sa_set_partner(sa, NULL);
}

void sad_free(struct sad *s, struct sa_hot *sa)
{
	if (!sa)
		return;
	if (sa->flags & SA_F_OUT)
		s->out_free[s->out_tail++ & s->index_mask] = sa->id & ~SA_ID_OUT;
	else if (sa->flags & SA_F_MANUAL && sa->cold->manual_position != UINT32_MAX)
		rte_hash_free_key_with_position(s->manual, (int32_t)sa->cold->manual_position);
	sa_destroy(sa);
}

uint8_t sad_owner(const struct sad *s, const struct sa_hot *sa)
{
	return atomic_load_explicit(&s->owner[sa->bucket], memory_order_relaxed);
}

void sad_owner_set(struct sad *s, unsigned int bucket, uint8_t worker)
{
	atomic_store_explicit(&s->owner[bucket & 0xff], worker, memory_order_release);
	changed(s);
}

struct sa_hot *sad_by_ref(const struct sad *s, uint64_t ref)
{
	struct sa_hot *_Atomic *slot = slot_of(s, (uint32_t)ref);
	struct sa_hot *sa = slot ? atomic_load_explicit(slot, memory_order_acquire) : NULL;
	return sa && sa->generation == (uint32_t)(ref >> 32) ? sa : NULL;
}

void sad_by_refs(const struct sad *s, const uint64_t refs[], unsigned int n, struct sa_hot *out[])
{
	struct sa_hot *_Atomic *slots[BURST_MAX];
	for (unsigned int k = 0; k < n; k++) {
		slots[k] = refs[k] ? slot_of(s, (uint32_t)refs[k]) : NULL;
		rte_prefetch0((const void *)slots[k]);
	}
	for (unsigned int k = 0; k < n; k++) {
		out[k] = slots[k] ? atomic_load_explicit(slots[k], memory_order_acquire) : NULL;
		sa_prefetch(out[k]);
	}
	for (unsigned int k = 0; k < n; k++)
		if (out[k] && out[k]->generation != (uint32_t)(refs[k] >> 32))
			out[k] = NULL;
}

/*
 * The tag was not the expected one: the other encapsulation, or an address that was ours before
 * the path moved. RFC 7296 2.23: UDP-encapsulated ESP is taken even where no NAT was seen; plain
 * ESP is not where there is one.
 */
static bool in_fits_slow(const struct sa_hot *sa, const struct ip_addr *dst, bool is_udp)
{
	const struct path *p = atomic_load_explicit(&sa->path, memory_order_acquire);
	if (!addr_equal(&p->local.addr, dst) && !addr_equal(&p->old_local, dst))
		return false;
	bool has_nat = p->flags & (PATH_PEER_NATTED | PATH_KEEPALIVE);
	return is_udp || !has_nat;
}

static struct sa_hot *manual_find(
	const struct sad *s, uint32_t spi, const struct ip_addr *dst, bool is_udp)
{
	if (atomic_load_explicit(&s->n_manual, memory_order_relaxed) == 0)
		return NULL;
	struct manual_key key = manual_key_make(spi, dst, is_udp);
	void *data;
	if (rte_hash_lookup_data(s->manual, &key, &data) < 0)
		return NULL;
	return atomic_load_explicit(&s->in[(uintptr_t)data], memory_order_acquire);
}

struct sa_hot *sad_find_in(
	const struct sad *s, uint32_t spi, const struct ip_addr *dst, bool is_udp)
{
	struct sa_hot *sa = atomic_load_explicit(&s->in[spi & s->index_mask], memory_order_acquire);
	if (sa && sa->spi == spi) {
		uint32_t tag = sa_dst_tag(dst->family, dst->b, is_udp);
		if (tag == atomic_load_explicit(&sa->dst_tag, memory_order_relaxed) ||
			in_fits_slow(sa, dst, is_udp))
			return sa;
	}
	return manual_find(s, spi, dst, is_udp);
}

struct sa_hot *sad_find_out(const struct sad *s, uint32_t spi, const struct ip_addr *remote)
{
	for (uint32_t i = 0; i < s->n_out; i++) {
		struct sa_hot *sa = s->out[i];
		if (!sa || sa->spi != spi || sa_state(sa) == SA_DEAD)
			continue;
		const struct path *p = atomic_load_explicit(&sa->path, memory_order_acquire);
		if (addr_equal(&p->remote.addr, remote))
			return sa;
	}
	return NULL;
}

struct sa_hot *sad_next(const struct sad *s, uint32_t *cursor)
{
	while (*cursor < s->n_in + s->n_out) {
		uint32_t i = (*cursor)++;
		struct sa_hot *sa = i < s->n_in ? s->in[i] : s->out[i - s->n_in];

		if (sa)
			return sa;
	}
	return NULL;
}

void sad_walk(const struct sad *s, bool (*cb)(struct sa_hot *sa, void *arg), void *arg)
{
	for (uint32_t i = 0; i < s->n_in; i++)
		if (s->in[i] && !cb(s->in[i], arg))
			return;
	for (uint32_t i = 0; i < s->n_out; i++)
		if (s->out[i] && !cb(s->out[i], arg))
			return;
}

/* The SPI of an ESP packet for us, or 0 (which no SA has) if the packet is too short for one. */
static uint32_t esp_spi(const struct burst *b, unsigned int i)
{
	const struct pkt_info *p = &b->pkt[i];
	uint32_t at = p->l4_off + (p->flags & PKT_UDP_ENCAP ? 8u : 0u);
	if (p->l4_off == 0 || at + 8u > (uint32_t)p->l3_off + p->len)
		return 0;
	uint32_t spi;
	memcpy(&spi, rte_pktmbuf_mtod_offset(b->m[i], const uint8_t *, at), 4);
	return __builtin_bswap32(spi);
}

static void found(struct worker_ctx *w, struct burst *b, unsigned int i, struct sa_hot *sa)
{
	enum sa_state state = sa_state(sa);
	b->sa[i] = sa;
	if (sad_owner(w->sad, sa) != w->id) {
		b->next[i] = NEXT_HANDOFF;
	} else if (state != SA_LIVE && state != SA_DYING) {
		sa_count_drop(sa, DROP_SA_STATE);
		burst_drop(b, i, DROP_SA_STATE);
	}
}

/* What nearly all packets are: IPv4, for the SA at the index, as it expects them. Else NULL. */
static inline struct sa_hot *plain_find(
	const struct sad *s, const struct burst *b, unsigned int i, uint32_t spi)
{
	struct sa_hot *sa = atomic_load_explicit(&s->in[spi & s->index_mask], memory_order_acquire);
	if (!sa || sa->spi != spi || b->pkt[i].family != 4)
		return NULL;
	uint32_t tag = sa_dst_tag(4, burst_l3(b, i) + 16, b->pkt[i].flags & PKT_UDP_ENCAP);
	return tag == atomic_load_explicit(&sa->dst_tag, memory_order_relaxed) ? sa : NULL;
}

/* Two passes, so that the table's lines, then the SAs' lines, arrive together. */
void sad_lookup(struct worker_ctx *w, struct burst *b)
{
	const struct sad *s = w->sad;
	uint32_t spi[BURST_MAX];
	uint8_t at[BURST_MAX];
	unsigned int n = 0;
	for (uint64_t left = burst_mask(b, NEXT_ESP_IN); left; left &= left - 1) {
		unsigned int i = burst_first(left);
		spi[n] = esp_spi(b, i);
		if (spi[n] == 0) {
			burst_drop(b, i, DROP_MALFORMED);
			continue;
		}
		rte_prefetch0((const void *)&s->in[spi[n] & s->index_mask]);
		at[n++] = (uint8_t)i;
	}
	for (unsigned int k = 0; k < n; k++) {
		const struct sa_hot *sa;
		if (k > 0 && spi[k] == spi[k - 1])
			continue;
		sa = atomic_load_explicit(&s->in[spi[k] & s->index_mask], memory_order_acquire);
		if (sa)
			sa_prefetch(sa);
	}
	for (unsigned int k = 0; k < n; k++) {
		unsigned int i = at[k];
		struct sa_hot *plain = plain_find(s, b, i, spi[k]);
		if (plain) {
			found(w, b, i, plain);
			continue;
		}
		struct ip_addr dst = burst_addr(b->pkt[i].family, burst_dst(b, i));
		struct sa_hot *sa = sad_find_in(s, spi[k], &dst, b->pkt[i].flags & PKT_UDP_ENCAP);
		if (sa)
			found(w, b, i, sa);
		else
			burst_drop(b, i, DROP_NO_SA);
	}
}
