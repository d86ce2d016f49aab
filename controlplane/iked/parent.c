#include "controlplane/iked/parent.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <syslog.h>

#include "controlplane/auth/keydir.h"
#include "controlplane/iked/privs.h"
#include "shared/notify.h"
#include "shared/wipe.h"

/* How long the engines may take to say goodbye to their peers. */
#define STOP_S 5

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	struct parent *p = arg;
	int status;
	pid_t pid;

	(void)what;
	switch (number) {
	case SIGHUP:
		log_info(&p->log, "reload requested with SIGHUP");
		parent_reload(p, p->conf_path, false, 0);
		break;
	case SIGTERM:
	case SIGINT:
		parent_stop(p, 0);
		break;
	case SIGCHLD:
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			parent_child_exited(p, pid, status);
		break;
	}
}

static void on_stop_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct parent *p = arg;

	(void)fd;
	(void)what;
	log_warn(&p->log, "not every peer answered in time");
	event_base_loopbreak(p->base);
}

static void stopped_check(struct parent *p)
{
	for (uint32_t i = 0; i < p->options->n_engines; i++) {
		if (!p->child[IKED_IKE][i].has_stopped)
			return;
	}
	event_base_loopbreak(p->base);
}

/* First call: the engines take everything out; when all did, the end. Second call: at once. */
void parent_stop(struct parent *p, int exit_status)
{
	const struct timeval wait = {STOP_S, 0};

	if (p->is_stopping) {
		event_base_loopbreak(p->base);
		return;
	}
	p->is_stopping = true;
	(void)notify_send("STOPPING=1");
	p->exit_status = exit_status;
	event_add(p->stop_timer, &wait);
	for (uint32_t i = 0; i < p->options->n_engines; i++) {
		if (p->child[IKED_IKE][i].channel)
			parent_send_engine(p, i, MSG_STOP, 0, NULL, 0, -1);
		else
			p->child[IKED_IKE][i].has_stopped = true;
	}
	stopped_check(p);
}

void parent_engine_stopped(struct parent *p, uint32_t number)
{
	p->child[IKED_IKE][number].has_stopped = true;
	if (p->is_stopping)
		stopped_check(p);
}

static int signals_add(struct parent *p)
{
	static const int numbers[] = {SIGHUP, SIGTERM, SIGINT, SIGCHLD};

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		p->signals[i] = evsignal_new(p->base, numbers[i], on_signal, p);
		if (!p->signals[i] || event_add(p->signals[i], NULL) < 0)
			return -1;
	}
	p->stop_timer = evtimer_new(p->base, on_stop_timeout, p);
	return p->stop_timer ? 0 : -1;
}

static int setup_fill(struct parent *p, const struct ike_id *local_id)
{
	const struct iked_options *o = p->options;
	struct msg_setup *s = &p->setup;

	*s = (struct msg_setup){
		.local_id = *local_id,
		.port = IKED_PORT,
		.nat_port = o->nat_port,
		.use_kernel_udp = o->kernel_udp,
		.no_nat_t = o->no_nat_t,
		.only_nat_t = o->only_nat_t,
		.start_passive = o->start_passive,
		.n_engines = o->n_engines,
	};
	/* These outlive an engine: cookies and SPIs that one gave out are good for the next. */
	if (getrandom(s->cookie_key, sizeof(s->cookie_key), 0) != sizeof(s->cookie_key) ||
		getrandom(s->steer_key, sizeof(s->steer_key), 0) != sizeof(s->steer_key))
		return -1;
	return 0;
}

/* The key pair of the host, made once. 0 or -1. */
static int host_key_prepare(struct parent *p)
{
	int result = keydir_first_start(KEYDIR_DEFAULT);

	wipe_stack(); /* libraries leave pieces of what they make */
	if (result == 1)
		log_info(&p->log, "made an RSA-2048 key pair: %s/private/local.key, %s/local.pub",
			KEYDIR_DEFAULT, KEYDIR_DEFAULT);
	if (result >= 0)
		return 0;
	log_error(&p->log, "%s/private/local.key: %s%s%s", KEYDIR_DEFAULT, keydir_error_str(result),
		result == KEYDIR_E_WRITE ? ": " : "",
		result == KEYDIR_E_WRITE ? strerror(errno) : "");
	/* Without a key, policies with pre-shared keys can still work. */
	return result == KEYDIR_E_ORPHAN ? -1 : 0;
}

static void parent_fini(struct parent *p)
{
	parent_children_kill(p);
	parent_ctl_unlink(p);
	parent_sockets_close(p);
	iked_conf_free(p->config);
	iked_conf_free(p->load.config);
	for (size_t i = 0; i < sizeof(p->signals) / sizeof(p->signals[0]); i++) {
		if (p->signals[i])
			event_free(p->signals[i]);
	}
	if (p->stop_timer)
		event_free(p->stop_timer);
	if (p->base)
		event_base_free(p->base);
	wipe(&p->setup, sizeof(p->setup));
}

int parent_main(const struct iked_options *options, struct ike_config *config,
	const struct ike_id *local_id)
{
	static const enum log_level levels[] = {LOG_LVL_INFO, LOG_LVL_DEBUG, LOG_LVL_TRACE};
	struct parent p = {
		.options = options,
		.ctl_fd = -1,
		.is_first_load = true,
		.exit_status = 1,
		.log = {.level = levels[options->verbose > 2 ? 2 : options->verbose],
			.to_stderr = options->is_foreground,
			.ident = "penstock-iked"},
	};

	if (!options->is_foreground)
		openlog("penstock-iked", LOG_PID | LOG_NDELAY, LOG_DAEMON);
	snprintf(p.conf_path, sizeof(p.conf_path), "%s", options->conf_path);
	p.base = event_base_new();
	if (privs_protect_memory() < 0 || !p.base || signals_add(&p) < 0 ||
		setup_fill(&p, local_id) < 0) {
		log_error(&p.log, "cannot start: %s", strerror(errno));
		goto out;
	}
	if (host_key_prepare(&p) < 0 || parent_ctl_listen(&p) < 0)
		goto out;
	parent_sockets_open(&p);
	if (privs_parent() < 0) {
		log_error(&p.log, "cannot limit what the parent may do: %s", strerror(errno));
		goto out;
	}
	if (parent_spawn_all(&p) < 0) {
		log_error(&p.log, "cannot start the processes: %s", strerror(errno));
		goto out;
	}
	parent_load_begin(&p, config, options->conf_path, false, 0);
	config = NULL;
	event_base_dispatch(p.base);
out:
	iked_conf_free(config);
	parent_fini(&p);
	return p.exit_status;
}
