#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <rte_eal.h>
#include <rte_ethdev.h>

#include "dataplane/port.h"

/* How a port is set up, on DPDK's null device: it has queues, RSS and no interrupts. */
static struct rte_mempool *pool;

static void started(struct port *p, const struct port_config *c, unsigned int n_workers)
{
	char err[256] = "";

	*p = (struct port){0};
	if (port_find(p, c, 0, err, sizeof(err)) < 0 ||
		port_start(p, c, n_workers, pool, err, sizeof(err)) < 0)
		fail_msg("%s", err);
	assert_int_equal(rte_eth_dev_stop(p->id), 0);
}

static void test_frames_are_spread_over_queues(void **state)
{
	static const struct {
		unsigned int n_workers;
		uint16_t queues, want;
		const char *why;
	} rows[] = {
		{1, 0, 1, "one queue: nothing to spread"},
		{2, 0, 2, "a queue a worker"},
		{4, 2, 2, "fewer were asked for"},
		{2, 4, 2, "nobody would read the others"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct port_config c = {
			.name = "p", .device = "net_null0", .queues = rows[i].queues};
		struct rte_eth_dev_info info;
		struct port p;
		uint64_t hash;

		started(&p, &c, rows[i].n_workers);
		assert_int_equal(rte_eth_dev_info_get(p.id, &info), 0);
		hash = p.rss_types;
		if (p.n_rxq != rows[i].want)
			fail_msg("%s: %u queues", rows[i].why, p.n_rxq);
		if (p.n_rxq == 1) {
			assert_int_equal(hash, 0);
			continue;
		}
		/* What the device has of these, and nothing that it has not. */
		assert_true(hash & RTE_ETH_RSS_NONFRAG_IPV4_UDP);
		assert_true(hash & RTE_ETH_RSS_NONFRAG_IPV6_UDP);
		assert_true(hash & RTE_ETH_RSS_IPV4);
		assert_int_equal(
			hash & RTE_ETH_RSS_ESP, info.flow_type_rss_offloads & RTE_ETH_RSS_ESP);
		assert_int_equal(hash & ~info.flow_type_rss_offloads, 0);
	}
}

static void test_a_device_without_interrupts_is_polled(void **state)
{
	struct port_config c = {.name = "p", .device = "net_null0", .wants_intr = true};
	struct port p;

	(void)state;
	started(&p, &c, 2);
	assert_false(p.has_rx_intr);
	assert_int_equal(p.rx_fd[0], -1);
	assert_int_equal(p.rx_fd[1], -1);
}

static void test_buffers_that_a_port_may_hold(void **state)
{
	const struct port_config plain = {.device = "net_null0"}, xdp = {.device = "net_af_xdp0"};

	(void)state;
	assert_int_equal(port_mbufs_of(&plain, 1), PORT_RX_DESC + PORT_TX_DESC);
	assert_int_equal(port_mbufs_of(&plain, 4), 4 * port_mbufs_of(&plain, 1));
	/* XDP's driver fills its ring before the first frame comes. */
	assert_true(port_mbufs_of(&xdp, 1) >= 2 * PORT_XDP_DESC);
}

static void test_device_arguments(void **state)
{
	static const struct {
		const char *device, *want;
		bool wants_intr;
		unsigned int n_workers;
		const char *why;
	} rows[] = {
		{"net_null0", "net_null0", true, 2, "nothing to add"},
		{"net_af_xdp0,iface=x", "net_af_xdp0,iface=x,busy_budget=0", true, 1,
			"workers sleep"},
		{"net_af_xdp0,iface=x", "net_af_xdp0,iface=x", false, 1, "they spin"},
		{"net_af_xdp0,iface=x,busy_budget=8", "net_af_xdp0,iface=x,busy_budget=8", true, 1,
			"the user knows better"},
		{"net_af_packet0,iface=x,framecnt=8",
			"net_af_packet0,iface=x,framecnt=8,qpairs=2,qdisc_bypass=1", true, 2,
			"a queue a worker"},
		{"net_af_packet0,iface=x,qpairs=1,framecnt=8,qdisc_bypass=0",
			"net_af_packet0,iface=x,qpairs=1,framecnt=8,qdisc_bypass=0", true, 2,
			"as it was written"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct port_config c = {
			.device = rows[i].device, .wants_intr = rows[i].wants_intr};
		char buf[256];

		print_message("%s\n", rows[i].why);
		assert_string_equal(
			port_device_arg(&c, rows[i].n_workers, buf, sizeof(buf)), rows[i].want);
	}
}

int main(void)
{
	char *args[] = {"test", "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "-m",
		"64", "--iova-mode=va", "-l", "0", "--vdev", "net_null0"};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames_are_spread_over_queues),
		cmocka_unit_test(test_a_device_without_interrupts_is_polled),
		cmocka_unit_test(test_device_arguments),
		cmocka_unit_test(test_buffers_that_a_port_may_hold),
	};

	if (rte_eal_init(sizeof(args) / sizeof(args[0]), args) < 0)
		return 1;
	pool = port_pool_create(2048, 1522, 0);
	return pool ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
