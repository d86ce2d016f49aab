#include "shared/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t addr_len(uint8_t family)
{
	return family == 4 ? 4 : family == 6 ? 16 : 0;
}

uint8_t addr_bits(uint8_t family)
{
	return (uint8_t)(addr_len(family) * 8);
}

bool addr_equal(const struct ip_addr *a, const struct ip_addr *b)
{
	return addr_compare(a, b) == 0;
}

int addr_compare(const struct ip_addr *a, const struct ip_addr *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->b, b->b, addr_len(a->family));
}

bool addr_is_any(const struct ip_addr *a)
{
	static const uint8_t zero[16];

	return memcmp(a->b, zero, addr_len(a->family)) == 0;
}

int addr_from_bytes(uint8_t family, const uint8_t *data, size_t len, struct ip_addr *out)
{
	memset(out, 0, sizeof(*out));
	if (addr_len(family) == 0 || len != addr_len(family))
		return -1;
	out->family = family;
	memcpy(out->b, data, len);
	return 0;
}

int addr_parse(const char *text, struct ip_addr *out)
{
	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, text, out->b) == 1)
		out->family = 4;
	else if (inet_pton(AF_INET6, text, out->b) == 1)
		out->family = 6;
	return out->family ? 0 : -1;
}

const char *addr_str(const struct ip_addr *a, char buf[ADDR_STRLEN])
{
	if (a->family == 0)
		snprintf(buf, ADDR_STRLEN, "any");
	else
		inet_ntop(a->family == 4 ? AF_INET : AF_INET6, a->b, buf, ADDR_STRLEN);
	return buf;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && addr_equal(&a->addr, &b->addr);
}

const char *endpoint_str(const struct endpoint *e, char buf[ENDPOINT_STRLEN])
{
	char addr[ADDR_STRLEN];

	addr_str(&e->addr, addr);
	if (e->port == 0)
		snprintf(buf, ENDPOINT_STRLEN, "%s", addr);
	else
		snprintf(buf, ENDPOINT_STRLEN, e->addr.family == 6 ? "[%s]:%u" : "%s:%u", addr,
			e->port);
	return buf;
}

socklen_t endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (e->addr.family == 6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(e->port);
		memcpy(&in6->sin6_addr, e->addr.b, 16);
		return sizeof(*in6);
	}
	struct sockaddr_in *in = (struct sockaddr_in *)out;

	in->sin_family = AF_INET;
	in->sin_port = htons(e->port);
	memcpy(&in->sin_addr, e->addr.b, 4);
	return sizeof(*in);
}

int endpoint_from_sockaddr(const struct sockaddr *sa, struct endpoint *out)
{
	memset(out, 0, sizeof(*out));
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)sa;

		out->port = ntohs(in->sin_port);
		return addr_from_bytes(4, (const uint8_t *)&in->sin_addr, 4, &out->addr);
	}
	if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;

		out->port = ntohs(in6->sin6_port);
		return addr_from_bytes(6, (const uint8_t *)&in6->sin6_addr, 16, &out->addr);
	}
	return -1;
}

static uint8_t bit_mask(unsigned int byte, unsigned int prefix_len)
{
	if (prefix_len >= 8 * (byte + 1))
		return 0xff;
	if (prefix_len <= 8 * byte)
		return 0;
	return (uint8_t)(0xff << (8 - (prefix_len - 8 * byte)));
}

void prefix_mask(struct ip_prefix *p)
{
	for (unsigned int i = 0; i < addr_len(p->addr.family); i++)
		p->addr.b[i] &= bit_mask(i, p->len);
}

bool prefix_contains(const struct ip_prefix *p, const struct ip_addr *a)
{
	if (p->addr.family != a->family)
		return false;
	for (unsigned int i = 0; i < addr_len(a->family); i++)
		if ((p->addr.b[i] ^ a->b[i]) & bit_mask(i, p->len))
			return false;
	return true;
}

bool prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b)
{
	return a->len == b->len && addr_equal(&a->addr, &b->addr);
}

int prefix_parse(const char *text, struct ip_prefix *out)
{
	char addr[ADDR_STRLEN], *end;
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	unsigned long bits;

	memset(out, 0, sizeof(*out));
	if (len >= sizeof(addr))
		return -1;
	memcpy(addr, text, len);
	addr[len] = '\0';
	if (addr_parse(addr, &out->addr) < 0)
		return -1;
	out->len = addr_bits(out->addr.family);
	if (!slash)
		return 0;
	if (slash[1] < '0' || slash[1] > '9')
		return -1;
	bits = strtoul(slash + 1, &end, 10);
	if (*end != '\0' || bits > out->len)
		return -1;
	out->len = (uint8_t)bits;
	prefix_mask(out);
	return 0;
}

const char *prefix_str(const struct ip_prefix *p, char buf[PREFIX_STRLEN])
{
	char addr[ADDR_STRLEN];

	snprintf(buf, PREFIX_STRLEN, "%.46s/%u", addr_str(&p->addr, addr), p->len);
	return buf;
}

struct ip_range prefix_range(const struct ip_prefix *p)
{
	struct ip_range r = {p->addr, p->addr};

	for (unsigned int i = 0; i < addr_len(p->addr.family); i++) {
		r.lo.b[i] = (uint8_t)(p->addr.b[i] & bit_mask(i, p->len));
		r.hi.b[i] = (uint8_t)(p->addr.b[i] | (uint8_t)~bit_mask(i, p->len));
	}
	return r;
}

bool range_contains(const struct ip_range *r, const struct ip_addr *a)
{
	return r->lo.family == a->family && addr_compare(&r->lo, a) <= 0 &&
	       addr_compare(a, &r->hi) <= 0;
}

bool range_intersect(const struct ip_range *a, const struct ip_range *b, struct ip_range *out)
{
	if (a->lo.family != b->lo.family)
		return false;
	*out = (struct ip_range){
		addr_compare(&a->lo, &b->lo) > 0 ? a->lo : b->lo,
		addr_compare(&a->hi, &b->hi) < 0 ? a->hi : b->hi,
	};
	return addr_compare(&out->lo, &out->hi) <= 0;
}

bool range_to_prefix(const struct ip_range *r, struct ip_prefix *out)
{
	return range_to_prefixes(r, out, 1) == 1;
}

/* Adds one to an address; false if it wrapped. */
static bool addr_increment(struct ip_addr *a)
{
	for (size_t i = addr_len(a->family); i-- > 0;)
		if (++a->b[i] != 0)
			return true;
	return false;
}

size_t range_to_prefixes(const struct ip_range *r, struct ip_prefix *out, size_t cap)
{
	struct ip_addr at = r->lo;
	size_t n = 0;

	if (addr_len(at.family) == 0)
		return 0;
	while (addr_compare(&at, &r->hi) <= 0) {
		struct ip_prefix best = {at, addr_bits(at.family)};
		struct ip_range covered = prefix_range(&best);

		/* The widest prefix that begins here and ends inside the range. */
		while (best.len > 0) {
			struct ip_prefix wider = {at, (uint8_t)(best.len - 1)};
			struct ip_range wide = prefix_range(&wider);

			if (addr_compare(&wide.lo, &at) != 0 || addr_compare(&wide.hi, &r->hi) > 0)
				break;
			best = wider;
			covered = wide;
		}
		if (n < cap)
			out[n] = best;
		n++;
		at = covered.hi;
		if (!addr_increment(&at))
			break;
	}
	return n;
}

bool ts_intersect(const struct traffic_selector *a, const struct traffic_selector *b,
	struct traffic_selector *out)
{
	if (!range_intersect(&a->range, &b->range, &out->range))
		return false;
	if (a->proto != 0 && b->proto != 0 && a->proto != b->proto)
		return false;
	out->proto = a->proto ? a->proto : b->proto;
	out->port_lo = a->port_lo > b->port_lo ? a->port_lo : b->port_lo;
	out->port_hi = a->port_hi < b->port_hi ? a->port_hi : b->port_hi;
	return out->port_lo <= out->port_hi;
}

bool ts_equal(const struct traffic_selector *a, const struct traffic_selector *b)
{
	return addr_equal(&a->range.lo, &b->range.lo) && addr_equal(&a->range.hi, &b->range.hi) &&
	       a->proto == b->proto && a->port_lo == b->port_lo && a->port_hi == b->port_hi;
}

bool ts_contains(const struct traffic_selector *outer, const struct traffic_selector *inner)
{
	struct traffic_selector common;

	return ts_intersect(outer, inner, &common) && ts_equal(&common, inner);
}
