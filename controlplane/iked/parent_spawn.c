#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "controlplane/iked/child.h"
#include "controlplane/iked/parent.h"

/*
 * The children: a row each. Every one is this program again (fork and exec), so that it has
 * address-space layout and memory of its own and inherits no secret. User, root directory and
 * system calls are the same rule for all (privs.h, seccomp.c).
 */
struct proc_row {
	enum iked_role role;
	const char *title;
	void (*dispatch)(struct parent *p, const struct imsg *msg);
	enum iked_role peers[2]; /* children that it talks to; IKED_PARENT: none */
};

static const struct proc_row procs[] = {
	{IKED_KEY, "penstock-iked: key", parent_from_key, {IKED_IKE}},
	{IKED_IKE, "penstock-iked: ike", parent_from_ike, {IKED_KEY, IKED_CONTROL}},
	{IKED_CONTROL, "penstock-iked: control", parent_from_control, {IKED_IKE}},
};
#define N_PROCS (sizeof(procs) / sizeof(procs[0]))

/* Restart after 100 ms, doubled at each failure in a row; 10 s without one starts over. */
#define RESTART_FIRST_MS 100
#define RESTART_LAST_MS 30000
#define HEALTHY_MS 10000

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

	row_of(c->role)->dispatch(c->parent, msg);
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

/* In the child, between fork and exec. */
static void __attribute__((noreturn)) child_exec(const struct proc_row *row, int fd)
{
	const char *const argv[] = {row->title, "-P", iked_role_str(row->role), NULL};
	sigset_t none;
	int null_fd;

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

static int child_spawn(struct parent *p, const struct proc_row *row)
{
	struct parent_child *c = &p->child[row->role];
	const struct imsg_rules rules = messages_rules(row->role, IKED_PARENT);
	const struct imsg_handler handler = {on_message, on_closed, c};
	uint32_t level = (uint32_t)p->log.level;
	int fds[2];
	pid_t pid;

	if (imsg_pair(fds) < 0)
		return -1;
	pid = fork();
	if (pid == 0)
		child_exec(row, fds[1]);
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

/* A channel between two children that both run. */
static void children_connect(struct parent *p, enum iked_role a, enum iked_role b)
{
	uint32_t role_a = a, role_b = b;
	int fds[2];

	if (!p->child[a].channel || !p->child[b].channel)
		return;
	if (imsg_pair(fds) < 0) {
		log_error(&p->log, "cannot connect %s and %s: %s", iked_role_str(a),
			iked_role_str(b), strerror(errno));
		return;
	}
	parent_send(p, a, MSG_PEER, 0, &role_b, sizeof(role_b), fds[0]);
	parent_send(p, b, MSG_PEER, 0, &role_a, sizeof(role_a), fds[1]);
}

static void peers_connect(struct parent *p, const struct proc_row *row)
{
	for (size_t i = 0; i < sizeof(row->peers) / sizeof(row->peers[0]); i++) {
		if (row->peers[i] != IKED_PARENT)
			children_connect(p, row->role, row->peers[i]);
	}
}

/* What a process needs at once after its start. */
static void child_introduce(struct parent *p, enum iked_role role)
{
	int fd;

	switch (role) {
	case IKED_IKE:
		parent_engine_setup(p);
		parent_config_resend(p);
		break;
	case IKED_CONTROL:
		fd = fcntl(p->ctl_fd, F_DUPFD_CLOEXEC, 0);
		if (fd >= 0)
			parent_send(p, IKED_CONTROL, MSG_CTL_SOCKET, 0, NULL, 0, fd);
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
	const struct proc_row *row = row_of(c->role);

	(void)fd;
	(void)what;
	if (c->parent->is_stopping)
		return;
	if (child_spawn(c->parent, row) < 0) {
		log_error(&c->parent->log, "cannot start %s: %s", iked_role_str(c->role),
			strerror(errno));
		if (c->pid == 0)
			restart_later(c->parent, c);
		return;
	}
	peers_connect(c->parent, row);
	child_introduce(c->parent, c->role);
}

static void restart_later(struct parent *p, struct parent_child *c)
{
	uint64_t delay_ms = RESTART_FIRST_MS;
	struct timeval tv;

	if (now_ms() - c->started_ms > HEALTHY_MS)
		c->failures = 0;
	for (unsigned int i = 0; i < c->failures && delay_ms < RESTART_LAST_MS; i++)
		delay_ms *= 2;
	if (delay_ms > RESTART_LAST_MS)
		delay_ms = RESTART_LAST_MS;
	c->failures++;
	tv = (struct timeval){(time_t)(delay_ms / 1000), (suseconds_t)(delay_ms % 1000) * 1000};
	log_warn(&p->log, "%s: starting again in %u ms", iked_role_str(c->role),
		(unsigned int)delay_ms);
	event_add(c->restart, &tv);
}

int parent_spawn_all(struct parent *p)
{
	for (size_t i = 0; i < N_PROCS; i++) {
		struct parent_child *c = &p->child[procs[i].role];

		*c = (struct parent_child){.parent = p, .role = procs[i].role};
		c->restart = evtimer_new(p->base, on_restart, c);
		if (!c->restart || child_spawn(p, &procs[i]) < 0)
			return -1;
	}
	children_connect(p, IKED_IKE, IKED_KEY);
	children_connect(p, IKED_IKE, IKED_CONTROL);
	for (size_t i = 0; i < N_PROCS; i++)
		child_introduce(p, procs[i].role);
	return 0;
}

void parent_child_exited(struct parent *p, pid_t pid, int status)
{
	for (size_t i = 0; i < N_PROCS; i++) {
		struct parent_child *c = &p->child[procs[i].role];

		if (c->pid != pid)
			continue;
		c->pid = 0;
		imsg_channel_destroy(c->channel);
		c->channel = NULL;
		if (p->is_stopping) {
			if (c->role == IKED_IKE)
				parent_stop(p, p->exit_status);
			return;
		}
		if (WIFSIGNALED(status))
			log_error(&p->log, "%s process %d: killed by signal %d (%s)",
				iked_role_str(c->role), (int)pid, WTERMSIG(status),
				WTERMSIG(status) == SIGSYS ? "a forbidden system call"
							   : strsignal(WTERMSIG(status)));
		else
			log_error(&p->log, "%s process %d: ended with status %d",
				iked_role_str(c->role), (int)pid, WEXITSTATUS(status));
		if (c->role != IKED_CONTROL)
			parent_load_abort(p, "a process was lost");
		restart_later(p, c);
		return;
	}
}

void parent_children_kill(struct parent *p)
{
	for (size_t i = 0; i < N_PROCS; i++) {
		struct parent_child *c = &p->child[procs[i].role];

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
	if (p->child[to].channel)
		imsg_send(p->child[to].channel, type, serial, body, len, fd);
	else if (fd >= 0)
		close(fd);
}
