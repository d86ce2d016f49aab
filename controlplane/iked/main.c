#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controlplane/iked/child.h"
#include "controlplane/iked/crypto_memory.h"
#include "controlplane/iked/parent.h"
#include "ipc/messages.h"
#include "ipc/paths.h"

#define PENSTOCK_VERSION "0.1.0"

static void __attribute__((noreturn)) usage(void)
{
	fprintf(stderr, "usage: penstock-iked [-dKnSTtVv] [-D macro=value] [-E engines] "
			"[-e espd-socket]\n\t[-f file] [-p udpencap_port] [-s socket]\n");
	exit(1);
}

/* The FQDN of the host: srcid of policies that name none. */
static int host_id(struct ike_id *id, char name[HOST_NAME_MAX + 1])
{
	const struct addrinfo hints = {.ai_flags = AI_CANONNAME, .ai_socktype = SOCK_DGRAM};
	struct addrinfo *list = NULL;

	if (gethostname(name, HOST_NAME_MAX + 1) < 0)
		return -1;
	name[HOST_NAME_MAX] = '\0';
	if (!strchr(name, '.') && getaddrinfo(name, NULL, &hints, &list) == 0) {
		if (list->ai_canonname && strchr(list->ai_canonname, '.') &&
			strlen(list->ai_canonname) <= HOST_NAME_MAX)
			strcpy(name, list->ai_canonname);
		freeaddrinfo(list);
	}
	*id = (struct ike_id){.type = IKE_ID_FQDN, .len = (uint16_t)strlen(name)};
	memcpy(id->data, name, id->len);
	return id->len > 0 ? 0 : -1;
}

static void macro_add(struct iked_options *o, char *definition)
{
	char *equals = strchr(definition, '=');

	if (!equals || equals == definition || o->n_macros == IKED_MACROS_MAX) {
		fprintf(stderr, "penstock-iked: -D %s: expected macro=value\n", definition);
		exit(1);
	}
	*equals = '\0';
	o->macros[o->n_macros++] = (struct conf_macro){definition, equals + 1};
}

static unsigned int engines_parse(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text == '\0' || *end != '\0' || n == 0 || n > IPC_ENGINES_MAX) {
		fprintf(stderr, "penstock-iked: -E %s: expected a number of engines, 1 to %d\n",
			text, IPC_ENGINES_MAX);
		exit(1);
	}
	return (unsigned int)n;
}

static uint16_t port_parse(const char *text)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	if (*text == '\0' || *end != '\0' || port == 0 || port > UINT16_MAX) {
		fprintf(stderr, "penstock-iked: -p %s: expected a port, 1 to 65535\n", text);
		exit(1);
	}
	return (uint16_t)port;
}

/* The role of a child, or IKED_PARENT. */
static enum iked_role options_parse(int argc, char **argv, struct iked_options *o)
{
	int option, role = IKED_PARENT;

	while ((option = getopt(argc, argv, "6D:dE:e:f:Knp:P:Ss:TtVv")) != -1) {
		switch (option) {
		case '6':
			fprintf(stderr, "penstock-iked: -6 has no effect\n");
			break;
		case 'D':
			macro_add(o, optarg);
			break;
		case 'd':
			o->is_foreground = true;
			break;
		case 'E':
			o->n_engines = engines_parse(optarg);
			break;
		case 'e':
			o->espd_path = optarg;
			break;
		case 'f':
			o->conf_path = optarg;
			break;
		case 'K':
			o->kernel_udp = true;
			break;
		case 'n':
			o->check_only = true;
			break;
		case 'p':
			o->nat_port = port_parse(optarg);
			o->only_nat_t = true;
			break;
		case 'P':
			role = iked_role_parse(optarg);
			if (role < 0)
				usage();
			break;
		case 'S':
			o->start_passive = true;
			break;
		case 's':
			o->ctl_path = optarg;
			break;
		case 'T':
			o->no_nat_t = true;
			break;
		case 't':
			o->only_nat_t = true;
			break;
		case 'V':
			printf("Penstock %s\n", PENSTOCK_VERSION);
			exit(0);
		case 'v':
			o->verbose++;
			break;
		default:
			usage();
		}
	}
	if (optind < argc || (o->no_nat_t && o->only_nat_t))
		usage();
	return (enum iked_role)role;
}

/* -n: says whether the file is right, and with -v what it says. */
static int config_check(const struct iked_options *o, const struct ike_id *local_id)
{
	struct conf_diags diags;
	struct ike_config *config;
	int status = 1;

	conf_diags_init(&diags);
	config = parent_config_read(o, o->conf_path, local_id, false, &diags);
	conf_diags_print(&diags, stderr);
	conf_diags_fini(&diags);
	if (config) {
		if (o->verbose > 0)
			iked_conf_print(config, stdout);
		fflush(stdout);
		fprintf(stderr, "configuration OK\n");
		status = 0;
	}
	iked_conf_free(config);
	return status;
}

static int daemon_run(const struct iked_options *o, const struct ike_id *local_id, const char *name)
{
	struct conf_diags diags;
	struct ike_config *config;

	if (geteuid() != 0) {
		fprintf(stderr, "penstock-iked: need root privileges\n");
		return 1;
	}
	conf_diags_init(&diags);
	config = parent_config_read(o, o->conf_path, local_id, true, &diags);
	conf_diags_print(&diags, stderr);
	conf_diags_fini(&diags);
	if (!config)
		return 1;
	if (!strchr(name, '.'))
		fprintf(stderr,
			"penstock-iked: warning: the host's name '%s' has no domain; policies "
			"without srcid use it as it is\n",
			name);
	if (!o->is_foreground && daemon(0, 0) < 0) {
		fprintf(stderr, "penstock-iked: cannot go into the background: %s\n",
			strerror(errno));
		iked_conf_free(config);
		return 1;
	}
	return parent_main(o, config, local_id);
}

int main(int argc, char **argv)
{
	struct conf_macro macros[IKED_MACROS_MAX];
	struct iked_options o = {
		.n_engines = 1,
		.nat_port = IKED_NAT_PORT,
		.conf_path = IKED_CONF_PATH,
		.ctl_path = CTL_SOCKET_PATH,
		.espd_path = ESPD_RUN_DIR "/" ESPD_SOCKET,
		.macros = macros,
	};
	struct ike_id local_id;
	char name[HOST_NAME_MAX + 1];

	if (crypto_memory_hide() < 0) {
		fprintf(stderr, "penstock-iked: no memory for keys\n");
		return 1;
	}
	switch (options_parse(argc, argv, &o)) {
	case IKED_KEY:
		return key_main();
	case IKED_IKE:
		return ike_main();
	case IKED_CONTROL:
		return control_main();
	default:
		break;
	}
	if (host_id(&local_id, name) < 0) {
		fprintf(stderr, "penstock-iked: this host has no name: set it, or srcid in every "
				"policy\n");
		return 1;
	}
	return o.check_only ? config_check(&o, &local_id) : daemon_run(&o, &local_id, name);
}
