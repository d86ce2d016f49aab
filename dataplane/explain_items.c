#include "dataplane/explain_items.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "dataplane/drop_memory.h"
#include "dataplane/esp_out.h"
#include "dataplane/espd.h"
#include "dataplane/route.h"
#include "dataplane/sad.h"
#include "shared/transform.h"

void explain_item(struct explain *x, const char *name, const char *fmt, ...)
{
	char label[48], value[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	snprintf(label, sizeof(label), "%s%s", x->prefix, name);
	if (!x->json) {
		fprintf(x->f, "%-20s %s\n", label, value);
		return;
	}
	fprintf(x->f, "%s\"%s\": \"", x->any ? ", " : "", label);
	for (const char *c = value; *c; c++) {
		if (*c == '"' || *c == '\\')
			fprintf(x->f, "\\%c", *c);
		else
			fputc((unsigned char)*c < 0x20 ? ' ' : *c, x->f);
	}
	fputc('"', x->f);
	x->any = true;
}

void explain_number(struct explain *x, const char *name, uint64_t value)
{
	if (!x->json) {
		explain_item(x, name, "%" PRIu64, value);
		return;
	}
	fprintf(x->f, "%s\"%s%s\": %" PRIu64, x->any ? ", " : "", x->prefix, name, value);
	x->any = true;
}

void explain_object_begin(struct explain *x)
{
	x->any = false;
	x->prefix = "";
	if (x->json)
		fputc('{', x->f);
}

void explain_object_end(struct explain *x)
{
	if (x->json)
		fputs("}\n", x->f);
}

const char *explain_owner(uint32_t owner, char buf[24])
{
	if (owner >> 16 == IPC_OWNER_ENGINE)
		snprintf(buf, 24, "iked/%u", owner & 0xffff);
	else
		snprintf(buf, 24, "%s", owner >> 16 == IPC_OWNER_IPSECCTL ? "ipsecctl" : "system");
	return buf;
}

static uint32_t now_s(void)
{
	return (uint32_t)(loop_now_ms() / 1000);
}

/* ---- SAs, paths, next hops ---- */

void explain_next_hop(struct explain *x, const struct nexthop *nh)
{
	static const char *const states[] = {"its link address is not known", "valid",
		"a blackhole route: dropped", "an unreachable route: dropped",
		"on the link, its link address is not known"};
	char addr[ADDR_STRLEN];
	uint8_t state, mac[8];
	uint64_t dst;

	if (!nh) {
		explain_item(x, "next-hop", "none: no route");
		return;
	}
	state = atomic_load(&nh->state);
	dst = atomic_load(&nh->dst_mac);
	memcpy(mac, &dst, sizeof(mac));
	if (nh->port < x->e->dp.n_ports)
		explain_item(x, "port", "%s", x->e->dp.ports[nh->port].name);
	if (state == NEXTHOP_VALID)
		explain_item(x, "next-hop", "%s at %02x:%02x:%02x:%02x:%02x:%02x",
			nh->addr.family ? addr_str(&nh->addr, addr) : "the destination itself",
			mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	else
		explain_item(x, "next-hop", "%s (%s)",
			nh->addr.family ? addr_str(&nh->addr, addr) : "the destination itself",
			state < 5 ? states[state] : "?");
	if (nh->vlan)
		explain_number(x, "vlan", nh->vlan);
	explain_number(x, "next-hop-mtu", atomic_load(&nh->mtu));
}

static void drop_line(struct explain *x, const struct drop_note *n)
{
	struct ip_addr src = {.family = n->family}, dst = src;
	char from[ADDR_STRLEN], to[ADDR_STRLEN];

	memcpy(src.b, n->src, 16);
	memcpy(dst.b, n->dst, 16);
	explain_item(x, "last-drop", "%s, %u s ago: %s (%s port %u > %s port %u proto %u)",
		drop_name(n->reason), now_s() - n->at_s, drop_text(n->reason), addr_str(&src, from),
		n->sport, addr_str(&dst, to), n->dport, n->proto);
	explain_item(x, "last-drop-reason", "%s", drop_name(n->reason));
}

/* The newest note of all workers. */
void explain_last_drop(struct explain *x, const struct ip_addr *src, const struct ip_addr *dst)
{
	struct drop_note newest = {.at_s = 0}, n;
	bool any = false;

	for (uint16_t i = 0; i < x->e->dp.n_workers; i++) {
		if (drop_memory_pair(x->e->dp.workers[i]->drop_memory, src, dst, &n) &&
			(!any || n.at_s > newest.at_s)) {
			newest = n;
			any = true;
		}
	}
	if (any)
		drop_line(x, &newest);
	else
		explain_item(x, "last-drop", "none is remembered");
}

void explain_last_drop_spi(struct explain *x, uint32_t spi)
{
	struct drop_note newest = {.at_s = 0}, n;
	bool any = false;

	for (uint16_t i = 0; i < x->e->dp.n_workers; i++) {
		if (drop_memory_spi(x->e->dp.workers[i]->drop_memory, spi, &n) &&
			(!any || n.at_s > newest.at_s)) {
			newest = n;
			any = true;
		}
	}
	if (any)
		drop_line(x, &newest);
	else
		explain_item(x, "last-drop", "none is remembered");
}

static void sa_drops(struct explain *x, const struct sa_hot *sa)
{
	char text[400] = "";
	size_t len = 0;

	for (unsigned int i = 1; i < DROP_N && len < sizeof(text) - 40; i++)
		if (sa->cold->drops[i])
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s %u",
				len ? ", " : "", drop_name(i), sa->cold->drops[i]);
	explain_item(x, "sa-dropped", "%s", len ? text : "0");
}

static void sa_counters(struct explain *x, const struct sa_hot *sa)
{
	explain_number(x, "sa-packets", sa->packets);
	explain_number(x, "sa-bytes", sa->bytes);
	if (sa->last_use_s)
		explain_item(x, "sa-last-use", "%u s ago", now_s() - sa->last_use_s);
	else
		explain_item(x, "sa-last-use", "never");
	sa_drops(x, sa);
}

void explain_sa(struct explain *x, const struct sa_hot *sa)
{
	static const char *const states[] = {"larval", "live", "dying", "dead"};
	const struct path *path = atomic_load(&sa->path);
	const struct transform *encr = transform_find(
		TRANSFORM_ENCR, sa->suite->encr_id, sa->suite->key_len);
	const struct transform *integ = transform_find(TRANSFORM_INTEG, sa->suite->integ_id, 0);
	char local[ENDPOINT_STRLEN], remote[ENDPOINT_STRLEN], owner[24];
	bool out = sa->flags & SA_F_OUT;
	uint8_t state = atomic_load(&sa->state);

	explain_item(x, "sa", "esp %s %s spi 0x%08x enc %s%s%s",
		sa->flags & SA_F_TUNNEL ? "tunnel" : "transport", out ? "out" : "in", sa->spi,
		encr ? encr->ipsecctl_name : "?",
		integ && sa->suite->integ_id != INTEG_NONE ? " auth " : "",
		integ && sa->suite->integ_id != INTEG_NONE ? integ->ipsecctl_name : "");
	explain_item(x, "sa-spi", "0x%08x", sa->spi);
	explain_item(x, "sa-state", "%s", state < 4 ? states[state] : "?");
	explain_item(x, "sa-owner", "%s", explain_owner(sa->cold->owner, owner));
	if (sa->cold->dstid && sa->cold->dstid[0])
		explain_item(x, "sa-peer-id", "%s", sa->cold->dstid);
	sa_counters(x, sa);
	if (!path)
		return;
	explain_item(x, "path", "%s > %s%s", endpoint_str(&path->local, local),
		endpoint_str(&path->remote, remote), path->flags & PATH_UDP ? " in UDP" : "");
	explain_number(x, "path-mtu", atomic_load(&path->mtu));
	if (!out)
		return;
	explain_number(x, "mtu", sa_inner_mtu(sa, 20));
	explain_next_hop(x, atomic_load(&path->nexthop));
}
