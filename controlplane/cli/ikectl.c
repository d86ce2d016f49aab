#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "controlplane/cli/applet.h"
#include "controlplane/cli/ikectl_words.h"
#include "controlplane/ctl/client.h"

struct ikectl {
	bool is_quiet;
	bool counters_begun;
};

static void print_counter(struct ikectl *k, const struct ctl_message *message)
{
	struct ctl_counter counter;

	memcpy(&counter, message->body, sizeof(counter));
	if (!k->counters_begun)
		printf("ike:\n");
	k->counters_begun = true;
	if (k->is_quiet && counter.value == 0)
		return;
	printf("\t%" PRIu64 " %s\n", counter.value,
		counter.value == 1 ? counter.singular : counter.plural);
}

static void print_event(const struct ctl_message *message)
{
	struct ctl_event event;
	char when[32] = "";
	time_t at;

	memcpy(&event, message->body, sizeof(event));
	at = (time_t)event.timestamp_s;
	if (ctime_r(&at, when))
		when[strcspn(when, "\n")] = '\0';
	printf("%s: imsg type %u len %u peerid %u pid %u\n\ttimestamp: %lld, %s\n", event.name,
		event.type, event.len, event.peer_id, event.pid, (long long)event.timestamp_s,
		when);
	fflush(stdout);
}

static int on_reply(void *ctx, const struct ctl_message *message)
{
	struct ikectl *k = ctx;

	switch (message->type) {
	case CTL_TEXT:
		printf("%.*s\n", (int)message->body_len, (const char *)message->body);
		break;
	case CTL_ERROR:
		fflush(stdout);
		fprintf(stderr, "ikectl: %.*s\n", (int)message->body_len,
			(const char *)message->body);
		break;
	case CTL_COUNTER:
		print_counter(k, message);
		break;
	case CTL_EVENT:
		print_event(message);
		break;
	default:
		break;
	}
	return 0;
}

/* What iked's ikectl says when the daemon has taken a request. */
static const char *farewell(enum ctl_type type)
{
	switch (type) {
	case CTL_LOG_VERBOSE:
	case CTL_LOG_BRIEF:
		return "logging request sent.";
	case CTL_RESET_ALL:
	case CTL_RESET_CA:
	case CTL_RESET_POLICY:
	case CTL_RESET_SA:
	case CTL_RESET_USER:
		return "reset request sent.";
	default:
		return NULL;
	}
}

static int request(struct ikectl *k, const char *socket_path, const struct ikectl_command *command)
{
	const struct ctl_client_handler handler = {on_reply, k};
	const char *argument = command->argument ? command->argument : "";
	char path[PATH_MAX];
	int fd, status;

	/* The daemon has another working directory. */
	if (command->type == CTL_LOAD) {
		if (!realpath(argument, path)) {
			fprintf(stderr, "ikectl: %s: %s\n", argument, strerror(errno));
			return 1;
		}
		argument = path;
	}
	fd = ctl_client_connect(socket_path);
	if (fd < 0) {
		fprintf(stderr, "ikectl: connect: %s: %s\n", socket_path, strerror(errno));
		return 1;
	}
	status = ctl_client_send(fd, command->type, argument, strlen(argument));
	if (status == 0)
		status = ctl_client_run(fd, &handler);
	if (status < 0)
		fprintf(stderr, "ikectl: %s: %s\n", socket_path, strerror(errno));
	close(fd);
	if (status == 0 && farewell(command->type))
		printf("%s\n", farewell(command->type));
	return status == 0 ? 0 : 1;
}

int ikectl_main(int argc, char **argv)
{
	struct ikectl k = {false, false};
	struct ikectl_command command;
	const char *socket_path = CTL_SOCKET_PATH;
	int option;

	optind = 1;
	while ((option = getopt(argc, argv, "+qs:")) != -1) {
		switch (option) {
		case 'q':
			k.is_quiet = true;
			break;
		case 's':
			socket_path = optarg;
			break;
		default:
			fprintf(stderr, "usage: ikectl [-q] [-s socket] command [arg ...]\n");
			return 1;
		}
	}
	if (ikectl_words_parse(argv + optind, &command, stderr) < 0)
		return 1;
	if (command.is_ca) {
		fprintf(stderr, "ikectl: ca: certificate authorities are not available in this "
				"version; exchange raw public keys (penstock-iked(8))\n");
		return 1;
	}
	return request(&k, socket_path, &command);
}
