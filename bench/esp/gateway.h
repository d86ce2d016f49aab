#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "dataplane/suite.h"
#include "dataplane/worker.h"

struct grace;
struct rte_mempool;
struct path;
struct sa_hot;

/*
 * espd's data plane without its main loop: the program's own tables, pipeline and workers, whose
 * turns the caller's threads take. Port 0 receives (traffic.h), a queue a worker, port 1 swallows
 * what goes out.
 *
 * Tunnel i: 172.16.0.0/16 here, the host 10.0.0.0/8 + i there, the peer 198.18.0.0/15 + i; our
 * own outer address is 192.0.2.1.
 */
struct gateway_config {
	const struct suite *suite;
	uint32_t n_tunnels;
	bool is_inbound; /* the SAs that are made: else outbound ones */
	bool has_esn;
	uint32_t window;
	uint16_t n_workers; /* 0: one; SAs are theirs in turn */
};

struct gateway {
	struct gateway_config config;
	struct dataplane dp;
	struct worker *worker; /* the first */
	struct grace *grace;
	struct sa_hot **sa; /* n_tunnels of them */
	struct path **path;
};

#define GATEWAY_BURST WORKER_RX_BURST
#define GATEWAY_TUNNELS_MAX 131072
#define GATEWAY_KEY_MAX 64
#define GATEWAY_WORKERS_MAX 2

extern const uint8_t gateway_mac[6];

/*
 * EAL, and the routing tables, once a process: this thread on the first CPU, an lcore on each
 * other one that waits for work. cpus[0] -1: any. 0, or -1 with a text on stderr.
 */
int gateway_eal_init(const int *cpus, unsigned int n_cpus, uint32_t memory_mb, bool no_huge);
void gateway_eal_fini(void);
/* Which memory EAL got: "huge" or "ordinary" pages. */
const char *gateway_pages(void);
struct router *gateway_router(void);

/* NULL with a text on stderr. */
struct gateway *gateway_create(const struct gateway_config *config);
void gateway_destroy(struct gateway *g);
/*
 * Opens the ports: what the files rx_pcap hold, one a worker, comes in, over and over. pool: for
 * packets.
 */
int gateway_ports_open(struct gateway *g, const char *const *rx_pcap, struct rte_mempool *pool);
void gateway_ports_close(struct gateway *g);

/* The first n workers own all SAs, in turn: with 1 the others have nothing to do. */
void gateway_owners_set(struct gateway *g, uint16_t n_workers);

/* Keys of tunnel i: key_len + salt_len and integ_key_len bytes. */
void gateway_keys(const struct suite *s, uint32_t i, uint8_t enc[GATEWAY_KEY_MAX],
	uint8_t integ[GATEWAY_KEY_MAX]);
/* Inbound: all windows as if nothing had come yet. Outbound: numbers start again. */
void gateway_rewind(struct gateway *g);
/* Inbound SPI of tunnel i. */
uint32_t gateway_spi(const struct gateway *g, uint32_t i);
/* Host order. */
uint32_t gateway_peer(uint32_t i);
uint32_t gateway_host(uint32_t i);
#define GATEWAY_OUTER 0xc0000201u /* 192.0.2.1 */
#define GATEWAY_INNER 0xac100101u /* 172.16.1.1 */
