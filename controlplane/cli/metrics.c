#include "controlplane/cli/metrics.h"

#include <inttypes.h>
#include <string.h>

static void head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void label(FILE *out, const char *name, const char *value)
{
	fprintf(out, "%s=\"", name);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			fprintf(out, "\\%c", *value);
		else if (*value == '\n')
			fprintf(out, "\\n");
		else
			fputc(*value, out);
	}
	fputc('"', out);
}

static void single(FILE *out, const char *name, const char *type, const char *help, uint64_t value)
{
	head(out, name, type, help);
	fprintf(out, "%s %" PRIu64 "\n", name, value);
}

static void labelled(FILE *out, const char *name, const char *key, const char *value, uint64_t n)
{
	fprintf(out, "%s{", name);
	label(out, key, value);
	fprintf(out, "} %" PRIu64 "\n", n);
}

static void write_state(FILE *out, const struct view_reader *view)
{
	struct view_globals g = {0};
	struct view_info info;

	view_reader_info(view, &info);
	if (view_read_globals(view, &g) != 1)
		memset(&g, 0, sizeof(g));
	head(out, "penstock_build_info", "gauge", "Version of penstock-espd; the value is 1.");
	labelled(out, "penstock_build_info", "version", info.version, 1);
	single(out, "penstock_start_time_seconds", "gauge",
		"When penstock-espd started, in seconds since 1970.", info.started_s);
	single(out, "penstock_forwarding", "gauge",
		"1 if packets are forwarded, 0 while an owner has not told its flows.",
		g.state == VIEW_READY);
	single(out, "penstock_flows", "gauge", "Flows in the SPD.", g.n_flow);
	single(out, "penstock_security_associations", "gauge", "SAs in the SAD.", g.n_sa);
	single(out, "penstock_spd_worst_case_touches", "gauge",
		"Most memory accesses that a look-up of the flows that are there can take.",
		g.spd_touches);
	single(out, "penstock_resyncs_total", "counter", "Times that an owner told all it has.",
		g.resyncs);
}

static void write_owners(FILE *out, const struct view_reader *view)
{
	struct view_owner o;

	head(out, "penstock_owner_attached", "gauge",
		"1 for a control-plane process that is attached to the data plane.");
	for (uint32_t i = 0; i < VIEW_OWNERS; i++) {
		char name[24];

		/* ipsecctl comes and goes with each command: not a thing to watch. */
		if (view_read_owner(view, i, &o) != 1 || o.kind != IPC_OWNER_ENGINE)
			continue;
		snprintf(name, sizeof(name), "iked/%u", o.engine);
		labelled(out, "penstock_owner_attached", "owner", name, o.is_attached);
	}
}

static void write_drops(FILE *out, const struct view_reader *view)
{
	struct view_info info;

	view_reader_info(view, &info);
	head(out, "penstock_dropped_packets_total", "counter", "Packets dropped, by reason.");
	for (uint32_t i = 1; i < info.n_drops; i++) /* 0: not dropped */
		labelled(out, "penstock_dropped_packets_total", "reason",
			view_reader_drop_name(view, i), view_read_drops(view, i));
}

#define FIELD(of, member) offsetof(struct of, member)

static const struct port_metric {
	const char *name, *help;
	size_t offset;
} port_metrics[] = {
	{"penstock_port_receive_packets_total", "Packets received.",
		FIELD(view_port_counters, rx_packets)},
	{"penstock_port_receive_bytes_total", "Bytes received, with link headers.",
		FIELD(view_port_counters, rx_bytes)},
	{"penstock_port_receive_missed_packets_total",
		"Packets that the device lost for want of room.",
		FIELD(view_port_counters, rx_missed)},
	{"penstock_port_receive_errors_total", "Packets that the device found bad.",
		FIELD(view_port_counters, rx_errors)},
	{"penstock_port_transmit_packets_total", "Packets sent.",
		FIELD(view_port_counters, tx_packets)},
	{"penstock_port_transmit_bytes_total", "Bytes sent, with link headers.",
		FIELD(view_port_counters, tx_bytes)},
	{"penstock_port_transmit_full_total", "Packets for which the transmit queue had no room.",
		FIELD(view_port_counters, tx_full)},
	{"penstock_port_transmit_errors_total", "Packets that the device did not send.",
		FIELD(view_port_counters, tx_errors)},
};

static uint64_t field(const void *object, size_t offset)
{
	uint64_t value;

	memcpy(&value, (const uint8_t *)object + offset, sizeof(value));
	return value;
}

static void write_ports(FILE *out, const struct view_reader *view)
{
	struct view_port_counters c;
	struct view_port port;
	struct view_info info;

	view_reader_info(view, &info);
	head(out, "penstock_port_up", "gauge", "1 if the port's link is up.");
	for (uint32_t i = 0; i < info.max_ports; i++)
		if (view_read_port(view, i, &port, NULL) == 1)
			labelled(out, "penstock_port_up", "port", port.name, port.is_up != 0);
	head(out, "penstock_port_mtu_bytes", "gauge", "MTU of the port.");
	for (uint32_t i = 0; i < info.max_ports; i++)
		if (view_read_port(view, i, &port, NULL) == 1)
			labelled(out, "penstock_port_mtu_bytes", "port", port.name, port.mtu);
	head(out, "penstock_port_link_changes_total", "counter",
		"Times that the link went down or came up.");
	for (uint32_t i = 0; i < info.max_ports; i++)
		if (view_read_port(view, i, &port, NULL) == 1)
			labelled(out, "penstock_port_link_changes_total", "port", port.name,
				port.link_changes);
	for (size_t m = 0; m < sizeof(port_metrics) / sizeof(port_metrics[0]); m++) {
		head(out, port_metrics[m].name, "counter", port_metrics[m].help);
		for (uint32_t i = 0; i < info.max_ports; i++)
			if (view_read_port(view, i, &port, &c) == 1)
				labelled(out, port_metrics[m].name, "port", port.name,
					field(&c, port_metrics[m].offset));
	}
}

static const struct worker_metric {
	const char *name, *help;
	size_t offset;
} worker_metrics[] = {
	{"penstock_worker_received_packets_total", "Packets taken from ports.",
		FIELD(view_worker, rx_packets)},
	{"penstock_worker_sent_packets_total", "Packets given to ports.",
		FIELD(view_worker, tx_packets)},
	{"penstock_worker_decrypted_packets_total", "ESP packets accepted.",
		FIELD(view_worker, esp_in_packets)},
	{"penstock_worker_decrypted_bytes_total", "Bytes of the packets inside.",
		FIELD(view_worker, esp_in_bytes)},
	{"penstock_worker_encrypted_packets_total", "ESP packets made.",
		FIELD(view_worker, esp_out_packets)},
	{"penstock_worker_encrypted_bytes_total", "Bytes of the packets inside.",
		FIELD(view_worker, esp_out_bytes)},
	{"penstock_worker_clear_packets_total", "Packets that passed in clear.",
		FIELD(view_worker, bypass)},
	{"penstock_worker_host_packets_total", "Packets given to the host's own stack.",
		FIELD(view_worker, to_host)},
	{"penstock_worker_ike_packets_total", "Packets given to IKE.", FIELD(view_worker, punted)},
	{"penstock_worker_handed_over_packets_total", "Packets given to the worker of their SA.",
		FIELD(view_worker, handoff_out)},
	{"penstock_worker_acquires_total", "Times that an SA was asked for.",
		FIELD(view_worker, acquires)},
	{"penstock_worker_sleeps_total", "Times that the worker slept for want of packets.",
		FIELD(view_worker, sleeps)},
};

static void write_workers(FILE *out, const struct view_reader *view)
{
	struct view_info info;
	struct view_worker w;
	char number[16];

	view_reader_info(view, &info);
	for (size_t m = 0; m < sizeof(worker_metrics) / sizeof(worker_metrics[0]); m++) {
		head(out, worker_metrics[m].name, "counter", worker_metrics[m].help);
		for (uint32_t i = 0; i < info.n_workers; i++) {
			if (view_read_worker(view, i, &w) != 1)
				continue;
			snprintf(number, sizeof(number), "%u", i);
			labelled(out, worker_metrics[m].name, "worker", number,
				field(&w, worker_metrics[m].offset));
		}
	}
}

/* The name and the labels that say which tunnel; the caller adds its own and ends the line. */
static void tunnel_begin(FILE *out, const char *name, const struct tunnel *t)
{
	fprintf(out, "%s{", name);
	label(out, "local", t->local);
	fputc(',', out);
	label(out, "remote", t->remote);
	if (t->proto)
		fprintf(out, ",protocol=\"%u\"", t->proto);
	if (t->local_port)
		fprintf(out, ",local_port=\"%u\"", t->local_port);
	if (t->remote_port)
		fprintf(out, ",remote_port=\"%u\"", t->remote_port);
}

static const char *const directions[] = {"in", "out"};

static void write_tunnel_counters(FILE *out, const struct tunnels *tunnels, const char *name,
	const char *type, const char *help, uint64_t (*value)(const struct tunnel *, int))
{
	head(out, name, type, help);
	for (size_t i = 0; i < tunnels_count(tunnels); i++)
		for (int d = TUNNEL_IN; d <= TUNNEL_OUT; d++) {
			const struct tunnel *t = tunnels_at(tunnels, i);

			tunnel_begin(out, name, t);
			fprintf(out, ",direction=\"%s\"} %" PRIu64 "\n", directions[d],
				value(t, d));
		}
}

static uint64_t tunnel_packets(const struct tunnel *t, int d)
{
	return t->counters[d].packets;
}

static uint64_t tunnel_bytes(const struct tunnel *t, int d)
{
	return t->counters[d].bytes;
}

static uint64_t tunnel_sas(const struct tunnel *t, int d)
{
	return t->n_sas[d];
}

static uint64_t tunnel_last_use(const struct tunnel *t, int d)
{
	return t->last_use_s[d];
}

static void write_tunnel_drops(FILE *out, const struct tunnels *tunnels)
{
	const char *name = "penstock_tunnel_dropped_packets_total";

	head(out, name, "counter", "Packets that the tunnel's SAs refused, by kind.");
	for (size_t i = 0; i < tunnels_count(tunnels); i++) {
		const struct tunnel *t = tunnels_at(tunnels, i);

		for (int d = TUNNEL_IN; d <= TUNNEL_OUT; d++)
			for (int k = 0; k < TUNNEL_DROPS; k++) {
				/* An outbound SA has neither a window nor an ICV to check. */
				if (d == TUNNEL_OUT && k <= TUNNEL_DROP_ICV)
					continue;
				tunnel_begin(out, name, t);
				fprintf(out, ",direction=\"%s\",reason=\"%s\"} %" PRIu64 "\n",
					directions[d], tunnel_drop_str((enum tunnel_drop)k),
					t->counters[d].drops[k]);
			}
	}
}

static void write_tunnels(FILE *out, const struct tunnels *tunnels)
{
	const char *up = "penstock_tunnel_up", *info = "penstock_tunnel_info";

	head(out, up, "gauge", "1 if an SA serves the tunnel, 0 if it is down.");
	for (size_t i = 0; i < tunnels_count(tunnels); i++) {
		tunnel_begin(out, up, tunnels_at(tunnels, i));
		fprintf(out, "} %d\n", tunnels_at(tunnels, i)->is_up);
	}
	head(out, info, "gauge", "Who the peer of a tunnel that is up is; the value is 1.");
	for (size_t i = 0; i < tunnels_count(tunnels); i++) {
		const struct tunnel *t = tunnels_at(tunnels, i);

		if (!t->is_up)
			continue;
		tunnel_begin(out, info, t);
		fputc(',', out);
		label(out, "peer", t->peer);
		fputc(',', out);
		label(out, "local_id", t->local_id);
		fputc(',', out);
		label(out, "peer_id", t->peer_id);
		fputc(',', out);
		label(out, "suite", t->suite);
		fprintf(out, "} 1\n");
	}
	write_tunnel_counters(out, tunnels, "penstock_tunnel_packets_total", "counter",
		"Packets carried, over all SAs that the tunnel had.", tunnel_packets);
	write_tunnel_counters(out, tunnels, "penstock_tunnel_bytes_total", "counter",
		"Bytes of the packets inside, over all SAs that the tunnel had.", tunnel_bytes);
	write_tunnel_drops(out, tunnels);
	write_tunnel_counters(out, tunnels, "penstock_tunnel_security_associations", "gauge",
		"SAs that the tunnel has now.", tunnel_sas);
	write_tunnel_counters(out, tunnels, "penstock_tunnel_last_use_timestamp_seconds", "gauge",
		"When a packet was carried last, in seconds since 1970; 0: never.",
		tunnel_last_use);
	single(out, "penstock_tunnels_omitted", "gauge",
		"Tunnels without series of their own: the exporter's limit is reached.",
		tunnels_omitted(tunnels));
}

void metrics_write(FILE *out, const struct view_reader *view, const struct tunnels *tunnels)
{
	single(out, "penstock_up", "gauge", "1 if penstock-espd runs.", view != NULL);
	if (view) {
		write_state(out, view);
		write_owners(out, view);
		write_drops(out, view);
		write_ports(out, view);
		write_workers(out, view);
	}
	write_tunnels(out, tunnels);
}
