#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controlplane/cli/ipsecctl.h"

/*
 * The tunnels of a gateway as a monitor sees them. A tunnel is a pair of networks (with protocol
 * and ports where a flow has them), not an SA: SAs come and go with each rekey, and a series named
 * after an SPI would be new every few hours. The counters of a tunnel go on over its SAs.
 *
 * A tunnel is configured while an outbound flow that wants protection stands for it; it is up
 * while an SA serves that flow. One that is down stays, also while espd is away, and for
 * TUNNEL_KEEP_S after its flow was last seen.
 */
#define TUNNEL_KEEP_S 3600
#define TUNNEL_NET_LEN 112 /* "lo-hi" of IPv6, or a prefix */

enum tunnel_direction { TUNNEL_IN = 0, TUNNEL_OUT };
enum tunnel_drop {
	TUNNEL_DROP_REPLAY = 0,
	TUNNEL_DROP_ICV,
	TUNNEL_DROP_SELECTORS,
	TUNNEL_DROP_OTHER,
	TUNNEL_DROPS,
};
const char *tunnel_drop_str(enum tunnel_drop drop);

struct tunnel_counters {
	uint64_t packets, bytes, drops[TUNNEL_DROPS];
};

struct tunnel {
	/* What it is known by. */
	char local[TUNNEL_NET_LEN], remote[TUNNEL_NET_LEN];
	uint8_t proto;                    /* 0: any */
	uint16_t local_port, remote_port; /* 0: any */
	/* What it is at present; texts are those of its newest SA, else of its flow. */
	bool is_configured, is_up;
	char peer[ADDR_STRLEN], local_id[IPC_ID_LEN], peer_id[IPC_ID_LEN], suite[64];
	uint32_t n_sas[2], spi[2];
	uint64_t newest_s[2];
	uint32_t mtu; /* inner; 0: not known */
	uint64_t last_use_s[2];
	struct tunnel_counters counters[2], marked[2]; /* marked: see tunnels_mark */
	uint64_t seen_s;                               /* when a flow or SA of it was there last */
};

struct tunnels; /* opaque */

/* At most max tunnels are kept; further ones are counted. NULL: no memory. */
struct tunnels *tunnels_create(size_t max) __attribute__((warn_unused_result));
void tunnels_destroy(struct tunnels *t);
/* listing NULL: espd is away, so that all tunnels are down. 0 or -1 (no memory). */
int tunnels_update(struct tunnels *t, const struct ipsecctl_listing *listing, uint64_t now_s)
	__attribute__((warn_unused_result));
/* Copies all counters to `marked`, for rates between now and later. */
void tunnels_mark(struct tunnels *t);
size_t tunnels_count(const struct tunnels *t);
/* In the order in which they came. */
const struct tunnel *tunnels_at(const struct tunnels *t, size_t index);
/* Tunnels that are there and found no place at the last update. */
size_t tunnels_omitted(const struct tunnels *t);
/* Of all SAs, also those of omitted tunnels. */
const struct tunnel_counters *tunnels_total(const struct tunnels *t, enum tunnel_direction d);
