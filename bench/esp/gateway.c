#include "bench/esp/gateway.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_rcu_qsbr.h>

#include "bench/random.h"
#include "dataplane/crypto_mb.h"
#include "dataplane/eal.h"
#include "dataplane/grace.h"
#include "dataplane/route.h"
#include "dataplane/sad.h"
#include "dataplane/spd.h"
#include "ipc/spi.h"

#define IFINDEX_OUT 102

const uint8_t gateway_mac[6] = {0x02, 0, 0, 0, 0, 0x01};
static const uint8_t neighbour_mac[6] = {0x02, 0, 0, 0, 0, 0x02};

/* One a process: they do not depend on the tunnels, and are slow to make. */
static struct eal *eal;
static struct router *router;
static struct nexthop *hop;

static int complain(const char *what)
{
	fprintf(stderr, "bench-esp: %s\n", what);
	return -1;
}

static struct ip_addr addr4(uint32_t host_order)
{
	struct ip_addr a = {.family = 4};

	host_order = __builtin_bswap32(host_order);
	memcpy(a.b, &host_order, 4);
	return a;
}

static int routes_create(void)
{
	struct router_config rc = {.seed = 1, .numa_node = -1, .name = "routes"};
	struct ip_prefix all = {.addr = {.family = 4}, .len = 0};
	struct ip_addr gw = addr4(0xc0000202);

	router = router_create(&rc);
	if (!router || router_set_interface(router, IFINDEX_OUT, 1, 0, 1500, gateway_mac) != 0)
		return -1;
	hop = nexthop_get(router, IFINDEX_OUT, &gw);
	if (!hop)
		return -1;
	nexthop_set_mac(hop, neighbour_mac);
	return route_add(router, &all, hop);
}

int gateway_eal_init(const int *cpus, unsigned int n_cpus, uint32_t memory_mb, bool no_huge)
{
	char run_dir[64], err[512];
	struct eal_options o = {.run_dir = run_dir, .memory_mb = memory_mb, .no_huge = no_huge};
	cpu_set_t set;

	for (unsigned int i = 1; i < n_cpus; i++)
		o.worker_cpu[o.n_workers++] = cpus[i];
	CPU_ZERO(&set);
	if (cpus[0] >= 0)
		CPU_SET(cpus[0], &set);
	if (cpus[0] >= 0 && sched_setaffinity(0, sizeof(set), &set) != 0)
		return complain("there is no such CPU");
	snprintf(run_dir, sizeof(run_dir), "/bench-esp-%d", getpid());
	if (!no_huge && !eal_has_hugepages(memory_mb))
		complain("too few huge pages are free: ordinary ones");
	eal = eal_start(&o, err, sizeof(err));
	if (!eal)
		return complain(err);
	return routes_create() == 0 ? 0 : complain("no memory for the routing tables");
}

const char *gateway_pages(void)
{
	return rte_eal_has_hugepages() ? "huge" : "ordinary";
}

void gateway_eal_fini(void)
{
	eal_stop(eal);
}

uint32_t gateway_peer(uint32_t i)
{
	return 0xc6120000u + i;
}

uint32_t gateway_host(uint32_t i)
{
	return 0x0a000000u + i;
}

uint32_t gateway_spi(const struct gateway *g, uint32_t i)
{
	/* The index, and random bits above it, as the control plane makes them. */
	uint32_t bits = sad_index_bits(g->dp.sad);

	return (i & ((1u << bits) - 1)) | (0x155u << 22);
}

void gateway_keys(const struct suite *s, uint32_t i, uint8_t enc[GATEWAY_KEY_MAX],
	uint8_t integ[GATEWAY_KEY_MAX])
{
	uint64_t state = 0x9e3779b97f4a7c15ULL * (i + 1) + s->encr_id;

	for (unsigned int k = 0; k < GATEWAY_KEY_MAX; k++) {
		enc[k] = (uint8_t)random_next(&state);
		integ[k] = (uint8_t)random_next(&state);
	}
}

static struct sa_hot *sa_make(struct gateway *g, uint32_t i)
{
	const struct gateway_config *c = &g->config;
	struct endpoint ours = {.addr = addr4(GATEWAY_OUTER), .port = 4500};
	struct endpoint peer = {.addr = addr4(gateway_peer(i)), .port = 4500};
	struct sa_selector_pair sel;
	uint8_t enc[GATEWAY_KEY_MAX], integ[GATEWAY_KEY_MAX];
	struct sa_hot *sa = NULL;

	g->path[i] = path_create(&ours, &peer, 0, 1500);
	if (!g->path[i])
		return NULL;
	atomic_store(&g->path[i]->nexthop, hop);
	memset(&sel, 0, sizeof(sel));
	sel.src = (struct traffic_selector){
		.range = {addr4(0xac100000), addr4(0xac10ffff)}, .port_hi = 65535};
	sel.dst = (struct traffic_selector){
		.range = {addr4(gateway_host(i)), addr4(gateway_host(i))}, .port_hi = 65535};
	if (c->is_inbound) {
		struct traffic_selector t = sel.src;

		sel.src = sel.dst;
		sel.dst = t;
	}
	gateway_keys(c->suite, i, enc, integ);
	struct sa_params p = {
		.spi = gateway_spi(g, i),
		.is_outbound = !c->is_inbound,
		.is_tunnel = true,
		.has_esn = c->has_esn,
		.suite = c->suite,
		.enc_key = enc,
		.enc_key_len = (size_t)c->suite->key_len + c->suite->salt_len,
		.integ_key = integ,
		.integ_key_len = c->suite->integ_key_len,
		.window = c->window,
		.path = g->path[i],
		.selectors = &sel,
		.n_selectors = 1,
		.reserved_end = UINT32_MAX / 2,
		.handle = i + 1,
	};
	if (sa_create(&p, crypto_mb_manager(g->worker->ctx.crypto), &sa) != SAD_OK ||
		sad_publish(g->dp.sad, sa) != SAD_OK) {
		sa_destroy(sa);
		return NULL;
	}
	return sa;
}

static int flow_make(struct gateway *g, uint32_t i, uint8_t direction)
{
	const spd_owner_t owner = spd_owner(IPC_OWNER_ENGINE, 0);
	struct ipc_flow f = {
		.flow = {.handle = 2 * (uint64_t)i + direction, .generation = 1},
		.direction = direction,
		.type = direction == IPC_DIR_OUT ? IPC_FLOW_REQUIRE : IPC_FLOW_USE,
	};
	struct spd_sa_ref ref = {.index = g->sa[i]->id, .generation = g->sa[i]->generation};

	f.src = (struct ip_prefix){.addr = addr4(0xac100000), .len = 16};
	f.dst = (struct ip_prefix){.addr = addr4(gateway_host(i)), .len = 32};
	if (direction == IPC_DIR_IN) {
		struct ip_prefix t = f.src;

		f.src = f.dst;
		f.dst = t;
		f.flags = IPC_FLOW_F_STRICT_IN;
	}
	if (spd_flow_add(g->dp.spd, owner, &f) != 0)
		return -1;
	if (direction == IPC_DIR_IN || g->config.is_inbound)
		return 0;
	return spd_flow_bind(g->dp.spd, owner, &f.flow, i + 1, ref, SPD_SA_USABLE);
}

static int tunnels_create(struct gateway *g)
{
	uint32_t n = g->config.n_tunnels;

	g->sa = calloc(n, sizeof(*g->sa));
	g->path = calloc(n, sizeof(*g->path));
	if (!g->sa || !g->path)
		return -1;
	for (uint32_t i = 0; i < n; i++) {
		g->sa[i] = sa_make(g, i);
		if (!g->sa[i] || flow_make(g, i, IPC_DIR_OUT) != 0 ||
			flow_make(g, i, IPC_DIR_IN) != 0)
			return -1;
	}
	return 0;
}

static struct dp_addresses *addresses_create(void)
{
	struct local_addr ours[2] = {
		{.addr = addr4(GATEWAY_OUTER), .prefix_len = 24},
		{.addr = addr4(0xac10fffe), .prefix_len = 16},
	};
	struct dp_addresses *a = calloc(1, sizeof(*a));

	if (a)
		a->parse.local = local_addrs_create(ours, 2);
	return a;
}

static int workers_create(struct gateway *g)
{
	for (uint16_t k = 0; k < g->dp.n_workers; k++) {
		g->dp.workers[k] = worker_create(&g->dp, k);
		if (!g->dp.workers[k])
			return -1;
		rte_rcu_qsbr_thread_register(g->dp.qsbr, k);
		rte_rcu_qsbr_thread_online(g->dp.qsbr, k);
	}
	g->worker = g->dp.workers[0];
	gateway_owners_set(g, g->dp.n_workers);
	return 0;
}

void gateway_owners_set(struct gateway *g, uint16_t n_workers)
{
	for (unsigned int bucket = 0; bucket < SAD_BUCKETS; bucket++)
		sad_owner_set(g->dp.sad, bucket, (uint8_t)(bucket % n_workers));
}

struct gateway *gateway_create(const struct gateway_config *config)
{
	struct gateway *g = calloc(1, sizeof(*g));
	struct spd_config sc = {.max_flows = 2 * config->n_tunnels + 16,
		.n_workers = config->n_workers ? config->n_workers : 1,
		.seed = 7};
	int rc = -1;

	if (!g)
		return NULL;
	g->config = *config;
	g->dp.n_workers = sc.n_workers;
	g->dp.config = (struct dp_config){.copy_dscp = true,
		.fragment_before_esp = true,
		.df_policy = DP_DF_COPY,
		.outer_ttl = 64};
	g->dp.is_spinning = true;
	g->grace = grace_create(sc.n_workers);
	g->dp.sad = sad_create("bench", ipc_spi_index_bits(config->n_tunnels + 16), 0);
	g->dp.spd = spd_create(&sc);
	g->dp.router = router;
	g->dp.addresses = addresses_create();
	if (g->grace)
		g->dp.qsbr = grace_qsbr(g->grace);
	if (g->grace && g->dp.sad && g->dp.spd && g->dp.addresses)
		rc = workers_create(g);
	if (rc != 0 || tunnels_create(g) != 0) {
		complain("no memory for the tunnels; raise --memory");
		gateway_destroy(g);
		return NULL;
	}
	atomic_store(&g->dp.is_ready, true);
	return g;
}

void gateway_destroy(struct gateway *g)
{
	if (!g)
		return;
	for (uint16_t k = 0; k < g->dp.n_workers; k++) {
		if (!g->dp.workers[k])
			continue;
		worker_destroy(g->dp.workers[k]);
		rte_rcu_qsbr_thread_offline(g->dp.qsbr, k);
	}
	sad_destroy(g->dp.sad);
	spd_destroy(g->dp.spd);
	for (uint32_t i = 0; g->path && i < g->config.n_tunnels; i++)
		path_destroy(g->path[i]);
	grace_destroy(g->grace);
	if (g->dp.addresses)
		local_addrs_destroy((struct local_addrs *)g->dp.addresses->parse.local);
	free(g->dp.addresses);
	free(g->sa);
	free(g->path);
	free(g);
}

void gateway_rewind(struct gateway *g)
{
	for (uint32_t i = 0; i < g->config.n_tunnels; i++) {
		struct replay *r = &g->sa[i]->replay;

		if (!g->config.is_inbound) {
			g->sa[i]->seqno.next = 1;
			continue;
		}
		r->top = 0;
		memset(r->words, 0, sizeof(*r->words) * replay_words(r->window));
	}
}

static int port_open(struct gateway *g, uint16_t number, const char *driver, const char *args)
{
	struct port_config c = {.name = number ? "out" : "in",
		.device = driver,
		.mtu = 1500,
		.queues = g->dp.n_workers};
	struct port *p = &g->dp.ports[number];
	char err[256];

	/* The driver gives each device it makes another one; the lap's frames are for this. */
	c.has_mac = true;
	memcpy(c.mac, gateway_mac, sizeof(c.mac));
	if (rte_eal_hotplug_add("vdev", driver, args) != 0)
		return complain(
			"DPDK has no net_pcap or net_null driver, or no memory for the packets");
	if (port_find(p, &c, number, err, sizeof(err)) != 0 ||
		port_start(p, &c, g->dp.n_workers, g->dp.pool, err, sizeof(err)) != 0)
		return complain(err);
	p->is_up = true;
	return 0;
}

int gateway_ports_open(struct gateway *g, const char *const *rx_pcap, struct rte_mempool *pool)
{
	char args[256];
	int at = 0;

	g->dp.pool = pool;
	for (uint16_t k = 0; k < g->dp.n_workers; k++) {
		g->dp.workers[k]->ctx.pool = pool;
		at += snprintf(args + at, sizeof(args) - (size_t)at, "rx_pcap=%s,", rx_pcap[k]);
	}
	snprintf(args + at, sizeof(args) - (size_t)at, "infinite_rx=1");
	if (port_open(g, 0, "net_pcap0", args) != 0 || port_open(g, 1, "net_null0", "no-rx=1") != 0)
		return -1;
	g->dp.n_ports = 2;
	return 0;
}

void gateway_ports_close(struct gateway *g)
{
	for (uint16_t p = 0; p < g->dp.n_ports; p++)
		port_stop(&g->dp.ports[p]);
	g->dp.n_ports = 0;
	rte_eal_hotplug_remove("vdev", "net_pcap0");
	rte_eal_hotplug_remove("vdev", "net_null0");
}
