#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dataplane/debug_filter.h"

#define UDP                                                                             \
	"parse          -> SPD in 10.0.1.13.5000 > 10.0.2.24.53 proto 17 len 117\n"     \
	"spd-out        -> protect 10.0.1.13.5000 > 10.0.2.24.53 proto 17 len 117 spi " \
	"0x0a19c000\n"
#define PING "parse          -> SPD in 10.0.1.13 > 10.0.2.24 type 8 code 0 proto 1 len 84\n"
#define DROPPED                                                            \
	"parse          -> SPD in fd01::1.80 > fd02::2.6 proto 6 len 60\n" \
	"spd-out        -> drop (no-sa-for-flow: the flow demands an SA and has none)\n"

static void filters(void **state)
{
	static const struct {
		const char *filter, *text;
		bool fits;
		const char *why;
	} rows[] = {
		{"", UDP, true, "no words"},
		{"10.0.1.13", UDP, true, "source"},
		{"host 10.0.2.24", UDP, true, "destination"},
		{"10.0.1.1", UDP, false, "not the beginning of another address"},
		{"0.0.1.13", UDP, false, "not the end of another address"},
		{"10.0.1.13", PING, true, "without a port behind it"},
		{"10.0.1.1", PING, false, "nor there"},
		{"fd01::1", DROPPED, true, "IPv6"},
		{"fd01:0:0::1", DROPPED, true, "written in another way"},
		{"fd01::", DROPPED, false, "another IPv6 address"},
		{"port 53", UDP, true, "destination port"},
		{"port 5000", UDP, true, "source port"},
		{"port 500", UDP, false, "not part of a port"},
		{"port 24", PING, false, "the last byte of an address is no port"},
		{"port x", UDP, false, "not a number"},
		{"proto 17", UDP, true, "protocol"},
		{"proto 1", UDP, false, "not part of a number"},
		{"proto 7", UDP, false, "nor its end"},
		{"17", PING, false, "a bare word stands nowhere"},
		{"udp", UDP, true, "by name"},
		{"icmp", UDP, false, "another one"},
		{"icmp", PING, true, "by name"},
		{"tcp", DROPPED, true, "by name"},
		{"spi 0x0a19c000", UDP, true, "SPI"},
		{"spi 0x0a19c00", UDP, false, "not part of an SPI"},
		{"drop", DROPPED, true, "the verdict"},
		{"drop", UDP, false, "none"},
		{"no-sa-for-flow", DROPPED, true, "the reason"},
		{"drop 10.0.1.13", DROPPED, false, "all words must fit"},
		{"udp host 10.0.1.13 port 53", UDP, true, "all do"},
		{"host", UDP, false, "a name without its value is a word"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (debug_filter_fits(rows[i].filter, rows[i].text) != rows[i].fits)
			fail_msg("'%s': %s", rows[i].filter, rows[i].why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(filters)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
