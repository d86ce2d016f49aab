#include "dataplane/espd_conf.h"

#include <stdlib.h>
#include <string.h>

#include "dataplane/espd_conf_ast.h"
#include "shared/bytes.h"

#define PORT_NAME_MAX 15 /* IFNAMSIZ - 1: the TAP takes the port's name */
#define CPU_MAX 1023

void espd_config_init(struct espd_config *config)
{
	*config = (struct espd_config){
		.n_workers = 1,
		.strict_inbound = true,
		.mss_max = UINT16_MAX,
		.replay_window = 1024,
		.max_sa = 16384,
		.max_flows = 65536,
		.wait_for_iked = true,
		.run_dir = strdup("/run/penstock"),
		.user = strdup("_espd"),
		.punt_ports = true,
	};
	for (size_t i = 0; i < ESPD_WORKERS_MAX; i++)
		config->cpus[i] = ESPD_WORKER_ANY_CPU;
}

void espd_config_fini(struct espd_config *config)
{
	for (size_t i = 0; i < config->n_ports; i++) {
		free(config->ports[i].name);
		free(config->ports[i].device);
		free(config->ports[i].tap);
	}
	for (size_t i = 0; i < config->n_files; i++)
		free(config->files[i]);
	free(config->files);
	free(config->hugepages_path);
	free(config->eal_args);
	free(config->run_dir);
	free(config->user);
	memset(config, 0, sizeof(*config));
}

static void parse(void *arg)
{
	struct espd_parser *p = arg;
	size_t before = p->diags->n_errors;

	if (conf_lexer_init(&p->lx, &p->arena, p->path, p->options, p->diags) < 0)
		return;
	p->lx.keywords = espd_keywords;
	if (espd_yyparse(p) != 0 && p->diags->n_errors == before)
		conf_error(p->diags, &(struct conf_pos){.file = p->path},
			"the file is nested too deep, expected less");
}

int espd_conf_parse(const char *path, const struct conf_options *options,
	struct espd_config *config, struct conf_diags *diags)
{
	struct espd_parser p = {
		.path = path,
		.options = options,
		.diags = diags,
		.config = config,
		.lx.fd = -1,
	};
	size_t before = diags->n_errors;

	espd_config_init(config);
	if (!config->run_dir || !config->user || arena_run(&p.arena, parse, &p) < 0)
		conf_error(diags, &(struct conf_pos){.file = path}, "out of memory");
	conf_lexer_take_files(&p.lx, &config->files, &config->n_files);
	arena_fini(&p.arena);
	return diags->n_errors > before ? -1 : 0;
}

uint32_t espd_number(struct espd_parser *p, const struct conf_string *s, const char *what,
	uint32_t min, uint32_t max)
{
	if (s->number >= min && s->number <= max)
		return (uint32_t)s->number;
	conf_error(p->diags, &s->pos, "%s %s, expected %u to %u", what, s->text, min, max);
	return min;
}

void espd_window(struct espd_parser *p, const struct conf_string *s)
{
	uint32_t n = espd_number(p, s, "replay-window", 64, 4096);

	if (n & (n - 1))
		conf_error(p->diags, &s->pos,
			"replay-window %u, expected 64, 128, 256, 512, 1024, 2048 or 4096", n);
	p->config->replay_window = n;
}

void espd_string(struct espd_parser *p, char **out, const struct conf_string *s, const char *what,
	bool is_path)
{
	if (s->text[0] == '\0' || (is_path && s->text[0] != '/')) {
		conf_error(p->diags, &s->pos, "%s '%s', expected %s", what, s->text,
			is_path ? "an absolute path" : "text");
		return;
	}
	free(*out);
	*out = NULL;
	*out = conf_strdup(&p->arena, s->text);
}

void espd_worker_add(struct espd_parser *p, const struct conf_string *cpu)
{
	struct espd_config *c = p->config;
	int number = (int)espd_number(p, cpu, "cpu", 0, CPU_MAX);

	if (c->n_workers == ESPD_WORKERS_MAX) {
		conf_error(p->diags, &cpu->pos, "more than %d workers", ESPD_WORKERS_MAX);
		return;
	}
	for (size_t i = 0; i < c->n_workers; i++)
		if (c->cpus[i] == number)
			conf_error(p->diags, &cpu->pos, "cpu %d has a worker already", number);
	c->cpus[c->n_workers++] = number;
}

void espd_port_mac(struct espd_parser *p, const struct conf_string *s)
{
	const char *t = s->text;
	uint8_t mac[6] = {0};
	bool ok = strlen(t) == 17;

	for (size_t i = 0; i < 6 && ok; i++)
		ok = bytes_from_hex(t + 3 * i, &mac[i], 1) && (i == 5 || t[3 * i + 2] == ':');
	/* The lowest bit of the first byte marks a group address. */
	if (!ok || mac[0] & 1) {
		conf_error(p->diags, &s->pos,
			"mac '%s', expected a unicast address such as 02:00:00:00:00:01", t);
		return;
	}
	p->port.has_mac = true;
	memcpy(p->port.mac, mac, sizeof(mac));
}

static bool name_ok(const char *name)
{
	size_t len = strlen(name);

	return len >= 1 && len <= PORT_NAME_MAX && !strpbrk(name, "/ \t") && strcmp(name, ".") &&
	       strcmp(name, "..");
}

void espd_port_add(struct espd_parser *p, const struct conf_string *name)
{
	struct espd_config *c = p->config;
	const char *tap = p->port.tap ? p->port.tap : name->text;
	struct espd_port_config *port;

	if (!name_ok(name->text) || !name_ok(tap)) {
		conf_error(p->diags, &name->pos,
			"port '%s' with tap '%s', expected names of 1 to %d bytes without / and "
			"blanks",
			name->text, tap, PORT_NAME_MAX);
		return;
	}
	if (p->port.device[0] == '\0') {
		conf_error(p->diags, &name->pos, "port '%s' has an empty device", name->text);
		return;
	}
	for (size_t i = 0; i < c->n_ports; i++)
		if (strcmp(c->ports[i].name, name->text) == 0 ||
			strcmp(c->ports[i].tap, tap) == 0) {
			conf_error(p->diags, &name->pos,
				"port '%s' has the name or tap of the port in line %u", name->text,
				c->ports[i].pos.line);
			return;
		}
	if (c->n_ports == ESPD_PORTS_MAX) {
		conf_error(p->diags, &name->pos, "more than %d ports", ESPD_PORTS_MAX);
		return;
	}
	port = &c->ports[c->n_ports++];
	*port = p->port;
	port->pos.macro = NULL;
	port->name = port->device = port->tap = NULL; /* not the arena's */
	port->name = conf_strdup(&p->arena, name->text);
	port->device = conf_strdup(&p->arena, p->port.device);
	port->tap = conf_strdup(&p->arena, tap);
}

static void print_ports(const struct espd_config *c, FILE *out)
{
	for (size_t i = 0; i < c->n_ports; i++) {
		const struct espd_port_config *p = &c->ports[i];

		fputs("port ", out);
		conf_print_quoted(out, p->name);
		fputs(" device ", out);
		conf_print_quoted(out, p->device);
		fputs(" tap ", out);
		conf_print_quoted(out, p->tap);
		if (p->has_mac)
			fprintf(out, " mac \"%02x:%02x:%02x:%02x:%02x:%02x\"", p->mac[0], p->mac[1],
				p->mac[2], p->mac[3], p->mac[4], p->mac[5]);
		if (p->mtu)
			fprintf(out, " mtu %u", p->mtu);
		if (p->queues)
			fprintf(out, " queues %u", p->queues);
		fputc('\n', out);
	}
}

static void print_workers(const struct espd_config *c, FILE *out)
{
	if (c->workers_shared) {
		fputs("workers shared\n", out);
	} else if (c->cpus[0] == ESPD_WORKER_ANY_CPU) {
		fprintf(out, "workers %zu\n", c->n_workers);
	} else {
		fputs("workers {", out);
		for (size_t i = 0; i < c->n_workers; i++)
			fprintf(out, "%s cpu %d", i ? "," : "", c->cpus[i]);
		fputs(" }\n", out);
	}
}

static void print_auto(const char *word, uint32_t value, FILE *out)
{
	if (value)
		fprintf(out, "%s %u\n", word, value);
	else
		fprintf(out, "%s auto\n", word);
}

static void print_text(const char *word, const char *text, FILE *out)
{
	if (!text)
		return;
	fprintf(out, "%s ", word);
	conf_print_quoted(out, text);
	fputc('\n', out);
}

void espd_conf_print(const struct espd_config *c, FILE *out)
{
	print_ports(c, out);
	print_workers(c, out);
	fprintf(out, "default %s\n", c->default_deny ? "deny" : "pass");
	fprintf(out, "strict-inbound %s\n", c->strict_inbound ? "yes" : "no");
	if (c->mss_max == 0 || c->mss_max == UINT16_MAX)
		fprintf(out, "mss-clamp %s\n", c->mss_max ? "yes" : "no");
	else
		fprintf(out, "mss-clamp %u\n", c->mss_max);
	fprintf(out, "replay-window %u\n", c->replay_window);
	fprintf(out, "max-sa %u\n", c->max_sa);
	fprintf(out, "max-flows %u\n", c->max_flows);
	fprintf(out, "telemetry %s\n", c->telemetry ? "yes" : "no");
	fputs(c->wait_for_iked ? "wait-for iked\n" : "standalone\n", out);
	print_auto("memory", c->memory_mb, out);
	print_auto("mbufs", c->mbufs, out);
	if (c->hugepages == ESPD_HUGE_PATH)
		print_text("hugepages", c->hugepages_path, out);
	else
		fprintf(out, "hugepages %s\n", c->hugepages == ESPD_HUGE_NO ? "no" : "auto");
	print_text("eal-args", c->eal_args, out);
	print_text("run-dir", c->run_dir, out);
	print_text("user", c->user, out);
	fprintf(out, "idle %s\n", c->idle == ESPD_IDLE_SPIN ? "spin" : "adaptive");
	fprintf(out, "punt %s\n", c->punt_ports ? "ports" : "no");
}
