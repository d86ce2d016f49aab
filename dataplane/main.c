#include "dataplane/espd.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "dataplane/debug.h"
#include "dataplane/keys.h"
#include "dataplane/nft_check.h"
#include "dataplane/port_link.h"
#include "dataplane/privileges.h"
#include "dataplane/reload.h"
#include "dataplane/run_dir.h"
#include "shared/notify.h"

static void usage(void)
{
	fprintf(stderr, "usage: penstock-espd [-dnRvV] [-f file]\n");
	exit(1);
}

struct options {
	const char *file;
	bool is_foreground, is_check, is_release;
	unsigned int verbose;
};

static void options_parse(int argc, char **argv, struct options *o)
{
	int c;

	*o = (struct options){.file = ESPD_CONF_PATH};
	while ((c = getopt(argc, argv, "df:nRvV")) != -1) {
		switch (c) {
		case 'd':
			o->is_foreground = true;
			break;
		case 'f':
			o->file = optarg;
			break;
		case 'n':
			o->is_check = true;
			break;
		case 'R':
			o->is_release = true;
			break;
		case 'v':
			o->verbose++;
			break;
		case 'V':
			printf("penstock-espd %s\n", PENSTOCK_VERSION);
			exit(0);
		default:
			usage();
		}
	}
	if (optind != argc)
		usage();
}

static int config_read(struct espd *e, const struct options *o)
{
	struct conf_options co = {.check_permissions = false};
	struct conf_diags diags;
	int rc;

	conf_diags_init(&diags);
	rc = espd_conf_parse(o->file, &co, &e->conf, &diags);
	conf_diags_print(&diags, stderr);
	conf_diags_fini(&diags);
	if (rc < 0)
		return -1;
	if (!realpath(o->file, e->conf_path))
		e->conf_path[0] = '\0';
	if (o->is_check && o->verbose)
		espd_conf_print(&e->conf, stdout);
	return 0;
}

static void signal_ready(void *ctx, int fd, uint32_t events)
{
	struct espd *e = ctx;
	struct signalfd_siginfo si;

	(void)events;
	while (read(fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGHUP) {
			espd_reload(e);
			continue;
		}
		log_info(&e->log, "stopping");
		(void)notify_send("STOPPING=1");
		loop_stop(e->loop);
	}
}

static int signals_watch(struct espd *e, sigset_t *set)
{
	int fd;

	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigprocmask(SIG_BLOCK, set, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, set, SFD_NONBLOCK | SFD_CLOEXEC);
	return fd < 0 ? -1 : loop_fd_add(e->loop, fd, EPOLLIN, signal_ready, e);
}

static void main_woken(void *ctx, int fd, uint32_t events)
{
	uint64_t count;

	(void)ctx;
	(void)events;
	if (read(fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return;
}

static void kernel_ready(void *ctx, int fd, uint32_t events)
{
	struct espd *e = ctx;

	(void)fd;
	(void)events;
	kernel_read(e->kernel);
	kernel_flush(e->kernel);
}

/* One turn of main's work that no descriptor announces. */
static bool turn(void *ctx)
{
	struct espd *e = ctx;
	bool any = host_poll(e);

	for (uint16_t i = 0; i < e->dp.n_ports; i++)
		port_link_read_changed(&e->dp.ports[i], &e->log);
	any |= control_sa_events(e->control, loop_now_ms()) > 0;
	any |= owners_poll(e);
	kernel_flush(e->kernel);
	control_turn_end(e->control);
	any |= grace_poll(e->grace);
	return any;
}

static void sleeping(void *ctx, bool asleep)
{
	struct espd *e = ctx;

	atomic_store(&e->dp.is_main_asleep, asleep);
	atomic_thread_fence(memory_order_seq_cst);
}

static void each_second(void *ctx, uint64_t now_ms)
{
	struct espd *e = ctx;

	control_second(e->control, now_ms);
	owners_second(e, now_ms);
	keys_second(e->keys, now_ms);
	host_second(e, now_ms);
	for (uint16_t i = 0; i < e->dp.n_ports; i++)
		port_link_read(&e->dp.ports[i], &e->log);
	setup_view_counters(e);
}

/* Limits to some milliseconds; grace periods that end while nothing else happens. */
static void each_tick(void *ctx, uint64_t now_ms)
{
	struct espd *e = ctx;

	control_limits(e->control, now_ms);
	grace_poll(e->grace);
}

static void k_addr(void *ctx, const struct ip_addr *a, uint32_t ifindex, bool is_added)
{
	struct ipc_addr_event ev;

	memset(&ev, 0, sizeof(ev));
	ev.addr = *a;
	ev.added = is_added;
	ev.ifindex = ifindex;
	owners_event_all(ctx, IPC_EVENT_ADDR, &ev);
}

static void k_routes(void *ctx)
{
	struct espd *e = ctx;

	if (!e->control)
		return;
	control_paths_resolve(e->control);
	owners_event_all(e, IPC_EVENT_ROUTE_CHANGED, NULL);
}

static void k_link(void *ctx, uint32_t ifindex, const char *name, bool is_up)
{
	struct ipc_link_event ev;

	memset(&ev, 0, sizeof(ev));
	ev.ifindex = ifindex;
	ev.up = is_up;
	snprintf(ev.name, sizeof(ev.name), "%s", name);
	owners_event_all(ctx, IPC_EVENT_LINK, &ev);
}

static void k_neigh(void *ctx, uint32_t ifindex, const struct ip_addr *a, bool is_known)
{
	host_neigh(ctx, ifindex, a, is_known);
}

/* Without it no neighbour is found any more: the next start makes a new one. */
static void net_helper_gone(void *ctx, int fd, uint32_t events)
{
	struct espd *e = ctx;

	(void)events;
	log_error(&e->log, "the net helper, process %d, has ended: stopping", (int)e->net.pid);
	loop_fd_remove(e->loop, fd);
	e->exit_status = 1;
	loop_stop(e->loop);
}

/* What needs root: devices, TAPs, netlink, the threads as DPDK makes them. */
static int privileged_start(struct espd *e, const struct kernel_ops *kops, char *err, size_t cap)
{
	const char *devices[ESPD_PORTS_MAX + 1];
	size_t n = 0;
	int rc;

	for (size_t i = 0; i < e->conf.n_ports; i++)
		devices[n++] = e->conf.ports[i].device;
	if (e->conf.telemetry)
		devices[n++] = SANDBOX_TELEMETRY;
	rc = sandbox_build(&e->sandbox, devices, n);
	if (rc < 0) {
		snprintf(err, cap, "lists of system calls: %s", strerror(-rc));
		return -1;
	}
	if (privileges_user_find(e->conf.user, &e->user, err, cap) < 0 ||
		net_helper_start(&e->net, &e->user, &e->sandbox, err, cap) < 0 ||
		run_dir_prepare(e->conf.run_dir, e->user.uid, err, cap) < 0 ||
		setup_dataplane(e, err, cap) < 0)
		return -1;
	e->kernel = kernel_create(&e->dp, e->grace, kops, &e->log, err, cap);
	if (!e->kernel || setup_workers(e, err, cap) < 0)
		return -1;
	nft_check(&e->log);
	return privileges_user_change(&e->user, 0, err, cap);
}

static int start(struct espd *e, char *err, size_t cap)
{
	const struct kernel_ops kops = {
		.ctx = e,
		.addr = k_addr,
		.routes_changed = k_routes,
		.link = k_link,
		.neigh = k_neigh,
	};
	const struct loop_hook hook = {.poll = turn, .sleep = sleeping, .ctx = e};

	if (privileged_start(e, &kops, err, cap) < 0 || setup_control(e, err, cap) < 0)
		return -1;
	e->debug = debug_create(e, err, cap);
	e->keys = keys_create(e, err, cap);
	if (!e->debug || !e->keys || owners_listen(e, err, cap) < 0)
		return -1;
	if (host_start(e) < 0 ||
		loop_fd_add(e->loop, kernel_fd(e->kernel), EPOLLIN, kernel_ready, e) < 0 ||
		loop_fd_add(e->loop, e->dp.main_fd, EPOLLIN, main_woken, e) < 0 ||
		loop_fd_add(e->loop, e->net.fd, EPOLLIN, net_helper_gone, e) < 0 ||
		loop_timer_add(e->loop, 1000, each_second, e) < 0 ||
		loop_timer_add(e->loop, 20, each_tick, e) < 0) {
		snprintf(err, cap, "event loop: %s", strerror(errno));
		return -1;
	}
	loop_hook_set(e->loop, &hook);
	control_manual_restore(e->control, loop_now_ms());
	return 0;
}

/* Takes the mirrors and the drop filters of espd.conf away: the kernel has its devices again. */
static int release(struct espd *e)
{
	static const struct netlink_ops none;
	struct netlink *nl = netlink_create(&none);
	int rc = nl ? 0 : -1;

	for (size_t i = 0; nl && i < e->conf.n_ports; i++) {
		const struct espd_port_config *c = &e->conf.ports[i];

		if (port_release(c->device, c->tap ? c->tap : c->name, nl) < 0) {
			fprintf(stderr, "%s: not released\n", c->name);
			rc = -1;
		}
	}
	netlink_destroy(nl);
	return rc;
}

static void readiness_init(struct espd *e)
{
	e->ready.waits_iked = e->conf.wait_for_iked;
	/* Entries of an earlier ipsecctl are back before the first packet is forwarded. */
	e->ready.ipsecctl_done = true;
	if (!e->conf.wait_for_iked)
		owners_ready_check(e);
	else
		log_info(&e->log, "nothing is forwarded until iked has told its flows and SAs");
}

static int end(struct espd *e)
{
	int status = e->exit_status;

	loop_destroy(e->loop);
	sandbox_free(&e->sandbox);
	espd_config_fini(&e->conf);
	free(e);
	return status;
}

int main(int argc, char **argv)
{
	struct espd *e = calloc(1, sizeof(*e));
	struct options o;
	char err[512] = "";
	sigset_t set;

	options_parse(argc, argv, &o);
	if (!e)
		return 1;
	e->log = (struct logger){
		.level = o.verbose > 1 ? LOG_LVL_TRACE
			 : o.verbose   ? LOG_LVL_DEBUG
				       : LOG_LVL_INFO,
		.to_stderr = o.is_foreground,
		.ident = "penstock-espd",
	};
	if (config_read(e, &o) < 0)
		return 1;
	if (o.is_check)
		return 0;
	if (o.is_release)
		return release(e) < 0;
	if (!o.is_foreground && daemon(0, 0) < 0)
		return 1;
	privileges_no_dumps();
	e->loop = loop_create();
	if (!e->loop || signals_watch(e, &set) < 0) {
		log_error(&e->log, "event loop: %s", strerror(errno));
		return 1;
	}
	if (start(e, err, sizeof(err)) < 0) {
		log_error(&e->log, "%s", err);
		return 1;
	}
	privileges_drop(&e->user, &e->sandbox, e->net.pid, &e->log);
	readiness_init(e);
	if (notify_send("READY=1") < 0)
		log_warn(&e->log, "NOTIFY_SOCKET: %s", strerror(errno));
	loop_run(e->loop);
	setup_stop(e);
	return end(e);
}
