#include "dataplane/espd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_malloc.h>
#include <rte_mempool.h>
#include <rte_random.h>

#include "dataplane/crypto_mb.h"
#include "dataplane/debug.h"
#include "dataplane/eal.h"
#include "dataplane/espd_seq.h"
#include "dataplane/keys.h"
#include "dataplane/pmtu.h"
#include "dataplane/port_fds.h"
#include "dataplane/port_link.h"
#include "dataplane/route.h"
#include "dataplane/sad.h"
#include "dataplane/spd.h"
#include "dataplane/telemetry.h"
#include "ipc/manual_store.h"
#include "ipc/paths.h"
#include "ipc/spi.h"
#include "ipc/view.h"
#include "shared/secret.h"

#define MEMORY_FIXED_MB 224 /* routing tables of both families, EAL itself */
#define MEMORY_SA_KB 4      /* an SA at most */
#define BIG_MBUFS 128       /* reassembled datagrams of up to 64 KiB */
#define MANUAL_SA_MAX 4096

static void port_config_fill(const struct espd *e, size_t i, struct port_config *out)
{
	const struct espd_port_config *c = &e->conf.ports[i];

	*out = (struct port_config){
		.name = c->name,
		.device = c->device,
		.tap = c->tap ? c->tap : c->name,
		.has_mac = c->has_mac,
		.mtu = c->mtu,
		.queues = c->queues,
		.wants_intr = e->conf.idle == ESPD_IDLE_ADAPTIVE,
	};
	memcpy(out->mac, c->mac, sizeof(out->mac));
}

static uint16_t frame_max(const struct espd *e)
{
	uint16_t max = 1522;

	for (size_t i = 0; i < e->conf.n_ports; i++) {
		struct port_config c;

		port_config_fill(e, i, &c);
		if (port_frame_max(&c) > max)
			max = port_frame_max(&c);
	}
	return max;
}

static unsigned int mbufs_wanted(const struct espd *e)
{
	unsigned int n = port_mbufs_of_workers(e->dp.n_workers);

	for (size_t i = 0; i < e->conf.n_ports; i++) {
		struct port_config c;

		port_config_fill(e, i, &c);
		n += port_mbufs_of(&c, e->dp.n_workers);
	}
	return e->conf.mbufs ? e->conf.mbufs : n;
}

static uint32_t memory_wanted_mb(const struct espd *e)
{
	uint64_t mbuf_bytes = (uint64_t)mbufs_wanted(e) * (frame_max(e) + 1024u);
	uint64_t sa_bytes = (uint64_t)e->conf.max_sa * 2 * MEMORY_SA_KB * 1024;

	if (e->conf.memory_mb)
		return e->conf.memory_mb;
	return (uint32_t)(MEMORY_FIXED_MB + BIG_MBUFS / 16 + ((mbuf_bytes + sa_bytes) >> 20));
}

static int eal_begin(struct espd *e, char *err, size_t cap)
{
	static char args[EAL_VDEVS_MAX][256];
	struct eal_options o = {
		.run_dir = e->conf.run_dir,
		.n_workers = e->dp.n_workers,
		.memory_mb = memory_wanted_mb(e),
		.no_huge = e->conf.hugepages == ESPD_HUGE_NO,
		.has_telemetry = e->conf.telemetry,
		.extra_args = e->conf.eal_args,
		.is_verbose = e->log.level >= LOG_LVL_TRACE,
	};

	for (size_t i = 0; i < e->conf.n_ports; i++) {
		struct port_config c;

		port_config_fill(e, i, &c);
		if (port_is_pci(&c) && o.n_pci < EAL_PCI_MAX)
			o.pci[o.n_pci++] = c.device;
		else if (!port_is_pci(&c) && o.n_vdevs < EAL_VDEVS_MAX)
			o.vdevs[o.n_vdevs++] = port_device_arg(
				&c, e->dp.n_workers, args[i], sizeof(args[i]));
	}
	for (unsigned int w = 0; w < e->dp.n_workers; w++)
		o.worker_cpu[w] = e->conf.workers_shared ? -1 : e->conf.cpus[w];
	e->eal = eal_start(&o, err, cap);
	return e->eal ? 0 : -1;
}

static int pools_create(struct espd *e, char *err, size_t cap)
{
	e->dp.pool = port_pool_create(mbufs_wanted(e), frame_max(e), sizeof(struct pkt_meta));
	e->dp.big_pool = rte_pktmbuf_pool_create("datagrams", BIG_MBUFS, 0,
		RTE_ALIGN_CEIL(sizeof(struct pkt_meta), RTE_MBUF_PRIV_ALIGN), UINT16_MAX,
		SOCKET_ID_ANY);
	if (e->dp.pool && e->dp.big_pool)
		return 0;
	snprintf(err, cap, "no memory for %u packet buffers; raise `memory`", mbufs_wanted(e));
	return -1;
}

static int tables_create(struct espd *e, char *err, size_t cap)
{
	struct spd_config sc = {
		.max_flows = e->conf.max_flows,
		.n_workers = e->dp.n_workers,
		.seed = rte_rand(),
		.defer = grace_defer,
		.defer_ctx = e->grace,
	};
	struct router_config rc = {
		.seed = rte_rand(),
		.numa_node = -1,
		.name = "routes",
		.defer = grace_defer,
		.defer_ctx = e->grace,
	};
	const char *crypto_error = NULL;

	e->dp.sad = sad_create("sad", ipc_spi_index_bits(e->conf.max_sa), MANUAL_SA_MAX);
	e->dp.spd = spd_create(&sc);
	e->dp.router = router_create(&rc);
	e->crypto = crypto_mb_create(CRYPTO_ARCH_AUTO, &crypto_error);
	if (crypto_error) {
		snprintf(err, cap, "cryptography: %s", crypto_error);
		return -1;
	}
	if (e->dp.sad && e->dp.spd && e->dp.router && e->crypto)
		return 0;
	snprintf(err, cap, "no memory for the tables; raise `memory` or lower `max-sa`");
	return -1;
}

/* One port: DPDK reads its device, from which the kernel is shut out; the TAP shows it. */
static int port_open(
	struct espd *e, struct port *p, const struct port_config *c, char *err, size_t cap)
{
	const char *what = "";
	int rc;

	if (port_find(p, c, (uint16_t)(p - e->dp.ports), err, cap) < 0)
		return -1;
	if (port_start(p, c, e->dp.n_workers, e->dp.pool, err, cap) < 0)
		return -1;
	rc = tap_open(&p->tap, c->tap, p->mac, p->mtu, &what);
	if (rc < 0) {
		snprintf(err, cap, "port %s: TAP %s: %s: %s", p->name, c->tap, what, strerror(-rc));
		return -1;
	}
	p->is_up = true;
	port_link_watch(p, e->dp.main_fd);
	port_link_read(p, &e->log);
	log_info(&e->log,
		"port %s: %s, MAC %02x:%02x:%02x:%02x:%02x:%02x, MTU %u, %u+%u queues, TAP %s",
		p->name, c->device, p->mac[0], p->mac[1], p->mac[2], p->mac[3], p->mac[4],
		p->mac[5], p->mtu, p->n_rxq, p->n_txq, p->tap.name);
	return 0;
}

/* Before DPDK opens the kernel's devices: no frame is seen by both stacks, and all are up. */
static int netdevs_take(const struct espd *e, char *err, size_t cap)
{
	static const struct netlink_ops none;
	struct netlink *nl = netlink_create(&none);
	int rc = 0;

	if (!nl) {
		snprintf(err, cap, "netlink: %s", strerror(errno));
		return -1;
	}
	for (size_t i = 0; i < e->conf.n_ports && rc == 0; i++) {
		struct port_config c;

		port_config_fill(e, i, &c);
		rc = port_netdev_take(&c, nl, err, cap);
	}
	netlink_destroy(nl);
	return rc;
}

static int ports_open(struct espd *e, char *err, size_t cap)
{
	int rc = 0;

	for (size_t i = 0; i < e->conf.n_ports && rc == 0; i++) {
		struct port_config c;

		port_config_fill(e, i, &c);
		e->dp.n_ports++;
		rc = port_open(e, &e->dp.ports[i], &c, err, cap);
	}
	return rc;
}

static void buckets_spread(struct espd *e)
{
	for (unsigned int b = 0; b < SAD_BUCKETS; b++)
		sad_owner_set(e->dp.sad, b, (uint8_t)(b % e->dp.n_workers));
}

int setup_dataplane(struct espd *e, char *err, size_t cap)
{
	struct dataplane *dp = &e->dp;

	dp->n_workers = e->conf.workers_shared ? 1 : (uint16_t)e->conf.n_workers;
	if (dp->n_workers == 0 || dp->n_workers > WORKERS_MAX) {
		snprintf(err, cap, "workers: 1 to %d", WORKERS_MAX);
		return -1;
	}
	dp->is_spinning = e->conf.idle == ESPD_IDLE_SPIN;
	dp->config = (struct dp_config){
		.is_default_deny = e->conf.default_deny,
		.is_strict_inbound = e->conf.strict_inbound,
		.mss_max = e->conf.mss_max,
		.copy_dscp = true,
		.fragment_before_esp = true,
		.df_policy = DP_DF_COPY,
		.outer_ttl = 64,
		.pmtu_floor4 = PMTU_FLOOR4,
		.pmtu_floor6 = PMTU_FLOOR6,
	};
	dp->main_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (dp->main_fd < 0 || netdevs_take(e, err, cap) < 0 || eal_begin(e, err, cap) < 0)
		return -1;
	e->grace = grace_create(dp->n_workers);
	if (!e->grace) {
		snprintf(err, cap, "no memory");
		return -1;
	}
	dp->qsbr = grace_qsbr(e->grace);
	dp->reassembly_seed = rte_rand();
	if (pools_create(e, err, cap) < 0 || tables_create(e, err, cap) < 0 ||
		ports_open(e, err, cap) < 0)
		return -1;
	buckets_spread(e);
	return 0;
}

int setup_workers(struct espd *e, char *err, size_t cap)
{
	for (uint16_t i = 0; i < e->dp.n_workers; i++) {
		e->dp.workers[i] = worker_create(&e->dp, i);
		if (!e->dp.workers[i]) {
			snprintf(err, cap, "no memory for worker %u", i);
			return -1;
		}
	}
	for (uint16_t i = 0; i < e->dp.n_workers; i++) {
		if (rte_eal_remote_launch(worker_run, e->dp.workers[i], e->dp.workers[i]->lcore) <
			0) {
			snprintf(err, cap, "worker %u does not start", i);
			return -1;
		}
	}
	return 0;
}

static const char *drop_name_at(uint32_t reason)
{
	return drop_name((enum drop_reason)reason);
}

static int view_create(struct espd *e, char *err, size_t cap)
{
	struct view_config c = {
		.max_sa = (2u << ipc_spi_index_bits(e->conf.max_sa)) + MANUAL_SA_MAX,
		.max_flows = e->conf.max_flows + 1, /* one is replaced while all are there */
		.n_workers = e->dp.n_workers,
		.max_ports = e->dp.n_ports,
		.n_drops = DROP_N,
		.drop_name = drop_name_at,
		.version = PENSTOCK_VERSION,
	};
	char path[512];
	int rc;

	snprintf(path, sizeof(path), "%s/%s", e->conf.run_dir, ESPD_VIEW);
	rc = view_writer_create(&e->view, path, &c, e->user.view_gid);
	if (rc < 0)
		snprintf(err, cap, "%s: %s", path, ipc_strerror(rc));
	else if (e->conf.telemetry && telemetry_start(path) < 0)
		log_warn(&e->log, "DPDK's telemetry does not take our commands");
	return rc;
}

static int stores_open(struct espd *e, char *err, size_t cap)
{
	char path[512];
	int rc;

	if (espd_seq_open(&e->seq, e->conf.run_dir, 2u << ipc_spi_index_bits(e->conf.max_sa), err,
		    (unsigned int)cap) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/%s", e->conf.run_dir, ESPD_MANUAL_STORE);
	rc = manual_store_create(&e->manual, path);
	if (rc < 0) {
		snprintf(err, cap, "%s: %s", path, ipc_strerror(rc));
		return -1;
	}
	rc = manual_store_load(e->manual);
	if (rc < 0)
		log_error(&e->log, "%s: %s: no entry of ipsecctl is restored", path,
			ipc_strerror(rc));
	return 0;
}

int setup_control(struct espd *e, char *err, size_t cap)
{
	struct control_config c = {
		.dp = &e->dp,
		.grace = e->grace,
		.crypto = e->crypto,
		.index_bits = ipc_spi_index_bits(e->conf.max_sa),
		.default_window = e->conf.replay_window,
		.keeps_punts = e->conf.punt_ports,
		.ops = owners_control_ops(e),
		.log = &e->log,
	};

	c.secrets = e->secrets = secrets_create();
	if (stores_open(e, err, cap) < 0 || view_create(e, err, cap) < 0)
		return -1;
	c.seq = e->seq;
	c.manual = e->manual;
	c.view = e->view;
	e->control = e->secrets ? control_create(&c) : NULL;
	if (!e->control) {
		snprintf(err, cap, "no memory");
		return -1;
	}
	return 0;
}

void setup_stop(struct espd *e)
{
	atomic_store(&e->dp.stop, true);
	for (uint16_t i = 0; i < e->dp.n_workers; i++) {
		if (e->dp.workers[i])
			worker_wake(e->dp.workers[i]);
	}
	rte_eal_mp_wait_lcore();
	debug_destroy(e->debug);
	keys_destroy(e->keys);
	owners_close(e);
	grace_destroy(e->grace);
	e->grace = NULL;
	control_destroy(e->control);
	secrets_destroy(e->secrets);
	for (uint16_t i = 0; i < e->dp.n_ports; i++) {
		(void)tap_carrier_set(&e->dp.ports[i].tap, false);
		tap_close(&e->dp.ports[i].tap);
		port_stop(&e->dp.ports[i]);
		if (port_is_af_xdp(e->conf.ports[i].device))
			net_helper_xdp_detach(&e->net, e->dp.ports[i].netdev_ifindex);
	}
	net_helper_stop(&e->net);
	view_writer_destroy(e->view);
	espd_seq_close(e->seq);
	manual_store_destroy(e->manual);
	crypto_mb_destroy(e->crypto);
	eal_stop(e->eal);
}

static void worker_view(struct espd *e, const struct worker *w)
{
	struct view_worker *v = view_worker_at(e->view, w->id);

	if (!v)
		return;
	v->cpu = (uint64_t)rte_lcore_to_cpu_id((int)w->lcore);
	v->loops = w->turns;
	v->sleeps = w->sleeps;
	v->esp_in_packets = w->ctx.esp_in_packets;
	v->esp_in_bytes = w->ctx.esp_in_bytes;
	v->esp_out_packets = w->ctx.esp_out_packets;
	v->esp_out_bytes = w->ctx.esp_out_bytes;
	v->handoff_out = w->handed_over;
	v->handoff_in = w->taken_over;
	v->bypass = w->bypassed;
	v->to_host = w->to_host;
	v->from_host = w->from_host;
	v->punted = w->punted;
	v->fragmented = w->fragmented;
	v->icmp_sent = w->icmp_sent;
	v->acquires = w->acquires;
	v->rx_packets = v->tx_packets = 0;
	for (unsigned int d = 0; d < DROP_N && d < VIEW_DROPS; d++)
		v->drops[d] = w->ctx.drops[d];
	for (uint16_t p = 0; p < e->dp.n_ports; p++) {
		struct view_port_counters *c = view_port_counters_at(e->view, w->id, p);

		v->rx_packets += w->rx_packets[p];
		v->tx_packets += w->tx_packets[p];
		if (!c)
			continue;
		c->rx_packets = w->rx_packets[p];
		c->rx_bytes = w->rx_bytes[p];
		c->tx_packets = w->tx_packets[p];
		c->tx_bytes = w->tx_bytes[p];
		c->tx_full = w->tx_full[p];
	}
}

/* A device counts these for all its queues: they stand in main's row, behind the workers'. */
static void port_errors_view(struct espd *e, uint16_t number)
{
	struct view_port_counters *c = view_port_counters_at(e->view, e->dp.n_workers, number);
	struct rte_eth_stats stats;

	if (!c || rte_eth_stats_get(e->dp.ports[number].id, &stats) != 0)
		return;
	c->rx_missed = stats.imissed + stats.rx_nombuf + port_ring_drops(&e->dp.ports[number]);
	c->rx_errors = stats.ierrors;
	c->tx_errors = stats.oerrors;
}

void setup_view_counters(struct espd *e)
{
	for (uint16_t i = 0; i < e->dp.n_workers; i++)
		worker_view(e, e->dp.workers[i]);
	for (uint16_t i = 0; i < e->dp.n_ports; i++) {
		const struct port *p = &e->dp.ports[i];
		struct view_port v;

		memset(&v, 0, sizeof(v));
		v.is_used = 1;
		snprintf(v.name, sizeof(v.name), "%s", p->name);
		snprintf(v.driver, sizeof(v.driver), "%.*s",
			(int)strcspn(e->conf.ports[i].device, ",0123456789"),
			e->conf.ports[i].device);
		memcpy(v.tap, p->tap.name, sizeof(v.tap));
		v.tap_ifindex = p->tap.ifindex;
		v.mtu = p->mtu;
		memcpy(v.mac, p->mac, 6);
		v.is_up = p->is_up;
		v.speed_mbps = p->speed_mbps;
		v.link_changes = p->link_changes;
		v.n_queues = p->n_rxq;
		view_set_port(e->view, i, &v);
		port_errors_view(e, i);
	}
}
