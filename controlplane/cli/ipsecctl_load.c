#include <errno.h>
#include <ifaddrs.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "controlplane/cli/ipsecctl.h"
#include "ipc/client.h"
#include "ipc/paths.h"
#include "shared/wipe.h"

#define TIMEOUT_MS 30000
#define MANUAL_GENERATION 1

/* One run: commands go out in order, each acknowledgement is laid to the rule it came from. */
struct run {
	struct ipc_client *client;
	bool attached, over;
	uint32_t n_failed;
	bool deleting;
	struct sent {
		uint64_t number;
		uint32_t rule;
		bool may_exist, may_miss;
	} * sent;
	size_t n_sent, cap_sent;
	const char *socket;
};

static void on_attached(void *ctx)
{
	((struct run *)ctx)->attached = true;
}

static void on_disconnected(void *ctx, int reason, uint32_t refusal, uint64_t n_dropped)
{
	struct run *run = ctx;

	run->over = true;
	fprintf(stderr, "ipsecctl: %s: %s", run->socket,
		reason == -IPC_ERR_REFUSED ? ipc_refusal_str(refusal) : ipc_strerror(reason));
	if (n_dropped > 0)
		fprintf(stderr, ", %llu commands are lost", (unsigned long long)n_dropped);
	fprintf(stderr, "\n");
}

static void on_ack(void *ctx, uint64_t number, uint32_t type, uint32_t error)
{
	struct run *run = ctx;

	/* Numbers ascend by one from the first. */
	if (run->n_sent == 0 || number - run->sent[0].number >= run->n_sent)
		return;
	const struct sent *s = &run->sent[number - run->sent[0].number];

	if (error == IPC_OK || (error == IPC_E_EXISTS && s->may_exist) ||
		(error == IPC_E_NO_SUCH && s->may_miss))
		return;
	run->n_failed++;
	if (type == IPC_CMD_FLUSH)
		fprintf(stderr, "ipsecctl: failed to flush: %s\n", ipc_error_str(error));
	else
		fprintf(stderr, "ipsecctl: failed to %s rule %u: %s\n",
			run->deleting ? "delete" : "add", s->rule, ipc_error_str(error));
}

static void on_event(void *ctx, uint32_t type, const void *body)
{
	(void)ctx;
	(void)type;
	(void)body;
}

static void on_punt(
	void *ctx, const struct ipc_punt_header *header, const uint8_t *data, size_t len)
{
	(void)ctx;
	(void)header;
	(void)data;
	(void)len;
}

static const struct ipc_client_ops client_ops = {
	.attached = on_attached,
	.disconnected = on_disconnected,
	.ack = on_ack,
	.event = on_event,
	.punt = on_punt,
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Runs the client until it is attached, or until everything sent was acknowledged. */
static int service(struct run *run, bool until_attached)
{
	int64_t end = now_ms() + TIMEOUT_MS;

	while (!run->over) {
		int more = ipc_client_service(run->client);

		if (until_attached ? run->attached : ipc_client_outstanding(run->client) == 0)
			return run->over ? -1 : 0;
		if (now_ms() > end) {
			fprintf(stderr, "ipsecctl: %s: no answer\n", run->socket);
			return -1;
		}
		struct pollfd fds[2] = {
			{.fd = ipc_client_socket_fd(run->client), .events = POLLIN},
			{.fd = ipc_client_wake_fd(run->client), .events = POLLIN},
		};
		if (!more)
			poll(fds, 2, 50);
	}
	return -1;
}

/* ipsecctl may run twice at the same time: the second waits for its turn. */
static int run_open(struct run *run, const char *socket_path)
{
	struct ipc_client_config config = {
		.owner_kind = IPC_OWNER_IPSECCTL, .ops = &client_ops, .ctx = run};
	int fd = ipc_connect(socket_path);

	run->socket = socket_path;
	if (fd < 0) {
		bool is_away = fd == -IPC_ERR_SYS && (errno == ENOENT || errno == ECONNREFUSED);

		fprintf(stderr, "ipsecctl: %s: %s\n", socket_path,
			is_away              ? "penstock-espd is not running"
			: fd == -IPC_ERR_SYS ? strerror(errno)
					     : ipc_strerror(fd));
		return -1;
	}
	if (ipc_client_create(&run->client, &config) < 0)
		return -1;
	if (ipc_client_attach(run->client, fd) < 0)
		return -1;
	return service(run, true);
}

static void run_close(struct run *run)
{
	ipc_client_destroy(run->client);
	free(run->sent);
}

static int run_send(struct run *run, uint32_t type, const void *body, struct sent expect)
{
	int rc;

	if (run->n_sent == run->cap_sent) {
		size_t cap = run->cap_sent ? run->cap_sent * 2 : 256;
		struct sent *sent = realloc(run->sent, cap * sizeof(*sent));

		if (!sent)
			return -1;
		run->sent = sent;
		run->cap_sent = cap;
	}
	while ((rc = ipc_client_send(run->client, type, body, &expect.number)) == -IPC_ERR_FULL)
		if (service(run, false) < 0)
			return -1;
	if (rc < 0) {
		fprintf(stderr, "ipsecctl: %s: %s\n", run->socket, ipc_strerror(rc));
		return -1;
	}
	run->sent[run->n_sent++] = expect;
	return 0;
}

/*
 * A handle that the same rule has in every run of ipsecctl, so that loading twice changes
 * nothing and -d finds what -f made: FNV-1a over what names the entry.
 */
static uint64_t handle_of(const char *kind, const void *key, size_t len)
{
	uint64_t h = 0xcbf29ce484222325ULL;
	const uint8_t *bytes = key;

	for (; *kind; kind++)
		h = (h ^ (uint8_t)*kind) * 0x100000001b3ULL;
	for (size_t i = 0; i < len; i++)
		h = (h ^ bytes[i]) * 0x100000001b3ULL;
	return h ? h : 1;
}

static uint64_t flow_handle(const struct ipc_flow *f)
{
	struct {
		struct ip_addr src, dst;
		uint8_t src_len, dst_len, proto, direction;
		uint16_t src_port, dst_port;
	} key;

	memset(&key, 0, sizeof(key));
	key.src = f->src.addr;
	key.dst = f->dst.addr;
	key.src_len = f->src.len;
	key.dst_len = f->dst.len;
	key.proto = f->proto;
	key.direction = f->direction;
	key.src_port = f->src_port;
	key.dst_port = f->dst_port;
	return handle_of("flow", &key, sizeof(key));
}

static int send_flow(struct run *run, const struct ipsec_rule *rule)
{
	struct sent expect = {.rule = rule->number, .may_exist = true, .may_miss = run->deleting};
	struct ipc_flow flow = rule->flow;

	flow.flow = (struct ipc_ref){.handle = flow_handle(&flow), .generation = MANUAL_GENERATION};
	if (run->deleting)
		return run_send(run, IPC_CMD_FLOW_DELETE, &flow.flow, expect);
	if (flow.type != IPC_FLOW_DENY && flow.type != IPC_FLOW_BYPASS)
		flow.flags |= IPC_FLOW_F_AUTOBIND;
	return run_send(run, IPC_CMD_FLOW_ADD, &flow, expect);
}

static bool is_local(const struct ip_addr *addr)
{
	struct ifaddrs *all = NULL;
	bool found = false;

	if (getifaddrs(&all) < 0)
		return false;
	for (struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
		struct endpoint e;

		found = i->ifa_addr && endpoint_from_sockaddr(i->ifa_addr, &e) == 0 &&
			addr_equal(&e.addr, addr);
	}
	freeifaddrs(all);
	return found;
}

static void fill_path(const struct ipsec_sa *sa, bool inbound, struct ipc_path *path)
{
	memset(path, 0, sizeof(*path));
	path->local.addr = inbound ? sa->dst : sa->src;
	path->remote.addr = inbound ? sa->src : sa->dst;
	if (sa->has_udpencap) {
		path->flags = IPC_PATH_UDP;
		path->local.port = path->remote.port = sa->udpencap_port ? sa->udpencap_port : 4500;
	}
	path->path.handle = handle_of("path", &path->local, sizeof(*path) - sizeof(path->path));
	path->path.generation = MANUAL_GENERATION;
}

static void fill_sa(const struct ipsec_sa *sa, bool inbound, uint64_t path, struct ipc_sa_add *add)
{
	struct {
		struct ip_addr dst;
		uint32_t spi;
	} key;

	memset(&key, 0, sizeof(key));
	key.dst = sa->dst;
	key.spi = sa->spi;
	memset(add, 0, sizeof(*add));
	add->sa = (struct ipc_ref){
		.handle = handle_of("sa", &key, sizeof(key)), .generation = MANUAL_GENERATION};
	add->path = path;
	add->spi = sa->spi;
	add->flags = IPC_SA_NO_REPLAY;
	add->direction = inbound ? IPC_DIR_IN : IPC_DIR_OUT;
	add->mode = sa->mode;
	add->tunnel_src = sa->src;
	add->tunnel_dst = sa->dst;
	add->encr_id = sa->encr ? sa->encr->id : ENCR_NULL;
	add->encr_key_len = sa->encr ? sa->encr->key_len : 0;
	add->integ_id = sa->integ ? sa->integ->id : INTEG_NONE;
	add->enc_key_len = (uint16_t)sa->enckey_len;
	add->integ_key_len = (uint16_t)sa->authkey_len;
	memcpy(add->enc_key, sa->enckey, sa->enckey_len);
	memcpy(add->integ_key, sa->authkey, sa->authkey_len);
}

static int send_sa(struct run *run, const struct ipsec_rule *rule)
{
	struct sent expect = {.rule = rule->number, .may_exist = true, .may_miss = run->deleting};
	const struct ipsec_sa *sa = &rule->sa;
	bool inbound = is_local(&sa->dst);
	struct ipc_path path;
	struct ipc_sa_add add;
	int rc;

	if (sa->enckey_len > IPC_KEY_MAX || sa->authkey_len > IPC_KEY_MAX) {
		fprintf(stderr, "ipsecctl: failed to add rule %u: the key is too long\n",
			rule->number);
		run->n_failed++;
		return 0;
	}
	fill_path(sa, inbound, &path);
	fill_sa(sa, inbound, path.path.handle, &add);
	if (run->deleting) {
		rc = run_send(run, IPC_CMD_SA_DELETE, &add.sa, expect);
	} else {
		rc = run_send(run, IPC_CMD_PATH_SET, &path, expect);
		if (rc == 0)
			rc = run_send(run, IPC_CMD_SA_ADD, &add, expect);
	}
	wipe(&add, sizeof(add));
	return rc;
}

static int socket_path(const struct ipsecctl_options *o, char *buf, size_t cap)
{
	return snprintf(buf, cap, "%s/%s", o->run_dir, ESPD_SOCKET) < (int)cap ? 0 : -1;
}

int ipsecctl_flush(const struct ipsecctl_options *o)
{
	struct ipc_flush flush = {.what = IPC_FLUSH_ALL_OWNERS | IPC_FLUSH_SA | IPC_FLUSH_FLOW};
	struct run run = {.deleting = true};
	char path[108];
	int status = 1;

	if (socket_path(o, path, sizeof(path)) < 0 || run_open(&run, path) < 0)
		goto out;
	if (run_send(&run, IPC_CMD_FLUSH, &flush, (struct sent){0}) == 0 &&
		service(&run, false) == 0 && run.n_failed == 0)
		status = 0;
out:
	run_close(&run);
	return status;
}

int ipsecctl_load(const struct ipsecctl_options *o, const struct ipsec_config *config)
{
	struct run run = {.deleting = o->delete_rules};
	char path[108];
	int status = 1;

	if (socket_path(o, path, sizeof(path)) < 0 || run_open(&run, path) < 0)
		goto out;
	for (size_t i = 0; i < config->n_rules; i++) {
		const struct ipsec_rule *rule = &config->rules[i];
		int rc = rule->kind == IPSEC_RULE_FLOW ? send_flow(&run, rule)
			 : rule->kind == IPSEC_RULE_SA ? send_sa(&run, rule)
						       : 0;

		if (rc < 0)
			goto out;
	}
	/* Without a BEGIN nothing is swept: the file was added to what is there, and this owner is
	 * ready, which a standalone espd waits for. */
	if (run_send(&run, IPC_CMD_RESYNC_END, NULL, (struct sent){0}) < 0)
		goto out;
	if (service(&run, false) == 0 && run.n_failed == 0)
		status = 0;
out:
	run_close(&run);
	return status;
}
