#include "tests/unit/spd/packets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <rte_eal.h>

#include <cmocka.h>

#include "dataplane/parse.h"

struct rte_mempool *packets_pool, *packets_big_pool;

int packets_init(void)
{
	char *args[] = {"test", "--no-huge", "--no-shconf", "--no-pci", "--iova-mode=va", "-m",
		"256", "--no-telemetry", "--log-level=4", "-l", "0", NULL};

	if (rte_eal_init(11, args) < 0)
		return -1;
	packets_pool = rte_pktmbuf_pool_create("pool", 511, 0, 0, 2176, SOCKET_ID_ANY);
	packets_big_pool = rte_pktmbuf_pool_create("big", 31, 0, 0, 65535, SOCKET_ID_ANY);
	return packets_pool == NULL || packets_big_pool == NULL ? -1 : 0;
}

void put16(uint8_t *b, uint16_t v)
{
	b[0] = v >> 8;
	b[1] = v & 0xff;
}

static uint32_t sum_add(uint32_t sum, const uint8_t *b, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? b[i] : b[i] << 8;
	return sum;
}

static uint16_t sum_end(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

uint16_t sum_of(const uint8_t *b, size_t len)
{
	return sum_end(sum_add(0, b, len));
}

uint16_t transport_sum(const uint8_t *ip, uint16_t l4_off, uint16_t len, uint8_t proto)
{
	uint32_t sum = proto + (uint32_t)(len - l4_off);

	sum = ip[0] >> 4 == 4 ? sum_add(sum, ip + 12, 8) : sum_add(sum, ip + 8, 32);
	return sum_end(sum_add(sum, ip + l4_off, len - l4_off));
}

void v4_sum(uint8_t *ip)
{
	put16(ip + 10, 0);
	put16(ip + 10, sum_of(ip, (ip[0] & 15) * 4u));
}

static void pattern(uint8_t *ip, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		ip[i] = i * 31 + (i >> 8);
}

void v4_udp(uint8_t *ip, uint16_t total, uint16_t dport)
{
	static const uint8_t start[28] = {
		0x45, 0, 0, 0, 0, 7, 0, 0, 64, 17, 0, 0, 10, 0, 1, 1, 10, 0, 2, 1, 3, 232};

	memset(ip, 0, total);
	memcpy(ip, start, sizeof(start));
	put16(ip + 2, total);
	put16(ip + 22, dport);
	put16(ip + 24, total - 20);
	pattern(ip, 28, total);
	v4_sum(ip);
}

void v6_udp(uint8_t *ip, uint16_t total, uint16_t dport)
{
	static const uint8_t start[48] = {0x60, 0, 0, 0, 0, 0, 17, 64, 0x20, 0x01, 0x0d, 0xb8, 0,
		1, [23] = 1, [24] = 0x20, 0x01, 0x0d, 0xb8, 0, 2, [39] = 1, 3, 232};

	memset(ip, 0, total);
	memcpy(ip, start, sizeof(start));
	put16(ip + 4, total - 40);
	put16(ip + 42, dport);
	put16(ip + 44, total - 40);
	pattern(ip, 48, total);
}

struct rte_mbuf *frame_of(const uint8_t *ip, uint16_t len)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(len + ETH > 2000 ? packets_big_pool : packets_pool);
	uint8_t *at;

	assert_non_null(m);
	at = (uint8_t *)rte_pktmbuf_append(m, ETH + len);
	assert_non_null(at);
	memset(at, 0, ETH);
	put16(at + 12, ip[0] >> 4 == 4 ? 0x0800 : 0x86dd);
	memcpy(at + ETH, ip, len);
	return m;
}

void burst_put(struct burst *b, unsigned i, struct rte_mbuf *m, enum burst_next next)
{
	struct pkt_info *pkt = &b->pkt[i];

	memset(pkt, 0, sizeof(*pkt));
	b->m[i] = m;
	b->next[i] = next;
	pkt->l3_off = ETH;
	assert_int_equal(parse_ip(burst_l3(b, i), m->data_len - ETH, pkt), DROP_NONE);
	pkt->l4_off += ETH;
	pkt->nh_off += ETH;
	b->n = i + 1 > b->n ? i + 1 : b->n;
}

void packets_assert_none_used(void)
{
	assert_int_equal(rte_mempool_in_use_count(packets_pool), 0);
	assert_int_equal(rte_mempool_in_use_count(packets_big_pool), 0);
}
