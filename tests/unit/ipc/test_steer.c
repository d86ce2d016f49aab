#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ipc/steer.h"

static const uint8_t key[IKE_SPI_KEY_LEN] = "steer key of it";

#define HEADER 28
#define FROM_INITIATOR 0x08
#define RESPONSE 0x20

/* An IKE header: the SPIs are made by engine `of` with `shard`, or copied, or zero. */
static void header(uint8_t out[HEADER], const uint8_t *spi_i, const uint8_t *spi_r, uint8_t flags)
{
	memset(out, 0, HEADER);
	if (spi_i)
		memcpy(out, spi_i, IKE_SPI_LEN);
	if (spi_r)
		memcpy(out + IKE_SPI_LEN, spi_r, IKE_SPI_LEN);
	out[19] = flags;
}

static void test_table(void **state)
{
	struct ipc_steer s;

	(void)state;
	for (uint32_t n = 1; n <= IPC_ENGINES_MAX; n++) {
		uint32_t shards[IPC_ENGINES_MAX] = {0};

		ipc_steer_init(&s, key, n, 7);
		assert_true(ipc_steer_is_valid(&s));
		for (uint32_t i = 0; i < IKE_SPI_SHARDS; i++)
			shards[s.engine[i]]++;
		/* As even as it can be. */
		for (uint32_t e = 0; e < n; e++)
			assert_in_range(shards[e], IKE_SPI_SHARDS / n, IKE_SPI_SHARDS / n + 1);
		for (uint32_t random = 0; random < 1000; random++)
			assert_int_equal(
				s.engine[ipc_steer_shard(&s, random % n, random)], random % n);
	}
}

static void test_bad_tables(void **state)
{
	static const struct {
		uint32_t n_engines, at;
		uint8_t engine;
		const char *why;
	} rows[] = {
		{0, 0, 0, "no engine at all"},
		{IPC_ENGINES_MAX + 1, 0, 0, "more than there can be"},
		{UINT32_MAX, 0, 0, "the same, as far as it goes"},
		{2, 255, 2, "a shard of an engine that there is not"},
		{2, 0, 255, "the same"},
		{3, 0, 0, "an engine without a shard"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct ipc_steer s;

		ipc_steer_init(&s, key, 2, 0);
		s.n_engines = rows[i].n_engines;
		s.engine[rows[i].at] = rows[i].engine;
		if (ipc_steer_is_valid(&s))
			fail_msg("accepted: %s", rows[i].why);
	}
}

static void test_known(void **state)
{
	const struct ip_addr src = {.family = 4, .b = {192, 0, 2, 1}};
	uint8_t ours[IKE_SPI_LEN], other[IKE_SPI_LEN] = {9, 9, 9, 9, 9, 9, 9, 9}, data[HEADER];
	struct ipc_steer s;
	bool is_known;

	(void)state;
	ipc_steer_init(&s, key, 4, 0);
	for (uint32_t shard = 0; shard < IKE_SPI_SHARDS; shard++) {
		ike_spi_make(key, (uint8_t)shard, 77 + shard, ours);
		/* We are the responder: the peer sets the I flag, requests and responses alike. */
		header(data, other, ours, FROM_INITIATOR);
		assert_int_equal(ipc_steer_engine(&s, data, HEADER, &src, &is_known), shard % 4);
		assert_true(is_known);
		header(data, other, ours, FROM_INITIATOR | RESPONSE);
		assert_int_equal(ipc_steer_engine(&s, data, HEADER, &src, &is_known), shard % 4);
		assert_true(is_known);
		/* We are the initiator; COOKIE and other answers to IKE_SA_INIT have SPIr 0. */
		header(data, ours, other, RESPONSE);
		assert_int_equal(ipc_steer_engine(&s, data, HEADER, &src, &is_known), shard % 4);
		assert_true(is_known);
		header(data, ours, NULL, RESPONSE);
		assert_int_equal(ipc_steer_engine(&s, data, HEADER, &src, &is_known), shard % 4);
		assert_true(is_known);
		/* One bit of the check, or ours in the wrong place: a stranger. */
		ours[7] ^= 1;
		header(data, other, ours, FROM_INITIATOR);
		(void)ipc_steer_engine(&s, data, HEADER, &src, &is_known);
		assert_false(is_known);
		ours[7] ^= 1;
		header(data, ours, other, FROM_INITIATOR);
		(void)ipc_steer_engine(&s, data, HEADER, &src, &is_known);
		assert_false(is_known);
		header(data, other, ours, FROM_INITIATOR);
		(void)ipc_steer_engine(&s, data, HEADER - 1, &src, &is_known);
		assert_false(is_known); /* too short to tell */
	}
}

static void test_strangers(void **state)
{
	uint8_t spi[IKE_SPI_LEN] = {0}, data[HEADER];
	uint32_t n[4] = {0};
	struct ipc_steer s, other;
	bool is_known;
	uint32_t n_differ = 0;

	(void)state;
	ipc_steer_init(&s, key, 4, 0);
	ipc_steer_init(&other, (const uint8_t *)"another key....", 4, 0);
	for (uint32_t i = 0; i < 4096; i++) {
		struct ip_addr src = {.family = 4, .b = {10, 0, (uint8_t)(i >> 8), (uint8_t)i}};
		uint32_t engine;

		spi[3] = (uint8_t)(i >> 4);
		header(data, spi, NULL, FROM_INITIATOR);
		engine = ipc_steer_engine(&s, data, HEADER, &src, &is_known);
		assert_false(is_known);
		assert_in_range(engine, 0, 3);
		n[engine]++;
		/* A repeat, with a cookie and so longer, meets the same engine. */
		assert_int_equal(ipc_steer_engine(&s, data, HEADER, &src, &is_known), engine);
		n_differ += ipc_steer_engine(&other, data, HEADER, &src, &is_known) != engine;
	}
	for (int e = 0; e < 4; e++)
		assert_in_range(n[e], 4096 / 4 - 200, 4096 / 4 + 200);
	/* The key decides: three of four go elsewhere. */
	assert_in_range(n_differ, 4096 * 3 / 4 - 200, 4096 * 3 / 4 + 200);
	for (size_t len = 0; len < HEADER; len++) {
		const struct ip_addr src = {.family = 6};

		assert_in_range(ipc_steer_engine(&s, data, len, &src, &is_known), 0, 3);
		assert_false(is_known);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_bad_tables),
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_strangers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
