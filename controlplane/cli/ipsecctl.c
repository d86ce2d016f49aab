#include "controlplane/cli/ipsecctl.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controlplane/cli/applet.h"
#include "ipc/paths.h"

#define MACROS_MAX 64

static int usage(void)
{
	fprintf(stderr, "usage: ipsecctl [-cdFkmnv] [-D macro=value] [-f file] [-i fifo]\n"
			"                [-s modifier] [-r run-directory]\n");
	return 1;
}

/* -s: any prefix of these words, searched in this order. */
static int show_modifier(struct ipsecctl_options *o, const char *word)
{
	size_t len = strlen(word);

	if (len > 0 && strncmp("flow", word, len) == 0) {
		o->show_flows = true;
	} else if (len > 0 && strncmp("sa", word, len) == 0) {
		o->show_sas = true;
	} else if (len > 0 && strncmp("all", word, len) == 0) {
		o->show_flows = o->show_sas = o->show_titles = true;
	} else {
		fprintf(stderr, "Unknown show modifier '%s'\n", word);
		return -1;
	}
	return 0;
}

static int add_macro(struct conf_macro *macros, size_t *n, char *text)
{
	char *equals = strchr(text, '=');

	if (!equals || equals == text || *n == MACROS_MAX) {
		fprintf(stderr, "could not parse macro definition %s\n", text);
		return -1;
	}
	*equals = '\0';
	macros[(*n)++] = (struct conf_macro){text, equals + 1};
	return 0;
}

static int parse_options(
	struct ipsecctl_options *o, struct conf_macro *macros, int argc, char **argv)
{
	int c;

	optind = 1;
	while ((c = getopt(argc, argv, "cdD:f:Fi:kmnr:s:v")) != -1) {
		switch (c) {
		case 'c':
			o->collapse = true;
			break;
		case 'd':
			o->delete_rules = true;
			break;
		case 'D':
			if (add_macro(macros, &o->conf.n_macros, optarg) < 0)
				return -1;
			break;
		case 'f':
			o->file = optarg;
			break;
		case 'F':
			o->flush = true;
			break;
		case 'i': /* isakmpd's FIFO: there is no isakmpd here, the word is accepted */
			break;
		case 'k':
			o->show_keys = true;
			break;
		case 'm':
			o->monitor = true;
			break;
		case 'n':
			o->no_load = true;
			break;
		case 'r':
			o->run_dir = optarg;
			break;
		case 's':
			if (show_modifier(o, optarg) < 0)
				return -1;
			break;
		case 'v':
			o->verbose++;
			break;
		default:
			return -1;
		}
	}
	if (optind == argc)
		return 0;
	fprintf(stderr, "unknown command line argument: %s ...\n", argv[optind]);
	return -1;
}

/* Parses and, unless -n, loads. Nothing is loaded from a file with an error. */
static int load_file(struct ipsecctl_options *o)
{
	struct ipsec_config *config = NULL;
	struct conf_diags diags;
	int status = 1;

	conf_diags_init(&diags);
	o->conf.check_permissions = strcmp(o->file, "-") != 0;
	o->conf.show_macros = o->verbose > 0 ? stdout : NULL;
	int rc = ipsec_conf_parse(o->file, &o->conf, &config, &diags);
	if (rc == 0 && !o->no_load)
		rc = ipsec_conf_check_loadable(config, &diags);
	conf_diags_print(&diags, stderr);
	if (rc < 0) {
		fprintf(stderr, "ipsecctl: Syntax error in config file: ipsec rules not loaded\n");
		goto out;
	}
	if (o->verbose > 0)
		ipsec_conf_print(config, o->verbose > 1 ? IPSEC_PRINT_NUMBERS : 0, stdout);
	status = o->no_load ? 0 : ipsecctl_load(o, config);
out:
	ipsec_conf_free(config);
	conf_diags_fini(&diags);
	return status;
}

int ipsecctl_main(int argc, char **argv)
{
	struct conf_macro macros[MACROS_MAX];
	struct ipsecctl_options o = {.run_dir = ESPD_RUN_DIR, .conf.macros = macros};
	int status = 0;

	if (argc < 2 || parse_options(&o, macros, argc, argv) < 0)
		return usage();
	/* Whatever is asked for, the order is: flush, load, show, monitor. */
	if (o.flush && !o.no_load)
		status |= ipsecctl_flush(&o);
	if (o.file)
		status |= load_file(&o);
	if (o.show_flows || o.show_sas)
		status |= ipsecctl_show(&o);
	if (o.monitor)
		status |= ipsecctl_monitor(&o);
	return status;
}
