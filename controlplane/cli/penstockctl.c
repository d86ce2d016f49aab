#include "controlplane/cli/penstockctl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controlplane/cli/applet.h"
#include "controlplane/cli/emit.h"
#include "controlplane/ctl/client.h"
#include "ipc/paths.h"

static const struct command {
	const char *word;
	int (*run)(const struct penstockctl *p, char **words);
	unsigned int min_words, max_words; /* behind the command */
	const char *arguments, *summary;
} commands[] = {
	{"show", penstockctl_show, 1, 1,
		"sa|flow|spd|port|worker|counters|drops|owner|state|stats|pipeline",
		"what the data plane holds and counts"},
	{"trace", penstockctl_trace, 0, 32, "[FILTER ...]",
		"packets with the decision at every step"},
	{"capture", penstockctl_capture, 0, 2, "[spi 0xSPI]",
		"clear text of an SA or of all, as pcap on standard output"},
	{"explain", penstockctl_explain, 1, 3, "SRC[:PORT] DST[:PORT] [PROTO] | 0xSPI",
		"what happens to a packet, or of an SA: flow, next hop, MTU, last drop"},
	{"top", penstockctl_top, 0, 4, "[-n COUNT] [-i SECONDS]",
		"rates of ports, tunnels and drops, live; -n: so many pictures, without a screen"},
	{"exporter", penstockctl_exporter, 0, 4, "[--listen ADDRESS:PORT] [--max-tunnels N]",
		"metrics for Prometheus over HTTP; 127.0.0.1:9470 by default"},
	{"why-policy", penstockctl_why_policy, 2, 4, "LOCAL PEER [IDi [IDr]]",
		"each policy of iked.conf for this peer, and why it lost"},
};

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static int usage(void)
{
	fprintf(stderr, "usage: penstockctl [-jn] [-c count] [-r run-directory] [-s socket] "
			"command [argument ...]\n");
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(stderr, "  %s %s\n\t%s\n", commands[i].word, commands[i].arguments,
			commands[i].summary);
	return 1;
}

/* --json may stand anywhere, as in `penstockctl show sa --json`. */
static int take_json(int argc, char **argv, bool *json)
{
	int n = 1;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			*json = true;
		else
			argv[n++] = argv[i];
	}
	argv[n] = NULL;
	return n;
}

/* Packets of -c: 1 to 4294967295. */
static int count_parse(const char *text, uint32_t *out)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end != '\0' || errno || value == 0 ||
		value > UINT32_MAX) {
		fprintf(stderr, "penstockctl: -c %s: not a number of packets\n", text);
		return -1;
	}
	*out = (uint32_t)value;
	return 0;
}

static int run(const struct penstockctl *p, const struct command *command, char **words)
{
	unsigned int n = 0;

	while (words[n])
		n++;
	if (n > command->max_words) {
		fprintf(stderr, "penstockctl: superfluous argument: %s\n",
			words[command->max_words]);
	} else if (n >= command->min_words) {
		return command->run(p, words);
	}
	fprintf(stderr, "usage: penstockctl %s %s\n", command->word, command->arguments);
	return 1;
}

int penstockctl_main(int argc, char **argv)
{
	struct penstockctl p = {.run_dir = ESPD_RUN_DIR, .iked_socket = CTL_SOCKET_PATH};
	int c;

	argc = take_json(argc, argv, &p.json);
	optind = 1;
	while ((c = getopt(argc, argv, "+c:jnr:s:")) != -1) {
		if (c == 'c' && count_parse(optarg, &p.count) < 0)
			return 1;
		if (c == 'c')
			continue;
		if (c == 'j')
			p.json = true;
		else if (c == 'n')
			p.non_zero_only = true;
		else if (c == 'r')
			p.run_dir = optarg;
		else if (c == 's')
			p.iked_socket = optarg;
		else
			return usage();
	}
	for (size_t i = 0; i < N_COMMANDS && optind < argc; i++)
		if (strcmp(argv[optind], commands[i].word) == 0)
			return run(&p, &commands[i], argv + optind + 1);
	if (optind < argc)
		fprintf(stderr, "penstockctl: unknown command: %s\n", argv[optind]);
	return usage();
}

/* "* 'NAME' (FILE:LINE): REASON" as an object; the winner has the star. */
static void policy_object(struct emit *e, char *line)
{
	char *name = strchr(line, '\''), *place, *reason;
	char *name_end = name ? strstr(name + 1, "' (") : NULL;

	place = name_end ? name_end + 3 : NULL;
	reason = place ? strstr(place, "): ") : NULL;
	if (!reason)
		return;
	*name_end = *reason = '\0';
	emit_object(e);
	emit_str(e, "policy", name + 1);
	emit_str(e, "place", place);
	emit_bool(e, "chosen", line[0] == '*');
	emit_str(e, "reason", reason + 3);
	emit_object_end(e);
}

static int print_reply(void *ctx, const struct ctl_message *message)
{
	struct emit *e = ctx;
	char line[2048];

	snprintf(line, sizeof(line), "%.*s", (int)message->body_len, (const char *)message->body);
	if (message->type == CTL_TEXT && e->json)
		policy_object(e, line);
	else if (message->type == CTL_TEXT)
		printf("%s\n", line);
	else if (message->type == CTL_ERROR)
		fprintf(stderr, "penstockctl: %.*s\n", (int)message->body_len,
			(const char *)message->body);
	return 0;
}

int penstockctl_why_policy(const struct penstockctl *p, char **words)
{
	struct emit e;
	const struct ctl_client_handler handler = {.reply = print_reply, .ctx = &e};
	char question[1024] = "";
	int fd, status;

	for (size_t i = 0; words[i]; i++) {
		size_t len = strlen(question);

		snprintf(question + len, sizeof(question) - len, "%s%s", i ? " " : "", words[i]);
	}
	fd = ctl_client_connect(p->iked_socket);
	if (fd < 0 || ctl_client_send(fd, CTL_WHY_POLICY, question, strlen(question)) < 0) {
		fprintf(stderr, "penstockctl: connect: %s: %m\n", p->iked_socket);
		return 1;
	}
	emit_begin(&e, stdout, p->json);
	status = ctl_client_run(fd, &handler);
	emit_end(&e);
	close(fd);
	return status == 0 ? 0 : 1;
}
