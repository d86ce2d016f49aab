#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controlplane/conf/options.h"

#define IKED_CONF_PATH "/etc/iked.conf"
#define IKED_NAT_PORT 4500
#define IKED_PORT 500

/* penstock-iked's command line. Strings belong to argv. */
struct iked_options {
	bool is_foreground;     /* -d */
	bool check_only;        /* -n */
	bool start_passive;     /* -S */
	bool no_nat_t;          /* -T */
	bool only_nat_t;        /* -t, -p */
	bool kernel_udp;        /* -K */
	unsigned int n_engines; /* -E: 1 to IPC_ENGINES_MAX */
	unsigned int verbose;
	uint16_t nat_port; /* -p */
	const char *conf_path, *ctl_path, *espd_path;
	struct conf_macro *macros; /* -D; owned by main */
	size_t n_macros;
};

#define IKED_MACROS_MAX 64
