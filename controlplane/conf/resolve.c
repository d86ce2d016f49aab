#include "controlplane/conf/resolve.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Known without /etc/protocols, which a chroot or a small system may lack. */
static const struct {
	const char *name;
	uint8_t proto;
} protocols[] = {
	{"icmp", 1},
	{"igmp", 2},
	{"ipencap", 4},
	{"tcp", 6},
	{"udp", 17},
	{"ipv6", 41},
	{"gre", 47},
	{"esp", 50},
	{"ah", 51},
	{"ipv6-icmp", 58},
	{"icmp6", 58},
	{"ospf", 89},
	{"etherip", 97},
	{"ipcomp", 108},
	{"sctp", 132},
};
#define N_PROTOCOLS (sizeof(protocols) / sizeof(protocols[0]))

static const struct {
	const char *name;
	uint16_t port;
} services[] = {{"isakmp", 500}, {"ipsec-nat-t", 4500}, {"l2tp", 1701}};
#define N_SERVICES (sizeof(services) / sizeof(services[0]))

static size_t by_name(const struct conf_resolver *r, const char *name, struct ip_addr *out)
{
	size_t n = r->interface ? r->interface(r->ctx, name, out, RESOLVE_MAX) : 0;

	if (n == 0 && r->host)
		n = r->host(r->ctx, name, out, RESOLVE_MAX);
	return n < RESOLVE_MAX ? n : RESOLVE_MAX;
}

static bool looks_numeric(const char *name)
{
	return strchr(name, ':') || name[strspn(name, "0123456789./")] == '\0';
}

static size_t find_addresses(const struct conf_resolver *r, struct conf_diags *diags,
	const char *name, const struct conf_pos *pos, struct ip_prefix out[RESOLVE_MAX])
{
	struct ip_addr addrs[RESOLVE_MAX];
	size_t n;

	if (prefix_parse(name, &out[0]) == 0)
		return 1;
	if (looks_numeric(name)) {
		conf_error(diags, pos,
			"'%s' is not an address, expected for example 192.0.2.1 or "
			"10.0.1.0/24",
			name);
		return 0;
	}
	n = by_name(r, name, addrs);
	if (n == 0)
		conf_error(diags, pos,
			"could not resolve '%s', expected an address, a host or an "
			"interface",
			name);
	for (size_t i = 0; i < n; i++)
		out[i] = (struct ip_prefix){addrs[i], addr_bits(addrs[i].family)};
	return n;
}

size_t conf_resolve(const struct conf_resolver *resolver, struct conf_diags *diags,
	const char *name, const struct conf_pos *pos, bool has_len, int64_t len,
	const struct conf_pos *len_pos, struct ip_prefix out[RESOLVE_MAX])
{
	size_t n = find_addresses(
		resolver ? resolver : &conf_resolver_system, diags, name, pos, out);

	for (size_t i = 0; i < n && has_len; i++) {
		if (len < 0 || len > out[i].len) {
			conf_error(diags, len_pos, "prefix length %lld, expected 0 to %u",
				(long long)len, out[i].len);
			return 0;
		}
		out[i].len = (uint8_t)len;
		prefix_mask(&out[i]);
	}
	return n;
}

uint16_t conf_resolve_port(const struct conf_resolver *resolver, struct conf_diags *diags,
	const char *name, const struct conf_pos *pos)
{
	const struct conf_resolver *r = resolver ? resolver : &conf_resolver_system;
	uint16_t port = 0;

	if (name[strspn(name, "0123456789")] == '\0' && *name) {
		unsigned long n = strtoul(name, NULL, 10);

		if (n >= 1 && n <= 65535)
			return (uint16_t)n;
		conf_error(diags, pos, "port %s, expected 1 to 65535", name);
		return 0;
	}
	for (size_t i = 0; i < N_SERVICES; i++)
		if (strcmp(services[i].name, name) == 0)
			return services[i].port;
	if (r->service) {
		port = r->service(r->ctx, name, IPPROTO_TCP);
		if (port == 0)
			port = r->service(r->ctx, name, IPPROTO_UDP);
	}
	if (port == 0)
		conf_error(diags, pos, "unknown port '%s', expected a number or a service's name",
			name);
	return port;
}

int conf_resolve_proto(struct conf_diags *diags, const char *name, const struct conf_pos *pos)
{
	char buf[512];
	struct protoent entry, *found = NULL;

	if (*name && name[strspn(name, "0123456789")] == '\0') {
		unsigned long n = strtoul(name, NULL, 10);

		if (n >= 1 && n <= 255)
			return (int)n;
		conf_error(diags, pos, "protocol %s, expected 1 to 255", name);
		return -1;
	}
	for (size_t i = 0; i < N_PROTOCOLS; i++)
		if (strcmp(protocols[i].name, name) == 0)
			return protocols[i].proto;
	if (getprotobyname_r(name, &entry, buf, sizeof(buf), &found) == 0 && found &&
		found->p_proto >= 1 && found->p_proto <= 255)
		return found->p_proto;
	conf_error(
		diags, pos, "unknown protocol: %s, expected a name such as udp or a number", name);
	return -1;
}

const char *conf_proto_str(uint8_t proto, char buf[16])
{
	for (size_t i = 0; i < N_PROTOCOLS; i++)
		if (protocols[i].proto == proto)
			return protocols[i].name;
	snprintf(buf, 16, "%u", proto);
	return buf;
}

const char *conf_port_str(uint16_t port, uint8_t proto, char buf[16])
{
	char data[1024];
	struct servent entry, *found = NULL;

	for (size_t i = 0; i < N_SERVICES; i++)
		if (services[i].port == port && proto != IPPROTO_TCP)
			return services[i].name;
	snprintf(buf, 16, "%u", port);
	if (getservbyport_r(htons(port), proto == IPPROTO_TCP ? "tcp" : "udp", &entry, data,
		    sizeof(data), &found) == 0 &&
		found && strlen(found->s_name) < 16)
		snprintf(buf, 16, "%s", found->s_name);
	return buf;
}

/* The interface of the default route, as OpenBSD's group egress; "" if there is none. */
static void egress_interface(char name[IF_NAMESIZE])
{
	FILE *f = fopen("/proc/net/route", "re");
	char line[256], iface[IF_NAMESIZE];
	unsigned int dst, mask;

	name[0] = '\0';
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%15s %x %*x %*x %*d %*d %*d %x", iface, &dst, &mask) == 3 &&
			dst == 0 && mask == 0) {
			memcpy(name, iface, IF_NAMESIZE);
			break;
		}
	if (f)
		fclose(f);
}

static size_t system_interface(void *ctx, const char *name, struct ip_addr *out, size_t cap)
{
	struct ifaddrs *list = NULL;
	char egress[IF_NAMESIZE];
	size_t n = 0;

	(void)ctx;
	if (strcmp(name, "egress") == 0) {
		egress_interface(egress);
		name = egress;
	}
	if (getifaddrs(&list) < 0)
		return 0;
	for (struct ifaddrs *i = list; i; i = i->ifa_next) {
		struct endpoint e;

		if (!i->ifa_addr || strcmp(i->ifa_name, name) != 0 ||
			endpoint_from_sockaddr(i->ifa_addr, &e) < 0)
			continue;
		/* RFC 4291 2.5.6: a link-local address names no host beyond the link. */
		if (e.addr.family == 6 && e.addr.b[0] == 0xfe && (e.addr.b[1] & 0xc0) == 0x80)
			continue;
		if (n < cap)
			out[n] = e.addr;
		n++;
	}
	freeifaddrs(list);
	return n;
}

static size_t system_host(void *ctx, const char *name, struct ip_addr *out, size_t cap)
{
	struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *list;
	size_t n = 0;

	(void)ctx;
	if (getaddrinfo(name, NULL, &hints, &list) != 0)
		return 0;
	for (struct addrinfo *i = list; i; i = i->ai_next) {
		struct endpoint e;

		if (endpoint_from_sockaddr(i->ai_addr, &e) < 0)
			continue;
		if (n < cap)
			out[n] = e.addr;
		n++;
	}
	freeaddrinfo(list);
	return n;
}

static uint16_t system_service(void *ctx, const char *name, uint8_t proto)
{
	char data[1024];
	struct servent entry, *found = NULL;

	(void)ctx;
	if (getservbyname_r(name, proto == IPPROTO_TCP ? "tcp" : "udp", &entry, data, sizeof(data),
		    &found) != 0 ||
		!found)
		return 0;
	return ntohs((uint16_t)found->s_port);
}

const struct conf_resolver conf_resolver_system = {
	.interface = system_interface,
	.host = system_host,
	.service = system_service,
};
