#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "controlplane/iked/child.h"
#include "controlplane/iked/parent.h"

/*
 * The children: a row each, of the engines as many as -E says. Every one is this program again
 * (fork and exec), so that it has address-space layout and memory of its own and inherits no
 * secret. User, root directory and system calls are the same rule for all (privs.h, seccomp.c).
 */
struct proc_row {
	enum iked_role role;
	void (*dispatch)(struct parent *p, uint32_t number, const struct imsg *msg);
	enum iked_role peers[3]; /* children that it talks to; IKED_PARENT: none */
};

static const struct proc_row procs[] = {
	{IKED_KEY, parent_from_key, {IKED_IKE}},
	{IKED_IKE, parent_from_ike, {IKED_KEY, IKED_CONTROL, IKED_IKE}},
	{IKED_CONTROL, parent_from_control, {IKED_IKE}},
};
#define N_PROCS (sizeof(procs) / sizeof(procs[0]))

/* Restart after 100 ms, doubled at each failure in a row; 10 s without one starts over. */
#define RESTART_FIRST_MS 100
#define RESTART_LAST_MS 30000
#define HEALTHY_MS 10000

#define CHILD_NAME_LEN 24

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static const struct proc_row *row_of(enum iked_role role)
{
	for (size_t i = 0; i < N_PROCS; i++) {
		if (procs[i].role == role)
			return &procs[i];
	}
	return NULL;
}

static void on_message(void *ctx, const struct imsg *msg)
{
	struct parent_child *c = ctx;

	row_of(c->role)->dispatch(c->parent, c->number, msg);
}

/* Either the child is gone, which waitpid tells too, or it broke the rules: then it must go. */
static void on_closed(void *ctx, const char *why)
{
	struct parent_child *c = ctx;

	if (!c->parent->is_stopping)
		log_debug(&c->parent->log, "channel to %s: %s", iked_role_str(c->role), why);
	imsg_channel_destroy(c->channel);
	c->channel = NULL;
	if (c->pid > 0)
		kill(c->pid, c->parent->is_stopping ? SIGTERM : SIGKILL);
}

uint32_t parent_count_of(const struct parent *p, enum iked_role role)
{
	return role == IKED_IKE ? p->options->n_engines : 1;
}

/* For logs: "ike", or "ike 2" where there are several. */
static const char *name_of(const struct parent_child *c, char text[CHILD_NAME_LEN])
{
	if (parent_count_of(c->parent, c->role) > 1)
		snprintf(text, CHILD_NAME_LEN, "%s %u", iked_role_str(c->role),
			(unsigned int)c->number);
	else
		snprintf(text, CHILD_NAME_LEN, "%s", iked_role_str(c->role));
	return text;
}

/* In the child, between fork and exec. */
static void __attribute__((noreturn))
child_exec(const struct parent_child *c, const struct proc_row *row, int fd)
{
	char name[CHILD_NAME_LEN], title[CHILD_NAME_LEN + 16];
	const char *const argv[] = {title, "-P", iked_role_str(row->role), NULL};
	sigset_t none;
	int null_fd;

	snprintf(title, sizeof(title), "penstock-iked: %s", name_of(c, name));
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	null_fd = open("/dev/null", O_RDWR);
	if (null_fd >= 0)
		dup2(null_fd, STDIN_FILENO);
	if (fd == CHILD_PARENT_FD) {
		fcntl(fd, F_SETFD, 0);
	} else if (dup2(fd, CHILD_PARENT_FD) < 0) {
		_exit(1);
	}
	close_range(CHILD_PARENT_FD + 1, ~0U, 0);
	execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
	_exit(1);
}

static int child_spawn(struct parent *p, struct parent_child *c)
{
	const struct proc_row *row = row_of(c->role);
	const struct imsg_rules rules = messages_rules(row->role, IKED_PARENT);
	const struct imsg_handler handler = {on_message, on_closed, c};
	uint32_t level = (uint32_t)p->log.level;
	int fds[2];
	pid_t pid;

	if (imsg_pair(fds) < 0)
		return -1;
	pid = fork();
	if (pid == 0)
		child_exec(c, row, fds[1]);
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return -1;
	}
	c->pid = pid;
	c->started_ms = now_ms();
	c->channel = imsg_channel_create(p->base, fds[0], &rules, &handler);
	if (!c->channel) {
		kill(pid, SIGKILL);
		return -1;
	}
	return imsg_send(c->channel, MSG_LOG_LEVEL, 0, &level, sizeof(level), -1);
}

static void send_to(
	struct parent_child *c, enum msg_type type, const void *body, size_t len, int fd)
{
	if (c->channel)
		imsg_send(c->channel, type, 0, body, len, fd);
	else if (fd >= 0)
		close(fd);
}

/* A channel between two children that both run. */
static void children_connect(struct parent *p, struct parent_child *a, struct parent_child *b)
{
	const struct msg_peer peer_a = {a->role, a->number}, peer_b = {b->role, b->number};
	char name_a[CHILD_NAME_LEN], name_b[CHILD_NAME_LEN];
	int fds[2];

	if (a == b || !a->channel || !b->channel)
		return;
	if (imsg_pair(fds) < 0) {
		log_error(&p->log, "cannot connect %s and %s: %s", name_of(a, name_a),
			name_of(b, name_b), strerror(errno));
		return;
	}
	send_to(a, MSG_PEER, &peer_b, sizeof(peer_b), fds[0]);
	send_to(b, MSG_PEER, &peer_a, sizeof(peer_a), fds[1]);
}

static void peers_connect(struct parent *p, struct parent_child *c)
{
	const struct proc_row *row = row_of(c->role);

	for (size_t i = 0; i < sizeof(row->peers) / sizeof(row->peers[0]); i++) {
		enum iked_role role = row->peers[i];

		for (uint32_t n = 0; role != IKED_PARENT && n < parent_count_of(p, role); n++)
			children_connect(p, c, &p->child[role][n]);
	}
}

/* What a process needs at once after its start. */
static void child_introduce(struct parent *p, struct parent_child *c)
{
	const uint32_t n_engines = p->options->n_engines;
	int fd;

	switch (c->role) {
	case IKED_IKE:
		parent_engine_setup(p, c->number);
		parent_config_resend(p, c->number);
		break;
	case IKED_CONTROL:
		fd = fcntl(p->ctl_fd, F_DUPFD_CLOEXEC, 0);
		if (fd >= 0)
			parent_send(p, IKED_CONTROL, MSG_CTL_SOCKET, 0, &n_engines,
				sizeof(n_engines), fd);
		break;
	case IKED_KEY:
		/* Its secrets are nowhere else in memory: they are read again. */
		if (p->config)
			parent_reload(p, p->conf_path, false, 0);
		break;
	default:
		break;
	}
}

static void restart_later(struct parent *p, struct parent_child *c);

static void on_restart(evutil_socket_t fd, short what, void *arg)
{
	struct parent_child *c = arg;
	char name[CHILD_NAME_LEN];

	(void)fd;
	(void)what;
	if (c->parent->is_stopping)
		return;
	if (child_spawn(c->parent, c) < 0) {
		log_error(
			&c->parent->log, "cannot start %s: %s", name_of(c, name), strerror(errno));
		if (c->pid == 0)
			restart_later(c->parent, c);
		return;
	}
	peers_connect(c->parent, c);
	child_introduce(c->parent, c);
}

static void restart_later(struct parent *p, struct parent_child *c)
{
	uint64_t delay_ms = RESTART_FIRST_MS;
	struct timeval tv;
	char name[CHILD_NAME_LEN];

	if (now_ms() - c->started_ms > HEALTHY_MS)
		c->failures = 0;
	for (unsigned int i = 0; i < c->failures && delay_ms < RESTART_LAST_MS; i++)
		delay_ms *= 2;
	if (delay_ms > RESTART_LAST_MS)
		delay_ms = RESTART_LAST_MS;
	c->failures++;
	tv = (struct timeval){(time_t)(delay_ms / 1000), (suseconds_t)(delay_ms % 1000) * 1000};
	log_warn(&p->log, "%s: starting again in %u ms", name_of(c, name), (unsigned int)delay_ms);
	event_add(c->restart, &tv);
}

static int children_spawn(struct parent *p, enum iked_role role)
{
	for (uint32_t n = 0; n < parent_count_of(p, role); n++) {
		struct parent_child *c = &p->child[role][n];

		*c = (struct parent_child){.parent = p, .role = role, .number = n};
		c->restart = evtimer_new(p->base, on_restart, c);
		if (!c->restart || child_spawn(p, c) < 0)
			return -1;
	}
	return 0;
}

int parent_spawn_all(struct parent *p)
{
	for (size_t i = 0; i < N_PROCS; i++) {
		if (children_spawn(p, procs[i].role) < 0)
			return -1;
	}
	for (uint32_t n = 0; n < p->options->n_engines; n++) {
		struct parent_child *c = &p->child[IKED_IKE][n];

		children_connect(p, c, &p->child[IKED_KEY][0]);
		children_connect(p, c, &p->child[IKED_CONTROL][0]);
		for (uint32_t other = 0; other < n; other++)
			children_connect(p, c, &p->child[IKED_IKE][other]);
	}
	for (size_t i = 0; i < N_PROCS; i++) {
		for (uint32_t n = 0; n < parent_count_of(p, procs[i].role); n++)
			child_introduce(p, &p->child[procs[i].role][n]);
	}
	return 0;
}

static void end_log(struct parent *p, const struct parent_child *c, pid_t pid, int status)
{
	char name[CHILD_NAME_LEN];

	name_of(c, name);
	if (WIFSIGNALED(status))
		log_error(&p->log, "%s process %d: killed by signal %d (%s)", name, (int)pid,
			WTERMSIG(status),
			WTERMSIG(status) == SIGSYS ? "a forbidden system call"
						   : strsignal(WTERMSIG(status)));
	else
		log_error(&p->log, "%s process %d: ended with status %d", name, (int)pid,
			WEXITSTATUS(status));
}

static void child_ended(struct parent *p, struct parent_child *c, int status)
{
	const pid_t pid = c->pid;

	c->pid = 0;
	c->ended_ms = now_ms();
	imsg_channel_destroy(c->channel);
	c->channel = NULL;
	if (p->is_stopping) {
		if (c->role == IKED_IKE)
			parent_engine_stopped(p, c->number);
		return;
	}
	end_log(p, c, pid, status);
	if (c->role != IKED_CONTROL)
		parent_load_abort(p, "a process was lost");
	restart_later(p, c);
}

/* NULL: at the end. */
static struct parent_child *child_next(struct parent *p, unsigned int *cursor)
{
	while (*cursor < IKED_N_ROLES * IPC_ENGINES_MAX) {
		enum iked_role role = (enum iked_role)(*cursor / IPC_ENGINES_MAX);
		uint32_t number = (*cursor)++ % IPC_ENGINES_MAX;

		if (role != IKED_PARENT && number < parent_count_of(p, role))
			return &p->child[role][number];
	}
	return NULL;
}

void parent_child_exited(struct parent *p, pid_t pid, int status)
{
	struct parent_child *c;
	unsigned int cursor = 0;

	while ((c = child_next(p, &cursor))) {
		if (c->pid == pid) {
			child_ended(p, c, status);
			return;
		}
	}
}

void parent_children_kill(struct parent *p)
{
	struct parent_child *c;
	unsigned int cursor = 0;

	while ((c = child_next(p, &cursor))) {
		imsg_channel_destroy(c->channel);
		c->channel = NULL;
		if (c->pid > 0) {
			kill(c->pid, SIGKILL);
			waitpid(c->pid, NULL, 0);
		}
		c->pid = 0;
		if (c->restart)
			event_free(c->restart);
		c->restart = NULL;
	}
}

void parent_send(struct parent *p, enum iked_role to, enum msg_type type, uint64_t serial,
	const void *body, size_t len, int fd)
{
	if (p->child[to][0].channel)
		imsg_send(p->child[to][0].channel, type, serial, body, len, fd);
	else if (fd >= 0)
		close(fd);
}

void parent_send_engine(struct parent *p, uint32_t number, enum msg_type type, uint64_t serial,
	const void *body, size_t len, int fd)
{
	if (p->child[IKED_IKE][number].channel)
		imsg_send(p->child[IKED_IKE][number].channel, type, serial, body, len, fd);
	else if (fd >= 0)
		close(fd);
}

void parent_send_engines(struct parent *p, enum msg_type type, const void *body, size_t len)
{
	for (uint32_t n = 0; n < p->options->n_engines; n++)
		parent_send_engine(p, n, type, 0, body, len, -1);
}
