#pragma once

/*
 * The programs inside the one command-line binary: chosen by the name it was called by, else by
 * its first argument. Each applet is one row of the table in main.c; argv[0] is the applet's name.
 */
struct applet {
	const char *name;
	int (*run)(int argc, char **argv); /* exit status */
	const char *summary;
};

int ikectl_main(int argc, char **argv);
int ipsecctl_main(int argc, char **argv);
int penstockctl_main(int argc, char **argv);
