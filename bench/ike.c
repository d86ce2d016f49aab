#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/wait.h>

#include "controlplane/conf/iked_conf.h"
#include "controlplane/ike/auth_blob.h"
#include "controlplane/ike/engine.h"
#include "shared/wire/ike.h"

/*
 * IKE set-ups against one engine: what one costs it when there are few SAs and when there are
 * many, and the bytes that one takes. The other engine plays all peers; keys are PSKs, answered
 * outside of the measured time. Two shapes: one policy for all (`peer any`), and a policy for
 * each peer.
 *
 *	bench-ike [N]...
 */

enum { BENCH_TENTHS = 10 };

enum shape { SHAPE_ONE_POLICY, SHAPE_POLICY_EACH, N_SHAPES };
static const char *const shape_names[] = {"one policy", "policy each"};

struct node {
	struct ike_engine *engine;
	struct ike_config *config;
	struct ike_actions actions;
	uint32_t next_index;
	double busy_s; /* inside ike_engine_step */
};

struct message {
	struct message *next;
	int to;
	struct ike_input in;
	uint8_t *owned;
};

struct bench {
	struct node node[2]; /* 0: the measured one */
	struct message *first, **last;
	uint64_t now_ms;
	uint8_t psk_pad[IKE_PRF_MAX_LEN];
	const struct transform *prf;
};

static void random_fill(void *ctx, void *out, size_t len)
{
	uint64_t *s = ctx, z;
	uint8_t *at = out;

	for (size_t n; len; at += n, len -= n) {
		z = (*s += 0x9e3779b97f4a7c15ull);
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
		z ^= z >> 31;
		n = len < sizeof(z) ? len : sizeof(z);
		memcpy(at, &z, n);
	}
}

static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "bench-ike: %s\n", what);
		exit(1);
	}
}

/* ---- what the engines ask for ------------------------------------------------------------ */

static void post(struct bench *b, int to, const struct ike_input *in, const void *data, size_t len)
{
	struct message *m = calloc(1, sizeof(*m));

	must(m, "no memory");
	m->to = to;
	m->in = *in;
	if (data) {
		m->owned = malloc(len);
		must(m->owned, "no memory");
		memcpy(m->owned, data, len);
	}
	if (in->type == IKE_IN_DATAGRAM)
		m->in.datagram.data = m->owned;
	else if (in->type == IKE_IN_AUTH)
		m->in.auth.data = m->owned;
	*b->last = m;
	b->last = &m->next;
}

static void answer_auth(struct bench *b, int node, const struct ike_auth_request *r)
{
	struct ike_input in = {.type = IKE_IN_AUTH, .auth = {.ref = r->ref}};
	struct bytes octets = {r->octets, r->octets_len};
	uint8_t out[IKE_PRF_MAX_LEN];

	must(r->kind != IKE_AUTH_REQUEST_SIGN && r->prf_id == b->prf->id, "unexpected AUTH");
	must(ike_prf(b->prf, (struct bytes){b->psk_pad, b->prf->out_len}, &octets, 1, out) == 0,
		"PRF");
	in.auth.method = IKE_AUTHNUM_PSK;
	in.auth.len = b->prf->out_len;
	post(b, node, &in, out, in.auth.len);
}

static void answer_command(struct bench *b, int node, const struct ike_command *c)
{
	struct ike_input in = {.type = IKE_IN_ACK};

	in.event.ack = (struct ipc_ack){.number = c->header.number, .type = c->header.type};
	post(b, node, &in, NULL, 0);
	if (c->header.type == IPC_CMD_SPI_LEASE) {
		in.type = IKE_IN_SPI_LEASE;
		in.event.spi_lease = (struct ipc_spi_lease){.first = b->node[node].next_index,
			.count = c->body.spi_lease.count,
			.index_bits = 20};
		b->node[node].next_index += c->body.spi_lease.count;
		post(b, node, &in, NULL, 0);
	} else if (c->header.type == IPC_CMD_HELD_QUERY) {
		post(b, node, &(struct ike_input){.type = IKE_IN_HELD_END}, NULL, 0);
	}
}

static void carry_out(struct bench *b, int node, const struct ike_action *action)
{
	struct ike_input in = {.type = IKE_IN_DATAGRAM};

	switch (action->type) {
	case IKE_ACT_SEND:
		in.datagram = (struct ike_datagram){.local = action->send.remote,
			.remote = action->send.local,
			.has_marker = action->send.marker,
			.len = action->send.len};
		post(b, 1 - node, &in, action->send.data, action->send.len);
		break;
	case IKE_ACT_AUTH_REQUEST:
		answer_auth(b, node, &action->auth);
		break;
	case IKE_ACT_COMMAND:
		answer_command(b, node, &action->command);
		break;
	default:
		break;
	}
}

static void step(struct bench *b, int node, const struct ike_input *in)
{
	struct node *n = &b->node[node];
	struct ike_input timed = *in;
	double start = cpu_s();

	timed.now_ms = b->now_ms;
	ike_engine_step(n->engine, &timed, &n->actions);
	n->busy_s += cpu_s() - start;
	must(!n->actions.no_memory, "no memory");
	for (size_t i = 0; i < n->actions.n; i++)
		carry_out(b, node, n->actions.list[i]);
	ike_actions_reset(&n->actions);
}

static void pump(struct bench *b)
{
	while (b->first) {
		struct message *m = b->first;

		b->first = m->next;
		if (!b->first)
			b->last = &b->first;
		step(b, m->to, &m->in);
		free(m->owned);
		free(m);
	}
}

/* ---- configurations ---------------------------------------------------------------------- */

/* The i-th peer: 100.64.0.0/10, the network behind it 10.x.y.z/32. */
#define PEER(i) 64 + ((i) >> 16 & 63), (i) >> 8 & 255, (i)&255
#define HEAD "set dpd_check_interval 0\nset enforcesingleikesa\n"

static void write_peer(FILE *f, unsigned int i)
{
	fprintf(f,
		"ikev2 'p%u' passive esp from 10.%u.%u.%u/32 to 172.16.0.0/12 "
		"local 100.%u.%u.%u peer 192.0.2.1 srcid h%u.example.org psk 'x'\n",
		i, i >> 16 & 255, i >> 8 & 255, i & 255, PEER(i), i);
}

static void write_each(FILE *f, unsigned int i)
{
	fprintf(f,
		"ikev2 'p%u' passive esp from 172.16.0.0/12 to 10.%u.%u.%u/32 "
		"local 192.0.2.1 peer 100.%u.%u.%u psk 'x'\n",
		i, i >> 16 & 255, i >> 8 & 255, i & 255, PEER(i));
}

static struct ike_config *config_make(int node, enum shape shape, unsigned int n)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	struct ike_config *config = NULL;
	struct conf_diags d;

	must(f, "no memory");
	fputs(HEAD, f);
	if (node == 0 && shape == SHAPE_ONE_POLICY)
		fputs("ikev2 'all' passive esp from 172.16.0.0/12 to 10.0.0.0/8 local 192.0.2.1 "
		      "peer any psk 'x'\n",
			f);
	for (unsigned int i = 0; i < n && (node == 1 || shape == SHAPE_POLICY_EACH); i++)
		(node ? write_peer : write_each)(f, i);
	fclose(f);
	struct conf_options o = {.text = text, .text_len = len};

	conf_diags_init(&d);
	if (iked_conf_parse("bench.conf", &o, &config, &d) < 0)
		conf_diags_print(&d, stderr);
	conf_diags_fini(&d);
	must(config, "configuration");
	free(text);
	return config;
}

static void no_log(void *ctx, enum log_level level, const char *line)
{
	(void)ctx, (void)level, (void)line;
}

static void configure(struct bench *b, int node, enum shape shape, unsigned int n, uint32_t version)
{
	struct ike_config *old = b->node[node].config;
	struct ike_input in = {.type = IKE_IN_CONFIG};

	b->node[node].config = config_make(node, shape, n);
	in.config = (struct ike_config_input){b->node[node].config, version};
	step(b, node, &in);
	iked_conf_free(old);
}

static void start(struct bench *b, enum shape shape, unsigned int n)
{
	static uint64_t seeds[2];
	static const struct logger log = {.sink = no_log, .level = LOG_LVL_ERROR};

	*b = (struct bench){.now_ms = 1000};
	b->last = &b->first;
	b->prf = transform_find(TRANSFORM_PRF, PRF_HMAC_SHA2_256, 0);
	must(ike_auth_psk_pad(b->prf, (struct bytes){(const uint8_t *)"x", 1}, b->psk_pad) == 0,
		"PSK");
	for (int i = 0; i < 2; i++) {
		struct ike_engine_params p = {
			.random = random_fill, .random_ctx = &seeds[i], .log = &log};

		seeds[i] = (uint64_t)i + 1;
		must(ike_id_parse(i ? "peers.example.org" : "hub.example.org", &p.local_id) == 0,
			"identity");
		b->node[i].engine = ike_engine_create(&p);
		b->node[i].next_index = 4096;
		must(b->node[i].engine, "no memory");
		configure(b, i, shape, n, 1);
		step(b, i, &(struct ike_input){.type = IKE_IN_TRANSPORT_UP});
	}
	pump(b);
}

/* ---- measuring --------------------------------------------------------------------------- */

static void set_up(struct bench *b, unsigned int n)
{
	struct ike_stats s;

	for (unsigned int tenth = 0; tenth < BENCH_TENTHS; tenth++) {
		unsigned int from = n / BENCH_TENTHS * tenth,
			     to = tenth + 1 == BENCH_TENTHS ? n : from + n / BENCH_TENTHS;
		double before = b->node[0].busy_s;

		for (unsigned int i = from; i < to; i++) {
			b->now_ms++;
			step(b, 1,
				&(struct ike_input){
					.type = IKE_IN_INITIATE, .policy_number = i + 1});
			pump(b);
		}
		printf(" %5.0f", (b->node[0].busy_s - before) * 1e6 / (to - from));
		fflush(stdout);
	}
	ike_engine_stats(b->node[0].engine, &s);
	must(s.sas_established_current == n && s.children_created == n, "not all came up");
}

static double timed(struct bench *b, int node, const struct ike_input *in)
{
	double before = b->node[0].busy_s;

	step(b, node, in);
	pump(b);
	return b->node[0].busy_s - before;
}

/* What one SA takes: all of the engine, freed in a copy of this process. */
static void print_bytes(struct bench *b, unsigned int n)
{
	fflush(stdout);
	pid_t pid = fork();

	must(pid >= 0, "fork");
	if (pid) {
		must(waitpid(pid, NULL, 0) == pid, "waitpid");
		return;
	}
	struct mallinfo2 before = mallinfo2();

	ike_engine_destroy(b->node[0].engine);
	struct mallinfo2 after = mallinfo2();

	printf(" | %5zu", (before.uordblks + before.hblkhd - after.uordblks - after.hblkhd) / n);
	fflush(stdout);
	_exit(0);
}

static void measure(enum shape shape, unsigned int n)
{
	struct bench b;
	double reload_s, restore_s, delete_s;

	printf("%-11s %6u |", shape_names[shape], n);
	start(&b, shape, n);
	set_up(&b, n);
	b.now_ms += 130 * 1000; /* answers are not kept any longer */
	for (int i = 0; i < 2; i++)
		step(&b, i, &(struct ike_input){.type = IKE_IN_TICK});
	pump(&b);
	print_bytes(&b, n);
	reload_s = b.node[0].busy_s;
	configure(&b, 0, shape, n, 2);
	reload_s = b.node[0].busy_s - reload_s;
	pump(&b);
	timed(&b, 0, &(struct ike_input){.type = IKE_IN_TRANSPORT_DOWN});
	restore_s = timed(&b, 0, &(struct ike_input){.type = IKE_IN_TRANSPORT_UP});
	delete_s = timed(
		&b, 1, &(struct ike_input){.type = IKE_IN_RESET, .reset = {.what = IKE_RESET_SA}});
	printf(" | %6.0f %6.0f %6.0f\n", reload_s * 1e3, restore_s * 1e3, delete_s * 1e3);
	for (int i = 0; i < 2; i++) {
		ike_engine_destroy(b.node[i].engine);
		iked_conf_free(b.node[i].config);
		ike_actions_fini(&b.node[i].actions);
	}
}

int main(int argc, char **argv)
{
	static const unsigned int sizes[] = {1000, 10000, 50000};
	int n_sizes = argc > 1 ? argc - 1 : (int)(sizeof(sizes) / sizeof(sizes[0]));

	printf("us of the engine for a set-up (IKE_SA_INIT and IKE_AUTH as responder), a tenth of "
	       "them after the other | bytes an SA | ms for a reload, a restart of espd, the end "
	       "of all\n");
	for (unsigned int shape = 0; shape < N_SHAPES; shape++)
		for (int i = 0; i < n_sizes; i++)
			measure((enum shape)shape,
				argc > 1 ? (unsigned int)strtoul(argv[i + 1], NULL, 10) : sizes[i]);
	return 0;
}
