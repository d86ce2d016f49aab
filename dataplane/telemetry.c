#include "dataplane/telemetry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_telemetry.h>
#include <rte_version.h>

#include "ipc/error.h"
#include "ipc/view.h"

/* Set once, before anybody asks: DPDK 22.11's callbacks get no argument of ours. */
static struct view_reader *view;

#define SAS_LISTED 512 /* DPDK's own limit of an array */

static void add(struct rte_tel_data *d, const char *name, uint64_t value)
{
#if RTE_VERSION >= RTE_VERSION_NUM(23, 3, 0, 0)
	rte_tel_data_add_dict_uint(d, name, value);
#else
	rte_tel_data_add_dict_u64(d, name, value);
#endif
}

/* The view for one answer; d is begun as an object. */
static const struct view_reader *begin(struct rte_tel_data *d)
{
	return rte_tel_data_start_dict(d) == 0 ? view : NULL;
}

static int tel_state(const char *cmd, const char *params, struct rte_tel_data *d)
{
	static const char *const states[] = {"starting", "not-ready", "ready", "stopping"};
	const struct view_reader *r = begin(d);
	struct view_globals g;
	struct view_info info;

	(void)cmd;
	(void)params;
	if (!r)
		return -EIO;
	view_reader_info(r, &info);
	if (view_read_globals(r, &g) == 1) {
		rte_tel_data_add_dict_string(d, "state", states[g.state % 4]);
		rte_tel_data_add_dict_string(d, "version", info.version);
		add(d, "started_s", info.started_s);
		add(d, "workers", info.n_workers);
		add(d, "sas", g.n_sa);
		add(d, "flows", g.n_flow);
		add(d, "paths", g.n_path);
		add(d, "waiting_for_owners", g.not_ready_owners);
	}
	return 0;
}

static int tel_drops(const char *cmd, const char *params, struct rte_tel_data *d)
{
	const struct view_reader *r = begin(d);
	struct view_info info;

	(void)cmd;
	(void)params;
	if (!r)
		return -EIO;
	view_reader_info(r, &info);
	for (uint32_t i = 1; i < info.n_drops; i++) /* 0: not dropped */ {
		char name[VIEW_NAME_LEN];

		/* A name in a telemetry object may hold no '-'. */
		snprintf(name, sizeof(name), "%s", view_reader_drop_name(r, i));
		for (char *c = name; *c; c++)
			if (*c == '-')
				*c = '_';
		add(d, name, view_read_drops(r, i));
	}
	return 0;
}

static const struct {
	const char *name;
	size_t offset;
} worker_rows[] = {
	{"rx_packets", offsetof(struct view_worker, rx_packets)},
	{"tx_packets", offsetof(struct view_worker, tx_packets)},
	{"esp_in_packets", offsetof(struct view_worker, esp_in_packets)},
	{"esp_in_bytes", offsetof(struct view_worker, esp_in_bytes)},
	{"esp_out_packets", offsetof(struct view_worker, esp_out_packets)},
	{"esp_out_bytes", offsetof(struct view_worker, esp_out_bytes)},
	{"handed_over", offsetof(struct view_worker, handoff_out)},
	{"clear", offsetof(struct view_worker, bypass)},
	{"to_host", offsetof(struct view_worker, to_host)},
	{"from_host", offsetof(struct view_worker, from_host)},
	{"punted", offsetof(struct view_worker, punted)},
	{"acquires", offsetof(struct view_worker, acquires)},
	{"sleeps", offsetof(struct view_worker, sleeps)},
};

/* A number from the text behind the comma; false without one. */
static bool number(const char *params, unsigned long *out)
{
	char *end = NULL;

	if (!params || *params < '0' || *params > '9')
		return false;
	*out = strtoul(params, &end, 0);
	return *end == '\0';
}

/* One worker's counters, or with n_workers the sum of all. */
static int workers_answer(struct rte_tel_data *d, bool is_sum, unsigned long which)
{
	const struct view_reader *r = begin(d);
	struct view_info info;
	struct view_worker w;

	if (!r)
		return -EIO;
	view_reader_info(r, &info);
	if (!is_sum && which >= info.n_workers) {
		return -EINVAL;
	}
	for (size_t k = 0; k < sizeof(worker_rows) / sizeof(worker_rows[0]); k++) {
		uint64_t sum = 0, value;

		for (uint32_t i = 0; i < info.n_workers; i++) {
			if ((!is_sum && i != which) || view_read_worker(r, i, &w) != 1)
				continue;
			memcpy(&value, (const uint8_t *)&w + worker_rows[k].offset, sizeof(value));
			sum += value;
		}
		add(d, worker_rows[k].name, sum);
	}
	return 0;
}

static int tel_counters(const char *cmd, const char *params, struct rte_tel_data *d)
{
	(void)cmd;
	(void)params;
	return workers_answer(d, true, 0);
}

static int tel_worker(const char *cmd, const char *params, struct rte_tel_data *d)
{
	unsigned long which;

	(void)cmd;
	return number(params, &which) ? workers_answer(d, false, which) : -EINVAL;
}

static void port_answer(
	struct rte_tel_data *d, const struct view_port *port, const struct view_port_counters *c)
{
	rte_tel_data_add_dict_string(d, "port", port->name);
	rte_tel_data_add_dict_string(d, "driver", port->driver);
	add(d, "up", port->is_up);
	add(d, "mtu", port->mtu);
	add(d, "rx_packets", c->rx_packets);
	add(d, "rx_bytes", c->rx_bytes);
	add(d, "rx_missed", c->rx_missed);
	add(d, "rx_errors", c->rx_errors);
	add(d, "tx_packets", c->tx_packets);
	add(d, "tx_bytes", c->tx_bytes);
	add(d, "tx_full", c->tx_full);
	add(d, "tx_errors", c->tx_errors);
	add(d, "link_changes", port->link_changes);
}

static int tel_port(const char *cmd, const char *params, struct rte_tel_data *d)
{
	const struct view_reader *r = begin(d);
	struct view_port_counters c;
	struct view_port port;
	struct view_info info;
	int rc = -EINVAL;

	(void)cmd;
	if (!r)
		return -EIO;
	view_reader_info(r, &info);
	for (uint32_t i = 0; params && rc < 0 && i < info.max_ports; i++) {
		if (view_read_port(r, i, &port, &c) != 1 || strcmp(port.name, params) != 0)
			continue;
		port_answer(d, &port, &c);
		rc = 0;
	}
	return rc;
}

static uint64_t sa_high(const struct view_reader *r)
{
	struct view_globals g;
	struct view_info info;

	view_reader_info(r, &info);
	if (view_read_globals(r, &g) != 1)
		return 0;
	return g.sa_high < info.max_sa ? g.sa_high : info.max_sa;
}

static int tel_sas(const char *cmd, const char *params, struct rte_tel_data *d)
{
	const struct view_reader *r = view;
	struct view_sa_counters c;
	struct view_sa sa;
	unsigned int n = 0;
	char spi[16];

	(void)cmd;
	(void)params;
	if (rte_tel_data_start_array(d, RTE_TEL_STRING_VAL) != 0)
		return -EIO;
	for (uint32_t i = 0; i < sa_high(r) && n < SAS_LISTED; i++) {
		if (view_read_sa(r, i, &sa, &c) != 1)
			continue;
		snprintf(spi, sizeof(spi), "0x%08x", sa.spi);
		n += rte_tel_data_add_array_string(d, spi) == 0;
	}
	return 0;
}

static void sa_answer(
	struct rte_tel_data *d, const struct view_sa *sa, const struct view_sa_counters *c)
{
	char text[ADDR_STRLEN];

	rte_tel_data_add_dict_string(d, "direction", sa->direction == IPC_DIR_IN ? "in" : "out");
	rte_tel_data_add_dict_string(d, "from", addr_str(&sa->tunnel_src, text));
	rte_tel_data_add_dict_string(d, "to", addr_str(&sa->tunnel_dst, text));
	add(d, "worker", sa->worker);
	add(d, "mtu", sa->mtu);
	add(d, "packets", c->packets);
	add(d, "bytes", c->bytes);
	add(d, "sequence", c->sequence);
	add(d, "last_use_s", c->last_use_s);
	add(d, "drop_replay", c->drop_replay);
	add(d, "drop_icv", c->drop_icv);
	add(d, "drop_selectors", c->drop_selectors);
	add(d, "drop_other", c->drop_other);
}

static int tel_sa(const char *cmd, const char *params, struct rte_tel_data *d)
{
	const struct view_reader *r;
	struct view_sa_counters c;
	struct view_sa sa;
	unsigned long spi;
	int rc = -ENOENT;

	(void)cmd;
	if (!number(params, &spi))
		return -EINVAL;
	r = begin(d);
	if (!r)
		return -EIO;
	for (uint32_t i = 0; rc < 0 && i < sa_high(r); i++) {
		if (view_read_sa(r, i, &sa, &c) != 1 || sa.spi != spi)
			continue;
		sa_answer(d, &sa, &c);
		rc = 0;
	}
	return rc;
}

int telemetry_start(const char *view_path)
{
	static const struct {
		const char *command;
		telemetry_cb answer;
		const char *help;
	} commands[] = {
		{"/penstock/state", tel_state, "State of the gateway. No parameters."},
		{"/penstock/drops", tel_drops, "Dropped packets by reason. No parameters."},
		{"/penstock/counters", tel_counters, "Sum over the workers. No parameters."},
		{"/penstock/worker", tel_worker, "One worker's counters. Parameter: its number."},
		{"/penstock/port", tel_port, "A port's counters. Parameter: its name."},
		{"/penstock/sas", tel_sas, "SPIs of the first SAs. No parameters."},
		{"/penstock/sa", tel_sa, "An SA's counters. Parameter: its SPI."},
	};

	if (view_reader_open(&view, view_path) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (rte_telemetry_register_cmd(
			    commands[i].command, commands[i].answer, commands[i].help) != 0)
			return -1;
	return 0;
}
