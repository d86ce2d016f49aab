#include "tests/unit/esp/esp_bench.h"

#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>

#include "dataplane/esp_wire.h"
#include "dataplane/parse.h"

int bench_eal_init(const char *prefix)
{
	char name[64];
	snprintf(name, sizeof(name), "--file-prefix=%s", prefix);
	char *argv[] = {"esp-test", "--no-huge", "--no-pci", "-m", "128", "--no-shconf", name,
		"--no-telemetry", "--log-level=lib.eal:error", "-l", "0", NULL};
	return rte_eal_init(11, argv) < 0 ? -1 : 0;
}

int bench_init(struct bench *t, const char *arch_name)
{
	enum crypto_arch arch;
	const char *error = NULL;
	memset(t, 0, sizeof(*t));
	if (crypto_arch_parse(arch_name, &arch) != 0)
		return -1;
	t->w.crypto = crypto_mb_create(arch, &error);
	if (!t->w.crypto)
		return -1;
	t->config = (struct dp_config){.copy_dscp = true, .df_policy = DP_DF_COPY, .outer_ttl = 64};
	t->w.config = &t->config;
	t->w.n_workers = 1;
	t->w.now_s = 100;
	t->w.is_ready = true;
	t->w.sad = sad_create("test", 10, 64);
	t->pool = rte_pktmbuf_pool_create("test", 1023, 0, 0, 128 + 10240, 0);
	t->hop = (struct nexthop *)t;
	return t->w.sad && t->pool ? 0 : -1;
}

void bench_fini(struct bench *t)
{
	sad_destroy(t->w.sad);
	rte_mempool_free(t->pool);
	crypto_mb_destroy(t->w.crypto);
}

struct rte_mbuf *bench_mbuf(struct bench *t, const void *data, size_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(t->pool);
	if (!m)
		return NULL;
	char *to = rte_pktmbuf_append(m, (uint16_t)len);
	if (!to) {
		rte_pktmbuf_free(m);
		return NULL;
	}
	memcpy(to, data, len);
	return m;
}

static void set(struct burst *b, struct rte_mbuf *m, enum burst_next next)
{
	unsigned int i = b->n++;
	b->m[i] = m;
	b->next[i] = (uint8_t)next;
	b->drop[i] = DROP_NONE;
	b->sa[i] = b->in_sa[i] = NULL;
	b->pkt[i] = (struct pkt_info){0};
	enum drop_reason why = DROP_NO_MBUF;
	if (m)
		why = parse_ip(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, &b->pkt[i]);
	if (why != DROP_NONE)
		burst_drop(b, i, why);
}

void bench_set_out(struct bench *t, struct burst *b, struct sa_hot *sa, const void *ip, size_t len)
{
	set(b, bench_mbuf(t, ip, len), NEXT_ESP_OUT);
	b->sa[b->n - 1] = sa;
}

void bench_set_in(struct bench *t, struct burst *b, const void *ip, size_t len)
{
	set(b, bench_mbuf(t, ip, len), NEXT_ESP_IN);
	unsigned int i = b->n - 1;
	struct pkt_info *p = &b->pkt[i];
	if (b->next[i] != NEXT_ESP_IN)
		return;
	if (p->proto == PROTO_UDP && p->dport == 4500)
		p->flags |= PKT_UDP_ENCAP;
	else if (p->proto != PROTO_ESP)
		burst_drop(b, i, DROP_MALFORMED);
}

void bench_clear(struct burst *b)
{
	for (unsigned int i = 0; i < b->n; i++)
		rte_pktmbuf_free(b->m[i]);
	b->n = 0;
}

static struct ip_addr addr(const char *text)
{
	struct ip_addr a;
	if (addr_parse(text, &a) != 0)
		abort();
	return a;
}

static struct sa_hot *make(struct bench *t, const struct bench_sa *p, bool is_outbound)
{
	uint8_t key[64], integ[64];
	for (unsigned int i = 0; i < 64; i++) {
		key[i] = (uint8_t)(p->key_seed + i * 7);
		integ[i] = (uint8_t)(p->key_seed + i * 13 + 1);
	}
	bool is_v4 = p->outer_family != 6;
	struct endpoint a = {.addr = addr(is_v4 ? "192.0.2.1" : "2001:db8::1"), .port = 4500};
	struct endpoint b = {.addr = addr(is_v4 ? "192.0.2.2" : "2001:db8::2"), .port = 4500};
	struct path *path = path_create(is_outbound ? &a : &b, is_outbound ? &b : &a,
		p->path_flags | (p->is_udp ? PATH_UDP : 0), p->mtu ? p->mtu : 1500);
	if (!path)
		return NULL;
	path->nexthop = t->hop;
	struct sa_params sp = {
		.spi = p->spi,
		.is_outbound = is_outbound,
		.is_tunnel = !p->is_transport,
		.has_esn = p->has_esn,
		.suite = p->suite,
		.enc_key = key,
		.enc_key_len = (size_t)p->suite->key_len + p->suite->salt_len,
		.integ_key = integ,
		.integ_key_len = p->suite->integ_key_len,
		.window = p->window ? p->window : REPLAY_WINDOW_DEFAULT,
		.tfc_pad = p->tfc_pad,
		.path = path,
		.seq_first = p->seq_first,
		.reserved_end = (p->seq_first ? p->seq_first : 1) + SEQNO_BLOCK,
		.soft_bytes = p->soft_bytes,
		.hard_bytes = p->hard_bytes,
	};
	struct sa_hot *sa = NULL;
	if (sa_create(&sp, crypto_mb_manager(t->w.crypto), &sa) != SAD_OK ||
		sad_publish(t->w.sad, sa) != SAD_OK) {
		sa_destroy(sa);
		path_destroy(path);
		return NULL;
	}
	return sa;
}

struct sa_hot *bench_sa_out(struct bench *t, const struct bench_sa *p)
{
	return make(t, p, true);
}

struct sa_hot *bench_sa_in(struct bench *t, const struct bench_sa *p)
{
	return make(t, p, false);
}

void bench_sa_remove(struct bench *t, struct sa_hot *sa)
{
	struct path *path = sa->path;
	sad_unpublish(t->w.sad, sa);
	sad_free(t->w.sad, sa);
	path_destroy(path);
}

size_t bench_inner(uint8_t *out, uint8_t family, size_t len, uint8_t tos)
{
	size_t hdr = family == 4 ? 20 : 40;
	memset(out, 0, len);
	for (size_t i = hdr; i < len; i++)
		out[i] = (uint8_t)(i * 31 + len);
	if (family == 4) {
		out[0] = 0x45;
		out[1] = tos;
		put_u16(out + 2, (uint16_t)len);
		out[8] = 63;
		out[9] = PROTO_UDP;
		memcpy(out + 12, (uint8_t[]){192, 0, 2, 1, 192, 0, 2, 2}, 8);
		put_u16(out + 10, ip4_checksum(out, 20));
	} else {
		out[0] = (uint8_t)(0x60 | tos >> 4);
		out[1] = (uint8_t)(tos << 4);
		put_u16(out + 4, (uint16_t)(len - 40));
		out[6] = PROTO_UDP;
		out[7] = 63;
		memcpy(out + 8, (uint8_t[]){0x20, 1, 0x0d, 0xb8}, 4);
		memcpy(out + 24, out + 8, 4);
		out[23] = 1;
		out[39] = 2;
	}
	put_u16(out + hdr, 5001);
	put_u16(out + hdr + 2, 5002);
	put_u16(out + hdr + 4, (uint16_t)(len - hdr));
	put_u16(out + hdr + 6, 0);
	put_u16(out + hdr + 6,
		l4_checksum(out, family, PROTO_UDP, out + hdr, (uint32_t)(len - hdr)));
	return len;
}
