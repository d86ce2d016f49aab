#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "dataplane/burst.h"
#include "dataplane/pktmeta.h"
#include "dataplane/icmp_error.h"
#include "dataplane/parse.h"
#include "dataplane/port.h"
#include "dataplane/worker_ctx.h"
#include "dataplane/worker_idle.h"

struct rte_ring;
struct rte_rcu_qsbr;
struct rte_mempool;
struct router;
struct reassembly;
struct drop_memory;
struct known;

#define WORKERS_MAX 16
#define WORKER_RX_BURST 32
#define WORKER_ACQUIRES 256   /* flows that may ask for an SA in a second, a worker */
#define WORKER_RING_SIZE 1024 /* slots of each ring between two threads */

/* What the stages know of this namespace's addresses and of IKE's ports. */
struct dp_addresses {
	struct parse_ctx parse; /* its sets are owned here */
	/* For ICMP errors: addresses of the ports' TAPs, in the kernel's order. */
	struct {
		struct ip_addr addr;
		uint16_t port, vlan;
	} icmp_sources[64];
	uint16_t n_icmp_sources;
};

/*
 * What all workers share. Main writes it before they start, and afterwards only the atomic
 * members and what the libraries publish by themselves.
 */
struct dataplane {
	struct port ports[PORTS_MAX];
	uint16_t n_ports;
	struct worker *workers[WORKERS_MAX];
	uint16_t n_workers;
	struct rte_rcu_qsbr *qsbr;
	struct rte_mempool *pool;
	struct sad *sad;
	struct spd *spd;
	uint64_t reassembly_seed;
	struct rte_mempool *big_pool; /* reassembled datagrams of up to 64 KiB */
	struct router *router;
	struct dp_config config;
	_Atomic bool is_spinning; /* `idle spin`: workers never sleep */
	_Atomic bool stop;
	_Atomic bool is_ready; /* fail closed: set when all owners have resynced */
	/* Replaced whole by main; the old one is freed after a grace period. */
	struct dp_addresses *_Atomic addresses;
	_Atomic uint64_t version; /* main: raised after `addresses` or config was changed */
	_Atomic uint32_t n_traces, n_captures; /* > 0: somebody listens on the debug socket */
	_Atomic uint32_t capture_spi;          /* 0: every SA */
	int main_fd;                           /* eventfd on which main sleeps */
	_Atomic bool is_main_asleep;
};

/* One thread. All but the rings' far ends and the counters is its own. */
struct worker {
	struct worker_ctx ctx;
	struct dataplane *dp;
	uint16_t id;
	unsigned int lcore;
	struct rte_ring *to_main, *from_main;
	struct rte_ring *handoff[WORKERS_MAX]; /* [from]: packets for this worker */
	int wake_fd;                           /* eventfd on which it sleeps */
	_Atomic bool is_asleep;
	struct worker_idle idle;
	uint64_t next_second_tsc;
	struct burst burst, aside; /* the burst at work; packets that others handed over */
	struct rte_mbuf *tx[PORTS_MAX][BURST_MAX];
	uint16_t n_tx[PORTS_MAX];
	/* Only while somebody traces: the text of each packet of the burst, trace.c. */
	struct rte_mbuf *trace_text[BURST_MAX];
	uint8_t trace_next[BURST_MAX];
	uint16_t trace_n;
	bool wake_main;                  /* something was put into to_main in this turn */
	uint32_t wake_workers;           /* bit n: something was handed to worker n */
	struct drop_memory *drop_memory; /* the last drops, for `penstockctl explain` */
	struct reassembly *reassembly;
	struct known *known;
	uint32_t expire_s;
	struct icmp_limit icmp_limit;
	uint32_t neigh_second, n_neigh_asked; /* packets given to main for want of a neighbour */
	uint32_t acquire_second, n_acquires;
	/* Flows that asked for an SA in this second; a flow that is pushed out may ask again. */
	uint64_t acquired[WORKER_ACQUIRES];
	/* Read by main for the view. */
	uint64_t rx_packets[PORTS_MAX], rx_bytes[PORTS_MAX];
	uint64_t tx_packets[PORTS_MAX], tx_bytes[PORTS_MAX], tx_full[PORTS_MAX];
	uint64_t turns, sleeps, handed_over, taken_over;
	uint64_t n_known; /* packets that known.h had the answer for */
	uint64_t bypassed, to_host, from_host, punted, icmp_sent, fragmented, acquires;
};

/* Makes worker id's rings and state. NULL: no memory. The ports are started already. */
struct worker *worker_create(struct dataplane *dp, uint16_t id);
void worker_destroy(struct worker *w);
/* rte_eal_remote_launch's function: runs until dp->stop. */
int worker_run(void *worker);
/*
 * One turn of it: what rings and ports hold now, up to a burst of each, is gone on return. How
 * many packets that was. The caller is registered with the qsbr and online.
 */
unsigned int worker_turn(struct worker *w);

/* Gives m to main with its meta filled (kind and what belongs to it); wakes main at the turn's
 * end. A full ring frees m and returns false. */
bool worker_to_main(struct worker *w, struct rte_mbuf *m);
/* Hands m to another worker. A full ring frees m and returns false. */
bool worker_handoff(struct worker *w, uint16_t to, struct rte_mbuf *m);
/* Queues a frame for a port; sent at the latest at the turn's end. */
void worker_tx(struct worker *w, uint16_t port, struct rte_mbuf *m);
void worker_tx_flush(struct worker *w);

/* Main: gives m to a worker and wakes it. False: the ring is full (m is still the caller's). */
bool worker_from_main(struct worker *w, struct rte_mbuf *m);
void worker_wake(struct worker *w);
