#pragma once

#include <event2/event.h>
#include <limits.h>
#include <sys/types.h>

#include "controlplane/conf/diag.h"
#include "controlplane/conf/iked_conf.h"
#include "controlplane/iked/imsg.h"
#include "controlplane/iked/messages.h"
#include "controlplane/iked/options.h"
#include "controlplane/iked/role.h"
#include "shared/log.h"

/*
 * The parent's inner interface: root, supervisor of the others, reader of all files. It never
 * parses a byte from the network.
 */
struct parent;

struct parent_child {
	struct parent *parent;
	enum iked_role role;
	uint32_t number;              /* of an engine, else 0 */
	pid_t pid;                    /* 0: not running */
	struct imsg_channel *channel; /* NULL: not running, or broke the rules */
	struct event *restart;
	unsigned int failures; /* in a row */
	uint64_t started_ms;
	bool has_stopped;  /* an engine: all is taken out, or it is gone */
	uint64_t ended_ms; /* 0: never */
};

/* A load under way: keys first, then the engines, then it replaces what was there. */
enum load_stage { LOAD_IDLE = 0, LOAD_KEYS, LOAD_ENGINE };
struct parent_load {
	enum load_stage stage;
	bool has_client; /* ctl_serial names who asked */
	uint64_t ctl_serial;
	uint32_t version;
	uint32_t engines_done; /* bits */
	struct ike_config *config;
	char path[PATH_MAX];
};

/* All engines read the same sockets, so they outlive each. */
struct parent_socket {
	struct msg_udp_socket what;
	int fd;
};
#define PARENT_SOCKETS_MAX 4

struct parent {
	const struct iked_options *options;
	struct event_base *base;
	struct logger log;
	struct parent_child child[IKED_N_ROLES][IPC_ENGINES_MAX]; /* engines by number, others 0 */
	struct event *signals[4];
	struct event *stop_timer;
	struct msg_setup setup;
	int ctl_fd;                                       /* listening */
	struct parent_socket sockets[PARENT_SOCKETS_MAX]; /* of the kernel-UDP transport */
	unsigned int n_sockets;
	bool ctl_is_bound;
	bool is_first_load; /* until a configuration runs: a failure ends the program */
	bool is_stopping;
	int exit_status;

	struct ike_config *config; /* running; without pre-shared keys. NULL before the first */
	uint32_t version, last_version;
	char conf_path[PATH_MAX]; /* of the running configuration */
	struct parent_load load;
};

/* Loads config (taken over) and runs until stopped; exit status. */
int parent_main(const struct iked_options *options, struct ike_config *config,
	const struct ike_id *local_id);
/* Ends in order: SAs and flows out, children, then the loop. */
void parent_stop(struct parent *p, int exit_status);

/* parent_spawn.c */
int parent_spawn_all(struct parent *p);
void parent_child_exited(struct parent *p, pid_t pid, int status);
void parent_children_kill(struct parent *p);
/* Sends to a child (not an engine) if it runs; takes over fd. */
void parent_send(struct parent *p, enum iked_role to, enum msg_type type, uint64_t serial,
	const void *body, size_t len, int fd);
/* To an engine, and to all of them. */
void parent_send_engine(struct parent *p, uint32_t number, enum msg_type type, uint64_t serial,
	const void *body, size_t len, int fd);
void parent_send_engines(struct parent *p, enum msg_type type, const void *body, size_t len);
/* An engine has stopped: ends the program when all have. */
void parent_engine_stopped(struct parent *p, uint32_t number);
/* How many of a role there are. */
uint32_t parent_count_of(const struct parent *p, enum iked_role role);

/* parent_load.c */
/* Reads and checks a file. NULL: diags says why. Warnings may be in diags in both cases. */
struct ike_config *parent_config_read(const struct iked_options *options, const char *path,
	const struct ike_id *local_id, bool for_loading, struct conf_diags *diags);
/* Starts a load of config (taken over), read from path. */
void parent_load_begin(struct parent *p, struct ike_config *config, const char *path,
	bool has_client, uint64_t ctl_serial);
void parent_load_keys_done(struct parent *p, const struct imsg *msg);
void parent_load_engine_done(struct parent *p, uint32_t engine, const struct imsg *msg);
/* Ends a load that cannot go on. */
void parent_load_abort(struct parent *p, const char *why);
/* Reads the running file again (SIGHUP, after the key process was lost). */
void parent_reload(struct parent *p, const char *path, bool has_client, uint64_t ctl_serial);
/* A new engine gets the running configuration. */
void parent_config_resend(struct parent *p, uint32_t engine);

/* parent_net.c */
/* The kernel-UDP transport's, if that is asked for; a port that is taken is logged. */
void parent_sockets_open(struct parent *p);
void parent_sockets_close(struct parent *p);
void parent_engine_setup(struct parent *p, uint32_t engine); /* setup, sockets, addresses */
void parent_espd_connect(struct parent *p, uint32_t engine);
int parent_ctl_listen(struct parent *p); /* sets ctl_fd; 0 or -1, logged */
void parent_ctl_unlink(struct parent *p);

/* parent_ctl.c */
void parent_ctl_request(struct parent *p, const struct imsg *msg);
void parent_ctl_error(struct parent *p, uint64_t serial, const char *text);
void parent_ctl_done(struct parent *p, uint64_t serial, int status);
void parent_ctl_event(struct parent *p, const char *name, uint32_t type);

/* parent_dispatch.c: one function a sender. */
void parent_from_key(struct parent *p, uint32_t number, const struct imsg *msg);
void parent_from_ike(struct parent *p, uint32_t number, const struct imsg *msg);
void parent_from_control(struct parent *p, uint32_t number, const struct imsg *msg);
