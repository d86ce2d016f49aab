#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_mbuf.h>

#include "dataplane/fragment_steer.h"
#include "dataplane/icmp_error.h"
#include "dataplane/icmp_input.h"
#include "dataplane/mss.h"
#include "dataplane/parse.h"
#include "dataplane/reassembly.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rte_mempool *pool, *big_pool;
static struct reassembly *reassembly;
static struct spd *spd;
static struct worker_ctx worker;

/* A flow with a port for all addresses of a family: every transit fragment is steered. */
static void flow_add(const char *any)
{
	struct ipc_flow f = {.flow = {.handle = (uint8_t)any[0], .generation = 1},
		.direction = IPC_DIR_OUT,
		.type = IPC_FLOW_BYPASS,
		.proto = 17,
		.dst_port = 53};

	if (prefix_parse(any, &f.src) != 0 || prefix_parse(any, &f.dst) != 0 ||
		spd_flow_add(spd, spd_owner(IPC_OWNER_SYSTEM, 0), &f) != 0)
		abort();
}

static void set_up(void)
{
	char *args[] = {"fuzz", "--no-huge", "--no-shconf", "--no-pci", "--iova-mode=va", "-m",
		"64", "--no-telemetry", "--log-level=4", "-l", "0", NULL};
	struct spd_config flows = {.n_workers = 1, .seed = 1};
	struct reassembly_config config = {.max_datagrams = 16};

	if (rte_eal_init(11, args) < 0)
		abort();
	pool = rte_pktmbuf_pool_create("pool", 2047, 0, 0, 2176, SOCKET_ID_ANY);
	big_pool = rte_pktmbuf_pool_create("big", 15, 0, 0, 65535, SOCKET_ID_ANY);
	config.big_pool = big_pool;
	reassembly = reassembly_create(&config);
	spd = spd_create(&flows);
	if (pool == NULL || big_pool == NULL || reassembly == NULL || spd == NULL)
		abort();
	flow_add("0.0.0.0/0");
	flow_add("::/0");
}

/* One packet in a buffer of just its length. */
static void packet(const uint8_t *data, size_t size)
{
	static const uint8_t us[16] = {10, 0, 0, 1};
	struct icmp_error error = {.kind = ICMP_ERROR_TTL, .src = us};
	uint8_t out[ICMP_ERROR_MAX], *ip = malloc(size);
	struct pkt_info pkt = {0};
	struct spd_packet p;
	struct icmp_pmtu pmtu;

	if (ip == NULL)
		return;
	memcpy(ip, data, size);
	if (parse_ip(ip, size, &pkt) == DROP_NONE) {
		if (pkt.len > size || pkt.l4_off > pkt.len)
			abort();
		parse_is_exempt(ip, &pkt);
		parse_spd_packet(ip, &pkt, &p);
		icmp_input_pmtu(ip, &pkt, &pmtu);
		icmp_error_build(ip, &pkt, &error, out, sizeof(out));
		mss_clamp(ip, &pkt, 1400);
	}
	free(ip);
}

/* Frames, each with two bytes of length before it, as one burst. */
static void frames(const uint8_t *data, size_t size)
{
	static struct burst b;
	struct parse_ctx ctx = {0};

	memset(&b, 0, sizeof(b));
	while (size >= 2 && b.n < BURST_MAX) {
		size_t len = (data[0] << 8 | data[1]) % 2049;
		struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

		data += 2;
		size -= 2;
		len = len > size ? size : len;
		if (m == NULL)
			abort(); /* a buffer was lost */
		memcpy(rte_pktmbuf_append(m, len), data, len);
		data += len;
		size -= len;
		b.m[b.n] = m;
		b.next[b.n++] = NEXT_PARSE;
	}
	parse_burst(&worker, &ctx, &b);
	fragment_steer(spd, &b);
	reassembly_burst(&worker, reassembly, &b);
	parse_burst(&worker, &ctx, &b);
	for (unsigned i = 0; i < b.n; i++) {
		if (b.next[i] == NEXT_NONE)
			continue;
		if (b.next[i] == NEXT_SPD_IN &&
			(b.pkt[i].l3_off + b.pkt[i].len > b.m[i]->data_len ||
				b.pkt[i].l4_off > b.m[i]->data_len))
			abort();
		rte_pktmbuf_free(b.m[i]);
	}
	worker.now_s += 60;
	reassembly_expire(&worker, reassembly);
	if (reassembly_count(reassembly) != 0 || rte_mempool_in_use_count(pool) != 0 ||
		rte_mempool_in_use_count(big_pool) != 0)
		abort();
}

/* Any bytes as an IP packet; with 0 in front, as a burst of frames. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (pool == NULL)
		set_up();
	if (size == 0 || size > 65535)
		return 0;
	if (data[0] == 0)
		frames(data + 1, size - 1);
	else
		packet(data, size);
	return 0;
}
