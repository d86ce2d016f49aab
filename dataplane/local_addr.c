#include "dataplane/local_addr.h"

#include <stdlib.h>
#include <string.h>

/*
 * Open addressing over addresses and directed broadcasts; at most half full. Nearly every packet
 * asks once or twice, so IPv4 has a table of its own that is compared by words.
 */

struct slot4 {
	uint32_t addr; /* as it lies in the packet; 0: empty */
	uint32_t class;
};

struct slot {
	uint8_t family; /* 0: empty */
	uint8_t class;
	uint8_t b[16];
};

struct local_addrs {
	uint32_t mask; /* of both tables */
	struct slot4 *v4;
	struct slot slots[];
};

static uint32_t slot_hash(uint8_t family, const uint8_t *b)
{
	uint64_t w[2] = {0};

	memcpy(w, b, addr_len(family));
	w[0] = (w[0] ^ (w[0] >> 32) ^ w[1] * 0x9e3779b97f4a7c15ULL) * 0xbf58476d1ce4e5b9ULL;
	return (uint32_t)(w[0] >> 32);
}

static inline uint32_t slot4_hash(uint32_t addr)
{
	return (uint32_t)(addr * 0x9e3779b97f4a7c15ULL >> 32);
}

static void slot4_add(struct local_addrs *set, const uint8_t *b, enum local_class class)
{
	uint32_t addr, i;

	memcpy(&addr, b, sizeof(addr));
	if (addr == 0)
		return;
	for (i = slot4_hash(addr) & set->mask; set->v4[i].addr != 0; i = (i + 1) & set->mask) {
		if (set->v4[i].addr != addr)
			continue;
		/* A /31's or another network's address is ours before it is a broadcast. */
		if (class == LOCAL_OURS)
			set->v4[i].class = class;
		return;
	}
	set->v4[i] = (struct slot4){addr, class};
}

static void slot_add(
	struct local_addrs *set, uint8_t family, const uint8_t *b, enum local_class class)
{
	uint32_t i = slot_hash(family, b) & set->mask;

	if (family == 4) {
		slot4_add(set, b, class);
		return;
	}
	for (; set->slots[i].family != 0; i = (i + 1) & set->mask) {
		const struct slot *s = &set->slots[i];

		if (s->family == family && memcmp(s->b, b, addr_len(family)) == 0)
			return;
	}
	set->slots[i].family = family;
	set->slots[i].class = class;
	memcpy(set->slots[i].b, b, addr_len(family));
}

struct local_addrs *local_addrs_create(const struct local_addr *addrs, size_t n)
{
	struct local_addrs *set;
	uint32_t n_slots = 16;

	while (n_slots < n * 4)
		n_slots *= 2;
	set = calloc(1, sizeof(*set) + n_slots * (sizeof(set->slots[0]) + sizeof(*set->v4)));
	if (set == NULL)
		return NULL;
	set->mask = n_slots - 1;
	set->v4 = (struct slot4 *)(void *)(set->slots + n_slots);
	for (size_t i = 0; i < n; i++) {
		const struct ip_addr *a = &addrs[i].addr;
		uint8_t len = addrs[i].prefix_len, broadcast[4];

		if (a->family != 4 && a->family != 6)
			continue;
		slot_add(set, a->family, a->b, LOCAL_OURS);
		if (a->family != 4 || len > 30) /* RFC 3021: a /31 has none */
			continue;
		memcpy(broadcast, a->b, 4);
		for (unsigned bit = len; bit < 32; bit++)
			broadcast[bit / 8] |= 0x80 >> (bit % 8);
		slot_add(set, 4, broadcast, LOCAL_BROADCAST);
	}
	return set;
}

void local_addrs_destroy(struct local_addrs *set)
{
	free(set);
}

static enum local_class group_class(uint8_t family, const uint8_t *a)
{
	static const uint8_t all_ones[4] = {255, 255, 255, 255};

	if (family == 4) {
		if (memcmp(a, all_ones, 4) == 0)
			return LOCAL_BROADCAST;
		if (a[0] >> 4 != 14)
			return LOCAL_NO;
		/* RFC 5771 4: 224.0.0.0/24 is never forwarded. */
		return a[1] == 0 && a[2] == 0 && a[0] == 224 ? LOCAL_LINK : LOCAL_MULTICAST;
	}
	if (a[0] != 0xff)
		return LOCAL_NO;
	/* RFC 4291 2.7: scopes 1 (interface) and 2 (link). */
	return (a[1] & 15) <= 2 ? LOCAL_LINK : LOCAL_MULTICAST;
}

/* Where it is not a group. */
static inline enum local_class class_v4(const struct local_addrs *set, const uint8_t *b)
{
	uint32_t addr;

	if (set == NULL)
		return LOCAL_NO;
	memcpy(&addr, b, sizeof(addr));
	for (uint32_t i = slot4_hash(addr) & set->mask; set->v4[i].addr != 0;
		i = (i + 1) & set->mask)
		if (set->v4[i].addr == addr)
			return (enum local_class)set->v4[i].class;
	return LOCAL_NO;
}

enum local_class local_addrs_class(
	const struct local_addrs *set, uint8_t family, const uint8_t *addr)
{
	enum local_class group;

	if (family == 4 && addr[0] < 224)
		return class_v4(set, addr);
	group = group_class(family, addr);
	if (group != LOCAL_NO || set == NULL)
		return group;
	if (family == 4)
		return class_v4(set, addr);
	for (uint32_t i = slot_hash(family, addr) & set->mask; set->slots[i].family != 0;
		i = (i + 1) & set->mask) {
		const struct slot *s = &set->slots[i];

		if (s->family == family && memcmp(s->b, addr, addr_len(family)) == 0)
			return s->class;
	}
	return LOCAL_NO;
}
