#include "dataplane/path.h"

#include <string.h>

#include <rte_malloc.h>

#include "dataplane/esp_wire.h"

int path_init(struct path *p, const struct endpoint *local, const struct endpoint *remote,
	uint32_t flags, uint16_t mtu)
{
	if (local->addr.family != remote->addr.family || addr_len(local->addr.family) == 0)
		return -1;
	memset(p, 0, sizeof(*p));
	p->local = *local;
	p->remote = *remote;
	p->family = local->addr.family;
	p->flags = (uint8_t)flags;
	p->mtu = mtu;
	uint8_t proto = flags & PATH_UDP ? PROTO_UDP : PROTO_ESP;
	if (p->family == 4) {
		p->ip_len = 20;
		p->hdr[0] = 0x45;
		p->hdr[9] = proto;
		memcpy(p->hdr + 12, local->addr.b, 4);
		memcpy(p->hdr + 16, remote->addr.b, 4);
	} else {
		p->ip_len = 40;
		p->hdr[0] = 0x60;
		p->hdr[6] = proto;
		memcpy(p->hdr + 8, local->addr.b, 16);
		memcpy(p->hdr + 24, remote->addr.b, 16);
	}
	/* Of what is 0 until a packet is sent nothing is in it: the complement of the checksum. */
	if (p->family == 4)
		p->hdr_sum = (uint16_t)~__builtin_bswap16(ip4_checksum(p->hdr, 20));
	p->hdr_len = p->ip_len;
	if (flags & PATH_UDP) {
		put_u16(p->hdr + p->ip_len, local->port);
		put_u16(p->hdr + p->ip_len + 2, remote->port);
		p->hdr_len += 8;
	}
	return 0;
}

struct path *path_create(
	const struct endpoint *local, const struct endpoint *remote, uint32_t flags, uint16_t mtu)
{
	struct path *p = rte_zmalloc("path", sizeof(*p), 64);
	if (p && path_init(p, local, remote, flags, mtu) != 0) {
		rte_free(p);
		return NULL;
	}
	return p;
}

void path_destroy(struct path *p)
{
	rte_free(p);
}
