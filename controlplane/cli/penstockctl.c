#include "controlplane/cli/penstockctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controlplane/cli/applet.h"
#include "controlplane/ctl/client.h"
#include "ipc/paths.h"

static const struct {
	const char *word;
	int (*run)(const struct penstockctl *p, char **words);
	const char *arguments, *summary;
} commands[] = {
	{"show", penstockctl_show, "sa|flow|spd|port|worker|counters|drops|owner|state|pipeline",
		"what the data plane holds and counts"},
	{"trace", penstockctl_trace, "[FILTER ...]", "packets with the decision at every step"},
	{"capture", penstockctl_capture, "[spi 0xSPI]",
		"clear text of an SA or of all, as pcap on standard output"},
	{"why-policy", penstockctl_why_policy, "LOCAL PEER [IDi [IDr]]",
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

int penstockctl_main(int argc, char **argv)
{
	struct penstockctl p = {.run_dir = ESPD_RUN_DIR, .iked_socket = CTL_SOCKET_PATH};
	int c;

	argc = take_json(argc, argv, &p.json);
	optind = 1;
	while ((c = getopt(argc, argv, "+c:jnr:s:")) != -1) {
		if (c == 'c')
			p.count = (uint32_t)strtoul(optarg, NULL, 10);
		else if (c == 'j')
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
			return commands[i].run(&p, argv + optind + 1);
	return usage();
}

static int print_reply(void *ctx, const struct ctl_message *message)
{
	(void)ctx;
	if (message->type == CTL_TEXT)
		printf("%.*s\n", (int)message->body_len, (const char *)message->body);
	else if (message->type == CTL_ERROR)
		fprintf(stderr, "penstockctl: %.*s\n", (int)message->body_len,
			(const char *)message->body);
	return 0;
}

int penstockctl_why_policy(const struct penstockctl *p, char **words)
{
	const struct ctl_client_handler handler = {.reply = print_reply};
	char question[1024] = "";
	int fd, status;

	if (!words[0] || !words[1]) {
		fprintf(stderr, "usage: penstockctl why-policy LOCAL PEER [IDi [IDr]]\n");
		return 1;
	}
	for (size_t i = 0; words[i]; i++) {
		size_t len = strlen(question);

		snprintf(question + len, sizeof(question) - len, "%s%s", i ? " " : "", words[i]);
	}
	fd = ctl_client_connect(p->iked_socket);
	if (fd < 0 || ctl_client_send(fd, CTL_WHY_POLICY, question, strlen(question)) < 0) {
		fprintf(stderr, "penstockctl: connect: %s: %m\n", p->iked_socket);
		return 1;
	}
	status = ctl_client_run(fd, &handler);
	close(fd);
	return status == 0 ? 0 : 1;
}
