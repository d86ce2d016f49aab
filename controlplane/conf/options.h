#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "shared/addr.h"

/*
 * Where names in a configuration come from. Numeric addresses never get here. A function that is
 * NULL finds nothing; tests give a table and need no network.
 */
struct conf_resolver {
	void *ctx;
	/* Addresses of an interface (with its prefix length cut to the host) or of the group
	 * `egress`; writes at most cap, returns how many there are. */
	size_t (*interface)(void *ctx, const char *name, struct ip_addr *out, size_t cap);
	/* Addresses of a host name, likewise. */
	size_t (*host)(void *ctx, const char *name, struct ip_addr *out, size_t cap);
	/* Port of a service, 0 if unknown; proto is IPPROTO_TCP or IPPROTO_UDP. */
	uint16_t (*service)(void *ctx, const char *name, uint8_t proto);
};

/* getifaddrs, /proc/net/route (egress), getaddrinfo, /etc/services. */
extern const struct conf_resolver conf_resolver_system;

/* -D name=value: beats a definition in the file. */
struct conf_macro {
	const char *name, *value;
};

/* How to read a file; all zero is a good start. */
struct conf_options {
	/* The file and all it includes must belong to root or the current user and be closed to
	 * others (mode 0640 or less), key files too. */
	bool check_permissions;
	const struct conf_macro *macros;
	size_t n_macros;
	FILE *show_macros; /* each definition, as name = "value" with the value in force; NULL: no
			    */
	const struct conf_resolver *resolver; /* NULL: conf_resolver_system */
	/* If not NULL, this is read instead of the file, whose path is only named in messages. */
	const char *text;
	size_t text_len;
};
