#include "dataplane/reload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/espd.h"

static bool is_same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

/* Errors and warnings of a file, a line each, to the log. */
static void diags_log(const struct logger *log, const struct conf_diags *diags)
{
	char *text = NULL, *save = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return;
	conf_diags_print(diags, out);
	fclose(out);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		log_warn(log, "reload: %s", line);
	free(text);
}

static bool is_same_port(const struct espd_port_config *a, const struct espd_port_config *b)
{
	return is_same_text(a->name, b->name) && is_same_text(a->device, b->device) &&
	       is_same_text(a->tap, b->tap) && a->has_mac == b->has_mac &&
	       memcmp(a->mac, b->mac, sizeof(a->mac)) == 0 && a->mtu == b->mtu &&
	       a->queues == b->queues;
}

static const struct espd_port_config *port_by_name(const struct espd_config *c, const char *name)
{
	for (size_t i = 0; i < c->n_ports; i++) {
		if (strcmp(c->ports[i].name, name) == 0)
			return &c->ports[i];
	}
	return NULL;
}

static void ports_compare(
	const struct logger *log, const struct espd_config *was, const struct espd_config *is)
{
	for (size_t i = 0; i < is->n_ports; i++) {
		const struct espd_port_config *p = port_by_name(was, is->ports[i].name);

		if (!p || !is_same_port(p, &is->ports[i]))
			log_warn(log, "reload: port %s is %s: it needs a restart",
				is->ports[i].name, p ? "changed" : "new");
	}
	for (size_t i = 0; i < was->n_ports; i++) {
		if (!port_by_name(is, was->ports[i].name))
			log_warn(log, "reload: port %s is gone: it needs a restart",
				was->ports[i].name);
	}
}

/* Names what stays as it was because it decides memory, threads or places. */
static void rest_compare(
	const struct logger *log, const struct espd_config *was, const struct espd_config *is)
{
	const struct {
		const char *name;
		bool is_changed;
	} rows[] = {
		{"workers", was->n_workers != is->n_workers ||
				    was->workers_shared != is->workers_shared ||
				    memcmp(was->cpus, is->cpus, sizeof(was->cpus)) != 0},
		{"max-sa", was->max_sa != is->max_sa},
		{"max-flows", was->max_flows != is->max_flows},
		{"wait-for", was->wait_for_iked != is->wait_for_iked},
		{"memory", was->memory_mb != is->memory_mb},
		{"mbufs", was->mbufs != is->mbufs},
		{"hugepages", was->hugepages != is->hugepages ||
				      !is_same_text(was->hugepages_path, is->hugepages_path)},
		{"eal-args", !is_same_text(was->eal_args, is->eal_args)},
		{"user", !is_same_text(was->user, is->user)},
		{"run-dir", !is_same_text(was->run_dir, is->run_dir)},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].is_changed)
			log_warn(log, "reload: %s is changed: it needs a restart", rows[i].name);
	}
}

static void apply(struct espd *e, const struct espd_config *is)
{
	struct espd_config *was = &e->conf;
	struct dp_config *dp = &e->dp.config;

	/* Each is one store: a packet is judged by the old or by the new value. */
	atomic_store(&dp->is_default_deny, is->default_deny);
	atomic_store(&dp->is_strict_inbound, is->strict_inbound);
	atomic_store(&dp->mss_max, is->mss_max);
	atomic_fetch_add(&e->dp.version, 1);
	atomic_store(&e->dp.is_spinning, is->idle == ESPD_IDLE_SPIN);
	control_window_set(e->control, is->replay_window);
	was->default_deny = is->default_deny;
	was->strict_inbound = is->strict_inbound;
	was->mss_max = is->mss_max;
	was->idle = is->idle;
	was->replay_window = is->replay_window;
}

void espd_reload(struct espd *e)
{
	struct conf_options options = {.check_permissions = false};
	struct espd_config conf;
	struct conf_diags diags;

	conf_diags_init(&diags);
	if (espd_conf_parse(e->conf_path, &options, &conf, &diags) < 0) {
		diags_log(&e->log, &diags);
		log_error(&e->log, "reload: %s is not taken, all stays as it was", e->conf_path);
	} else {
		diags_log(&e->log, &diags);
		ports_compare(&e->log, &e->conf, &conf);
		rest_compare(&e->log, &e->conf, &conf);
		apply(e, &conf);
		log_info(&e->log, "reload: %s is loaded", e->conf_path);
	}
	conf_diags_fini(&diags);
	espd_config_fini(&conf);
}
