#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "controlplane/cli/emit.h"
#include "controlplane/cli/ipsecctl.h"
#include "controlplane/cli/penstockctl.h"
#include "ipc/paths.h"
#include "shared/transform.h"

static const char *owner_str(uint32_t kind, uint32_t engine, char buf[24])
{
	if (kind == IPC_OWNER_ENGINE)
		snprintf(buf, 24, "iked/%u", engine);
	else
		snprintf(buf, 24, "%s", kind == IPC_OWNER_IPSECCTL ? "ipsecctl" : "system");
	return buf;
}

static void emit_addr(struct emit *e, const char *name, const struct ip_addr *a)
{
	char buf[ADDR_STRLEN];

	emit_str(e, name, a->family ? addr_str(a, buf) : "");
}

static void emit_selector(struct emit *e, const struct traffic_selector *ts, const char *name)
{
	char lo[ADDR_STRLEN], hi[ADDR_STRLEN], text[ADDR_STRLEN * 2 + 32];
	struct ip_prefix prefix;
	char buf[PREFIX_STRLEN];
	size_t n;

	if (range_to_prefix(&ts->range, &prefix))
		n = (size_t)snprintf(text, sizeof(text), "%s", prefix_str(&prefix, buf));
	else
		n = (size_t)snprintf(text, sizeof(text), "%s-%s", addr_str(&ts->range.lo, lo),
			addr_str(&ts->range.hi, hi));
	if (ts->proto)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "[%u", ts->proto);
	if (ts->proto && (ts->port_lo != 0 || ts->port_hi != UINT16_MAX))
		n += (size_t)snprintf(
			text + n, sizeof(text) - n, "/%u-%u", ts->port_lo, ts->port_hi);
	if (ts->proto)
		snprintf(text + n, sizeof(text) - n, "]");
	emit_str(e, name, text);
}

static void show_one_sa(struct emit *e, const struct listed_sa *s)
{
	static const char *const states[] = {
		"none", "larval", "mature", "dying", "dead", "draining"};
	const struct view_sa *sa = &s->sa;
	const struct transform *encr = transform_find(
		TRANSFORM_ENCR, sa->encr_id, sa->encr_key_len);
	const struct transform *integ = transform_find(TRANSFORM_INTEG, sa->integ_id, 0);
	char owner[24], udp[16];

	emit_object(e);
	emit_hex(e, "spi", sa->spi);
	emit_str(e, "direction", sa->direction == IPC_DIR_IN ? "in" : "out");
	emit_str(e, "mode", sa->mode == IPC_MODE_TUNNEL ? "tunnel" : "transport");
	emit_addr(e, "from", &sa->tunnel_src);
	emit_addr(e, "to", &sa->tunnel_dst);
	emit_str(e, "state", states[sa->state % 6]);
	emit_str(e, "enc", encr ? encr->ipsecctl_name : "?");
	emit_str(e, "auth", integ && sa->integ_id != INTEG_NONE ? integ->ipsecctl_name : "");
	emit_bool(e, "esn", sa->flags & IPC_SA_ESN);
	snprintf(udp, sizeof(udp), "%u", sa->remote.port);
	emit_str(e, "udp_port", sa->path_flags & IPC_PATH_UDP ? udp : "");
	emit_str(e, "owner", owner_str(sa->owner_kind, sa->engine, owner));
	emit_bool(e, "orphan", sa->is_orphan);
	emit_u64(e, "worker", sa->worker);
	emit_str(e, "srcid", sa->srcid);
	emit_str(e, "dstid", sa->dstid);
	emit_u64(e, "packets", s->counters.packets);
	emit_u64(e, "bytes", s->counters.bytes);
	emit_u64(e, "sequence", s->counters.sequence);
	emit_u64(e, "last_use_s", s->counters.last_use_s);
	emit_u64(e, "drop_replay", s->counters.drop_replay);
	emit_u64(e, "drop_icv", s->counters.drop_icv);
	emit_u64(e, "drop_selectors", s->counters.drop_selectors);
	emit_u64(e, "drop_other", s->counters.drop_other);
	emit_u64(e, "replay_window", sa->replay_window);
	emit_u64(e, "mtu", sa->mtu);
	emit_u64(e, "installed_s", sa->installed_s);
	emit_u64(e, "hard_s", sa->hard_s);
	emit_u64(e, "hard_bytes", sa->hard_bytes);
	emit_u64(e, "n_selectors", sa->n_selectors);
	if (sa->n_selectors > 0) {
		emit_selector(e, &sa->selectors[0].src, "ts_src");
		emit_selector(e, &sa->selectors[0].dst, "ts_dst");
	}
	emit_object_end(e);
}

static int show_sa(struct emit *e, const struct penstockctl *p, const struct view_reader *view)
{
	struct ipsecctl_listing list;
	int rc = listing_read(view, &list);

	(void)p;
	if (rc < 0) {
		fprintf(stderr, "penstockctl: %s\n", strerror(-rc));
		return 1;
	}
	for (size_t i = 0; i < list.n_sas; i++)
		show_one_sa(e, &list.sas[i]);
	ipsecctl_listing_free(&list);
	return 0;
}

static void show_one_flow(struct emit *e, const struct view_flow *v, uint64_t hits)
{
	const struct ipc_flow *f = &v->flow;
	char owner[24], buf[PREFIX_STRLEN];

	emit_object(e);
	emit_str(e, "direction", f->direction == IPC_DIR_IN ? "in" : "out");
	emit_u64(e, "proto", f->proto);
	emit_str(e, "from", prefix_str(&f->src, buf));
	emit_u64(e, "src_port", f->src_port);
	emit_str(e, "to", prefix_str(&f->dst, buf));
	emit_u64(e, "dst_port", f->dst_port);
	emit_str(e, "type", ipsec_flow_type_str(f->type));
	emit_bool(e, "strict", f->flags & IPC_FLOW_F_STRICT_IN);
	emit_addr(e, "peer", &f->peer);
	emit_str(e, "srcid", f->srcid);
	emit_str(e, "dstid", f->dstid);
	emit_str(e, "owner", owner_str(v->owner_kind, v->engine, owner));
	emit_u64(e, "sas", v->n_bound);
	emit_hex(e, "spi", v->sa_spi);
	emit_u64(e, "hits", hits);
	emit_object_end(e);
}

static int show_flow(struct emit *e, const struct penstockctl *p, const struct view_reader *view)
{
	struct view_globals globals;
	struct view_info info;
	struct view_flow flow;

	(void)p;
	view_reader_info(view, &info);
	if (view_read_globals(view, &globals) != 1)
		return 1;
	for (uint32_t i = 0; i < info.max_flows && i < globals.flow_high; i++) {
		uint64_t hits = 0;

		if (view_read_flow(view, i, &flow, &hits) == 1)
			show_one_flow(e, &flow, hits);
	}
	return 0;
}

static int show_port(struct emit *e, const struct penstockctl *p, const struct view_reader *view)
{
	struct view_port_counters c;
	struct view_port port;
	struct view_info info;

	(void)p;
	view_reader_info(view, &info);
	for (uint32_t i = 0; i < info.max_ports; i++) {
		char mac[18];

		if (view_read_port(view, i, &port, &c) != 1)
			continue;
		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", port.mac[0],
			port.mac[1], port.mac[2], port.mac[3], port.mac[4], port.mac[5]);
		emit_object(e);
		emit_str(e, "port", port.name);
		emit_str(e, "driver", port.driver);
		emit_str(e, "tap", port.tap);
		emit_str(e, "mac", mac);
		emit_u64(e, "mtu", port.mtu);
		emit_bool(e, "up", port.is_up);
		emit_u64(e, "link_changes", port.link_changes);
		emit_u64(e, "speed_mbps", port.speed_mbps);
		emit_u64(e, "queues", port.n_queues);
		emit_u64(e, "rx_packets", c.rx_packets);
		emit_u64(e, "rx_bytes", c.rx_bytes);
		emit_u64(e, "tx_packets", c.tx_packets);
		emit_u64(e, "tx_bytes", c.tx_bytes);
		emit_u64(e, "rx_missed", c.rx_missed);
		emit_u64(e, "rx_errors", c.rx_errors);
		emit_u64(e, "tx_full", c.tx_full);
		emit_u64(e, "tx_errors", c.tx_errors);
		emit_object_end(e);
	}
	return 0;
}

#define WORKER_FIELD(name)                                \
	{                                                 \
#name, offsetof(struct view_worker, name) \
	}
static const struct {
	const char *name;
	size_t offset;
} worker_fields[] = {
	WORKER_FIELD(rx_packets),
	WORKER_FIELD(tx_packets),
	WORKER_FIELD(esp_in_packets),
	WORKER_FIELD(esp_in_bytes),
	WORKER_FIELD(esp_out_packets),
	WORKER_FIELD(esp_out_bytes),
	WORKER_FIELD(handoff_out),
	WORKER_FIELD(handoff_in),
	WORKER_FIELD(bypass),
	WORKER_FIELD(to_host),
	WORKER_FIELD(from_host),
	WORKER_FIELD(punted),
	WORKER_FIELD(fragmented),
	WORKER_FIELD(icmp_sent),
	WORKER_FIELD(acquires),
	WORKER_FIELD(loops),
	WORKER_FIELD(sleeps),
};

#define N_WORKER_FIELDS (sizeof(worker_fields) / sizeof(worker_fields[0]))

static uint64_t worker_field(const struct view_worker *w, size_t field)
{
	uint64_t value;

	memcpy(&value, (const uint8_t *)w + worker_fields[field].offset, sizeof(value));
	return value;
}

static int show_worker(struct emit *e, const struct penstockctl *p, const struct view_reader *view)
{
	struct view_worker w;
	struct view_info info;

	(void)p;
	view_reader_info(view, &info);
	for (uint32_t i = 0; i <= info.n_workers; i++) {
		char name[16];

		if (view_read_worker(view, i, &w) != 1)
			continue;
		snprintf(name, sizeof(name), i == info.n_workers ? "main" : "%u", i);
		emit_object(e);
		emit_str(e, "worker", name);
		emit_u64(e, "cpu", w.cpu);
		for (size_t f = 0; f < N_WORKER_FIELDS; f++)
			emit_u64(e, worker_fields[f].name, worker_field(&w, f));
		emit_object_end(e);
	}
	return 0;
}

static int show_counters(
	struct emit *e, const struct penstockctl *p, const struct view_reader *view)
{
	uint64_t sum[N_WORKER_FIELDS] = {0};
	struct view_worker w;
	struct view_info info;

	view_reader_info(view, &info);
	for (uint32_t i = 0; i <= info.n_workers; i++)
		for (size_t f = 0; f < N_WORKER_FIELDS && view_read_worker(view, i, &w) == 1; f++)
			sum[f] += worker_field(&w, f);
	for (size_t f = 0; f < N_WORKER_FIELDS; f++) {
		if (p->non_zero_only && sum[f] == 0)
			continue;
		emit_object(e);
		emit_str(e, "counter", worker_fields[f].name);
		emit_u64(e, "value", sum[f]);
		emit_object_end(e);
	}
	return 0;
}

static int show_drops(struct emit *e, const struct penstockctl *p, const struct view_reader *view)
{
	struct view_info info;

	view_reader_info(view, &info);
	for (uint32_t i = 1; i < info.n_drops; i++) { /* 0 is "not dropped" */
		uint64_t n = view_read_drops(view, i);

		if (n == 0 && (p->non_zero_only || !p->json))
			continue;
		emit_object(e);
		emit_str(e, "reason", view_reader_drop_name(view, i));
		emit_u64(e, "packets", n);
		emit_object_end(e);
	}
	return 0;
}

static int show_owner(struct emit *e, const struct penstockctl *p, const struct view_reader *view)
{
	struct view_owner o;
	char owner[24];

	(void)p;
	for (uint32_t i = 0; i < VIEW_OWNERS; i++) {
		if (view_read_owner(view, i, &o) != 1)
			continue;
		emit_object(e);
		emit_str(e, "owner", owner_str(o.kind, o.engine, owner));
		emit_bool(e, "attached", o.is_attached);
		emit_bool(e, "ready", o.is_ready);
		emit_bool(e, "awaited", o.is_awaited);
		emit_u64(e, "pid", o.pid);
		emit_u64(e, "commands", o.commands);
		emit_u64(e, "events", o.events);
		emit_u64(e, "punt_known", o.punt_known);
		emit_u64(e, "punt_strangers", o.punt_strangers);
		emit_u64(e, "punt_full", o.punt_full);
		emit_u64(e, "punt_tx", o.punt_tx);
		emit_u64(e, "sas", o.n_sa);
		emit_u64(e, "flows", o.n_flow);
		emit_u64(e, "paths", o.n_path);
		emit_object_end(e);
	}
	return 0;
}

static int show_state(struct emit *e, const struct penstockctl *p, const struct view_reader *view)
{
	static const char *const states[] = {"starting", "not-ready", "ready", "stopping"};
	struct view_globals g;
	struct view_info info;

	(void)p;
	view_reader_info(view, &info);
	if (view_read_globals(view, &g) != 1)
		return 1;
	emit_object(e);
	emit_str(e, "state", states[g.state % 4]);
	emit_str(e, "version", info.version);
	emit_u64(e, "pid", info.pid);
	emit_u64(e, "started_s", info.started_s);
	emit_u64(e, "ready_s", g.ready_s);
	emit_u64(e, "workers", info.n_workers);
	emit_u64(e, "sas", g.n_sa);
	emit_u64(e, "flows", g.n_flow);
	emit_u64(e, "paths", g.n_path);
	emit_u64(e, "resyncs", g.resyncs);
	emit_u64(e, "waiting_for_owners", g.not_ready_owners);
	emit_object_end(e);
	return 0;
}

static const struct {
	const char *word;
	int (*show)(struct emit *e, const struct penstockctl *p, const struct view_reader *view);
} from_view[] = {
	{"sa", show_sa},
	{"flow", show_flow},
	{"port", show_port},
	{"worker", show_worker},
	{"counters", show_counters},
	{"drops", show_drops},
	{"owner", show_owner},
	{"state", show_state},
};

int penstockctl_show(const struct penstockctl *p, char **words)
{
	static const char *const from_espd[] = {"spd", "pipeline", "stats"};
	struct view_reader *view;
	struct emit e;
	int status;

	for (size_t i = 0; i < sizeof(from_espd) / sizeof(from_espd[0]); i++)
		if (strcmp(words[0], from_espd[i]) == 0)
			return penstockctl_ask_espd(p, words[0]);
	for (size_t i = 0; i < sizeof(from_view) / sizeof(from_view[0]); i++) {
		if (strcmp(words[0], from_view[i].word) != 0)
			continue;
		view = listing_view_open(p->run_dir, "penstockctl");
		if (!view)
			return 1;
		emit_begin(&e, stdout, p->json);
		status = from_view[i].show(&e, p, view);
		emit_end(&e);
		view_reader_close(view);
		return status;
	}
	fprintf(stderr,
		"penstockctl: show %s: no such list; there are sa, flow, spd, port, worker, "
		"counters, drops, owner, state, stats and pipeline\n",
		words[0]);
	return 1;
}
