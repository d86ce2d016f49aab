#pragma once

#include "controlplane/conf/diag.h"
#include "controlplane/conf/options.h"

/* Names to numbers for the builders of all three languages. */

#define RESOLVE_MAX 64 /* addresses of one name */

/*
 * ADDR, ADDR/len, an interface, a group or a host name, in this order. has_len gives a length
 * written apart; it applies to each address found. Returns how many prefixes there are (at most
 * RESOLVE_MAX), 0 after an error.
 */
size_t conf_resolve(const struct conf_resolver *resolver, struct conf_diags *diags,
	const char *name, const struct conf_pos *pos, bool has_len, int64_t len,
	const struct conf_pos *len_pos, struct ip_prefix out[RESOLVE_MAX]);

/* A number or a service name (looked up as tcp, then as udp); 0 after an error. */
uint16_t conf_resolve_port(const struct conf_resolver *resolver, struct conf_diags *diags,
	const char *name, const struct conf_pos *pos);

/* A protocol's number by number or name; -1 after an error. */
int conf_resolve_proto(struct conf_diags *diags, const char *name, const struct conf_pos *pos);

/* The name ipsecctl prints: from /etc/protocols, else the number in buf. */
const char *conf_proto_str(uint8_t proto, char buf[16]);
/* Likewise for a port: looked up for tcp if proto is tcp, else for udp (`l2tp` is 1701). */
const char *conf_port_str(uint16_t port, uint8_t proto, char buf[16]);
