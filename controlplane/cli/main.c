#include <stdio.h>
#include <string.h>

#include "controlplane/cli/applet.h"

static const struct applet applets[] = {
	{"ikectl", ikectl_main, "control penstock-iked"},
	{"ipsecctl", ipsecctl_main, "flows and SAs, ipsec.conf"},
	{"penstockctl", penstockctl_main, "look into the data plane and the policies"},
};
#define N_APPLETS (sizeof(applets) / sizeof(applets[0]))

static const struct applet *applet_find(const char *name)
{
	for (size_t i = 0; i < N_APPLETS; i++) {
		if (strcmp(applets[i].name, name) == 0)
			return &applets[i];
	}
	return NULL;
}

/*
 * By the name of the program; `penstockctl ikectl ...` is `ikectl ...`, for who has no link. A
 * binary of another name needs the applet's as its first argument.
 */
int main(int argc, char **argv)
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
	const struct applet *applet = argc > 0 ? applet_find(slash ? slash + 1 : argv[0]) : NULL;
	const struct applet *first = argc > 1 ? applet_find(argv[1]) : NULL;

	if (first && (!applet || applet->run == penstockctl_main)) {
		applet = first;
		argv++;
		argc--;
	}
	if (applet) {
		argv[0] = (char *)(size_t)applet->name;
		return applet->run(argc, argv);
	}
	fprintf(stderr, "usage: penstockctl program [argument ...]\n");
	for (size_t i = 0; i < N_APPLETS; i++)
		fprintf(stderr, "  %-12s %s\n", applets[i].name, applets[i].summary);
	return 1;
}
