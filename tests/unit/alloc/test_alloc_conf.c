#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "controlplane/conf/iked_conf.h"
#include "controlplane/conf/ipsec_conf.h"
#include "dataplane/espd_conf.h"
#include "tests/unit/alloc/alloc.h"

/*
 * A configuration is read again by a daemon that has SAs: without memory the reading fails with a
 * diagnostic and the daemon lives. Each allocation of a parse fails once.
 */

static const char iked_text[] =
	"mynet = \"10.0.1.0/24\"\n"
	"set dpd_check_interval 30\n"
	"user 'one' 'secret1'\nuser 'two' 'secret2'\nuser 'one' 'secret3'\n"
	"ikev2 'a' passive esp from $mynet to 10.0.2.0/24 from 10.0.3.0/24 to 10.0.4.0/24 \\\n"
	"  local 192.0.2.1 peer 198.51.100.1 ikesa enc aes-256 auth hmac-sha2-256 group modp2048 "
	"\\\n"
	"  ikesa enc aes-256-gcm prf hmac-sha2-256 group curve25519 childsa enc aes-128-gcm \\\n"
	"  childsa enc aes-256 auth hmac-sha2-256 srcid server1.domain dstid user@example.org \\\n"
	"  psk 0x6d656b6d \n"
	"ikev2 quick active tunnel inet proto { tcp, udp } from dynamic to any port 80 \\\n"
	"  peer gw.example rsa config address 10.9.0.0/24 config name-server 10.9.0.1 \\\n"
	"  iface \"lo\" tag \"x\" tap \"enc1\"\n"
	"radius server 192.0.2.9 secret 'r1'\nradius server 192.0.2.10 secret 'r2'\n"
	"radius config name-server 311 28\n"
	"ikev2 skip from 10.0.0.0/8 to 10.0.0.0/8 peer any eap \"mschap-v2\"\n";

static const char ipsec_text[] =
	"net = \"10.1.0.0/16\"\n"
	"flow esp from $net to 10.2.0.0/16 peer 192.0.2.7 srcid a.example dstid b.example\n"
	"flow from 127.0.0.1/32 to 127.0.0.1/32 type bypass\n"
	"flow esp out proto tcp from { 10.1.0.1 10.1.0.2 } port 80 to 10.2.0.1 peer 192.0.2.7\n"
	"esp from 192.0.2.1 to 192.0.2.2 spi 0x1000:0x1001 auth hmac-sha2-256 enc aes \\\n"
	"  authkey 0x00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff:0x"
	"10112233445566778899aabbccddeeff00112233445566778899aabbccddeeff \\\n"
	"  enckey 0x00112233445566778899aabbccddeeff:0x10112233445566778899aabbccddeeff\n"
	"ike esp from 10.1.0.0/16 to 10.3.0.0/16 peer 192.0.2.8 main auth hmac-sha1 enc aes \\\n"
	"  quick auth hmac-sha1 enc aes psk secret tag t\n";

static const char espd_text[] =
	"port wan device \"net_af_packet0,iface=ext0\" mac \"02:00:00:00:00:01\"\n"
	"port lan device \"net_af_packet1,iface=int0\" tap inside\n"
	"run-dir \"/run/a\"\nrun-dir \"/run/b\"\neal-args \"--a --b\"\nmax-sa 1024\n";

enum language { IKED, IPSEC, ESPD };

static size_t some_address(void *ctx, const char *name, struct ip_addr *out, size_t cap)
{
	(void)ctx;
	(void)name;
	return cap > 0 && addr_parse("192.0.2.7", &out[0]) == 0;
}

static const struct conf_resolver resolver = {.host = some_address, .interface = some_address};

/* What the parse made, printed; NULL: it failed, and said so. */
static char *parse(enum language lang, const char *path, const char *text)
{
	const struct conf_options o = {
		.resolver = &resolver, .text = text, .text_len = text ? strlen(text) : 0};
	struct ipsec_config *ipsec = NULL;
	struct ike_config *iked = NULL;
	struct espd_config espd;
	struct conf_diags d;
	char *printed = NULL;
	size_t size;
	FILE *out;
	int r;

	conf_diags_init(&d);
	alloc_begin();
	if (lang == IKED)
		r = iked_conf_parse(path, &o, &iked, &d);
	else if (lang == IPSEC)
		r = ipsec_conf_parse(path, &o, &ipsec, &d);
	else
		r = espd_conf_parse(path, &o, &espd, &d);
	alloc_end();
	if (r == 0) {
		out = open_memstream(&printed, &size);
		assert_non_null(out);
		if (lang == IKED)
			iked_conf_print(iked, out);
		else if (lang == IPSEC)
			ipsec_conf_print(ipsec, IPSEC_PRINT_KEYS, out);
		else
			espd_conf_print(&espd, out);
		fclose(out);
	}
	if (!alloc_failed() && r < 0)
		conf_diags_print(&d, stderr);
	assert_int_equal(r<0, d.n_errors> 0);
	iked_conf_free(iked);
	ipsec_conf_free(ipsec);
	if (lang == ESPD)
		espd_config_fini(&espd);
	conf_diags_fini(&d);
	return printed;
}

static void sweep(enum language lang, const char *path, const char *text)
{
	char *whole, *part;
	uint64_t n, n_refused = 0;
	int fd;

	alloc_reset(0);
	whole = parse(lang, path, text);
	assert_non_null(whole);
	assert_int_equal(alloc_live(), 0);
	fd = dup(0);
	for (n = 1;; n++) {
		alloc_reset(n);
		part = parse(lang, path, text);
		assert_int_equal(alloc_live(), 0); /* nothing leaked */
		if (!alloc_failed())
			break;
		/* All or nothing: at most a warning may be missing. */
		if (part)
			assert_string_equal(part, whole);
		else
			n_refused++;
		free(part);
	}
	free(part);
	free(whole);
	assert_true(n_refused > 10);
	print_message("%llu allocations, %llu refused\n", (unsigned long long)n - 1,
		(unsigned long long)n_refused);
	close(fd);
	assert_int_equal(dup(0), fd); /* no descriptor either */
	close(fd);
}

static void test_iked_conf(void **state)
{
	(void)state;
	sweep(IKED, "iked.conf", iked_text);
}

static void test_ipsec_conf(void **state)
{
	(void)state;
	sweep(IPSEC, "ipsec.conf", ipsec_text);
}

static void test_espd_conf(void **state)
{
	(void)state;
	sweep(ESPD, "espd.conf", espd_text);
}

/* From files, one including the other. */
static void test_included_file(void **state)
{
	char outer[64], inner[80];
	FILE *f;

	(void)state;
	snprintf(outer, sizeof(outer), "/tmp/penstock-alloc-%d", (int)getpid());
	snprintf(inner, sizeof(inner), "%s.inner", outer);
	f = fopen(inner, "w");
	assert_non_null(f);
	fputs(iked_text, f);
	fclose(f);
	f = fopen(outer, "w");
	assert_non_null(f);
	fprintf(f, "include \"%s\"\n", inner);
	fclose(f);
	sweep(IKED, outer, NULL);
	unlink(outer);
	unlink(inner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_iked_conf),
		cmocka_unit_test(test_ipsec_conf),
		cmocka_unit_test(test_espd_conf),
		cmocka_unit_test(test_included_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
