#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controlplane/conf/iked_conf.h"
#include "controlplane/conf/ipsec_conf.h"
#include "dataplane/espd_conf.h"
#include "tests/unit/conf/same_config.h"

/* The three languages: what is refused and where, what is printed, and that print and parse agree.
 */

enum language { IKED, IPSEC, ESPD };

static size_t no_address(void *ctx, const char *name, struct ip_addr *out, size_t cap)
{
	(void)ctx;
	if (cap == 0 || strcmp(name, "gw.example") != 0)
		return 0;
	return addr_parse("192.0.2.7", &out[0]) == 0;
}

static const struct conf_resolver resolver = {.host = no_address};

/* Diagnostics to *said (freed by the caller); the printed form, or NULL after an error. */
static char *parse(
	enum language lang, const char *path, const char *text, size_t len, bool load, char **said)
{
	struct conf_options o = {.resolver = &resolver, .text = text, .text_len = len};
	struct conf_diags d;
	char *printed = NULL;
	size_t size;
	FILE *out = open_memstream(&printed, &size), *err;
	int r = -1;

	conf_diags_init(&d);
	if (lang == IKED) {
		struct ike_config *c;

		r = iked_conf_parse(path, &o, &c, &d);
		if (c)
			iked_conf_print(c, out);
		if (c && load)
			r = iked_conf_check_loadable(c, &d);
		iked_conf_free(c);
	} else if (lang == IPSEC) {
		struct ipsec_config *c;

		r = ipsec_conf_parse(path, &o, &c, &d);
		if (c)
			ipsec_conf_print(c, IPSEC_PRINT_KEYS, out);
		if (c && load)
			r = ipsec_conf_check_loadable(c, &d);
		ipsec_conf_free(c);
	} else {
		struct espd_config c;

		r = espd_conf_parse(path, &o, &c, &d);
		espd_conf_print(&c, out);
		espd_config_fini(&c);
	}
	fclose(out);
	assert_int_equal(r != 0, d.n_errors > 0);
	err = open_memstream(said, &size);
	conf_diags_print(&d, err);
	fclose(err);
	conf_diags_fini(&d);
	if (r != 0) {
		free(printed);
		return NULL;
	}
	return printed;
}

struct bad_row {
	enum language lang;
	const char *text, *expected; /* begins with LINE:COLUMN: */
	bool load;
};

#define P "ikev2 a from 10.0.1.0/24 to 10.0.2.0/24 peer 192.0.2.1 "

static const struct bad_row bad[] = {
	{IKED, "ikev2 aktiv x", "1:13: unexpected 'x', expected"},
	{IKED, "ikev2 a activ from", "1:9: unexpected 'activ', expected"},
	{IKED, "ikev2 a from 10.0.0.0/8 \\\n   too 10.1.1.1", "2:4: unexpected 'too', expected"},
	{IKED, "ikev2 a from", "1:13: unexpected end of line, expected"},
	{IKED, "ikev2 a from 10.0.0.0/33 to any peer any",
		"1:23: prefix length 33, expected 0 to 32"},
	{IKED, "ikev2 a from 10.0.0.300 to any peer any", "1:14: '10.0.0.300' is not an address"},
	{IKED, "ikev2 a from nowhere.example to any peer any", "1:14: could not resolve"},
	{IKED, "ikev2 a from 10.0.0.0/8 to ::1 peer any", "1:28: cannot mix different address"},
	{IKED, "ikev2 a inet6 from 10.0.0.1 to any peer any", "1:20: cannot mix different address"},
	{IKED, "ikev2 a active from any to any peer any", "1:37: active mode requires local/peer"},
	{IKED, "ikev2 a active from any to any peer 10.0.0.0/8", "1:37: active mode requires"},
	{IKED, "ikev2 a from 10.0.0.1 to 10.0.0.2 from 10.0.0.3 to 10.0.0.4",
		"1:1: could not get local/peer specification"},
	{IKED, "ikev2 a from 10.0.0.1 port 80 to any peer any", "1:28: no protocol supplied with"},
	{IKED, "ikev2 a proto gre from any port 80 to any peer any", "1:33: no protocol supplied"},
	{IKED, "ikev2 a proto udp from any port 70000 to any peer any",
		"1:33: port 70000, expected"},
	{IKED, "ikev2 a proto udp from any port nil to any peer any", "1:33: unknown port 'nil'"},
	{IKED, "ikev2 a proto nil from any to any peer any", "1:15: unknown protocol: nil"},
	{IKED, "ikev2 a proto 300 from any to any peer any", "1:15: protocol 300, expected 1 to"},
	{IKED, "ikev2 a from any to 10.0.0.1 (10.0.0.2) peer any", "1:31: NAT source only allowed"},
	{IKED, P "ikesa enc nil", "1:66: nil not a valid transform for enc in ikesa"},
	{IKED, P "ikesa enc null", "1:66: null not a valid transform for enc in ikesa"},
	{IKED, P "childsa auth none", "1:69: none not a valid transform for auth in childsa"},
	{IKED, P "ikesa esn", "1:62: cannot use ESN with ikesa."},
	{IKED, P "ikesa group none", "1:68: IKE group can not be \"none\"."},
	/* Field case B05. */
	{IKED, P "ikesa enc aes-256-gcm auth hmac-sha2-256",
		"1:56: authentication is implicit for"},
	{IKED, P "childsa enc aes-256-gcm enc aes-256", "1:56: cannot mix encryption transforms"},
	{IKED, P "childsa prf hmac-sha2-256", "1:64: a child SA has no prf"},
	{IKED, P "lifetime 3x", "1:65: '3x' is not a time, expected"},
	{IKED, P "lifetime 3h bytes 4T", "1:74: '4T' is not a size, expected"},
	{IKED, P "psk 0xabc", "1:60: a hexadecimal key of 3 digits"},
	{IKED, P "psk 0xzz", "1:60: keys need to be specified in hex"},
	{IKED, P "rsb", "1:56: unexpected 'rsb', expected an authentication"},
	{IKED, P "eap \"tls\"", "1:60: unknown EAP method 'tls'"},
	{IKED, P "config nil 10.0.0.1", "1:63: unknown option 'nil'"},
	{IKED, P "config netmask ::1", "1:71: netmask of IPv6"},
	{IKED, P "tap foo", "1:60: invalid tap interface 'foo'"},
	{IKED, P "tag $x", "1:60: macro 'x' not defined"},
	{IKED, "m = \"nil\"\n" P "rsa config $m 10.0.0.1", "2:67: unknown option 'nil', expected"},
	{IKED, P "psk \"abc", "1:60: the string is not closed"},
	/* Field case B03. */
	{IKED, "ikev2 a \\\t\n from any to any peer any", "1:10: blank after the backslash"},
	{IKED, "set passive\n" P "\\ \n psk x", "2:57: blank after the backslash"},
	{IKED, "set passive\r\nset nil\r\n", "2:5: unexpected 'nil', expected"},
	{IKED, P "\\\r\n\tpsk x \\\r\n\tnil\r\n", "3:2: unexpected 'nil', expected"},
	{IKED, "ikev2 a \\ \n from any to any peer any", "1:10: blank after the backslash"},
	{IKED, "set nil", "1:5: unexpected 'nil', expected"},
	{IKED, "set dpd_check_interval -1", "1:24: dpd_check_interval -1, expected"},
	{IKED, "set ocsp \"https://x/\"", "1:10: ocsp 'https://x/', expected"},
	{IKED, "user a \"\"", "1:8: a password of 0 bytes"},
	{IKED, "peer = 10.0.0.1", "1:1: 'peer' is a keyword"},
	{IKED, "include x", "1:9: include without a file"},
	{IKED, "include \"/nonexistent/x\"", "1:1: /nonexistent/x: No such file"},
	{IKED, "foo bar", "1:1: unexpected 'foo', expected"},
	{IKED, "set \x01", "1:5: unexpected byte 0x01"},
	{IKED, "set !", "1:5: unexpected '!'"},
	{IKED, "radius server 10.0.0.0/8 secret x", "1:24: a network, expected one host"},
	{IKED, "radius max-tries 0", "1:18: max-tries 0, expected 1 to 255"},
	{IKED, "radius config inet address 0", "1:28: RADIUS number 0, expected"},
	{IKED, "user a b", "1:1: users are not available", true},
	{IKED, P "eap \"mschap-v2\"", "1:60: EAP is not available", true},
	{IKED, P "config address 10.0.5.0/24", "1:56: config (address pools) is not", true},
	{IKED, P "request address any", "1:56: request (asking for an address) is", true},
	{IKED, P "tag x", "1:60: tag is not available", true},
	{IKED, P "tap enc1", "1:60: tap is not available", true},
	{IKED, P "iface sec0", "1:62: iface is not available", true},
	{IKED, P "childsa enc blowfish", "1:68: the transform is known and not offered", true},
	{IKED, "ikev2 a ipcomp from any to any peer any", "1:9: ipcomp is not available", true},
	{IKED, "ikev2 a ah from any to any peer any", "1:9: ah is not available", true},
	{IKED, "ikev2 a rdomain 1 from any to any peer any", "1:9: rdomain is not available", true},
	{IKED, "ikev2 a from 10.0.0.1 (10.0.0.2) to any peer any", "1:24: NAT in from", true},
	{IKED, "set ocsp \"http://x/\"", "1:5: ocsp is not available", true},
	{IKED, "set cert_partial_chain", "1:5: cert_partial_chain is not available", true},
	{IKED, "radius max-tries 3", "1:1: radius is not available", true},
	{IKED, "set mobike", "1:5: mobike is not available", true},
	{IKED, "set stickyaddress", "1:5: stickyaddress is not available", true},
	{IPSEC, "flow from 10.0.0.0/8 to 11.0.0.0/8", "1:1: no peer specified for destination"},
	{IPSEC, "flow from 10.0.0.1 to ::1", "1:1: rule expands to no valid combination"},
	{IPSEC, "flow from 10.0.0.1 port 80 to 10.0.0.2", "1:25: no protocol supplied"},
	{IPSEC, "flow from 10.0.0.1 to 10.0.0.2 type nil", "1:37: unexpected 'nil', expected"},
	{IPSEC, "esp from 10.0.0.1 to 10.0.0.2", "1:1: no SPI specified"},
	{IPSEC, "esp from 10.0.0.1 to 10.0.0.2 spi 200 enc null authkey 00",
		"1:35: 200 within reserved spi range"},
	{IPSEC, "esp from 10.0.0.1 to 10.0.0.2 spi 0x1ffffffff",
		"1:35: '0x1ffffffff' is not a SPI"},
	{IPSEC, "esp from 10.0.0.1 to 10.0.0.2 spi 256", "1:1: no authentication key specified"},
	{IPSEC, "esp from 10.0.0.1 to 10.0.0.2 spi 256 authkey 00",
		"1:47: wrong authentication key length, needs to be 256 bits"},
	{IPSEC,
		"esp from 10.0.0.1 to 10.0.0.2 spi 256 auth hmac-sha1 enc aes authkey "
		"0x0000000000000000000000000000000000000000 enckey 0x00",
		"1:120: encryption key too short (8 bits), minimum 128 bits"},
	{IPSEC, "esp from 10.0.0.1 to 10.0.0.2 spi 256 enc aes-128-gcm",
		"1:43: aes-128-gcm is disallowed"},
	{IPSEC, "esp from 10.0.0.1 to 10.0.0.2 spi 256 authkey zz",
		"1:47: keys need to be specified"},
	{IPSEC, "esp from 10.0.0.1 to 10.0.0.2 spi 256:257 authkey 00",
		"1:51: authkey has no second"},
	{IPSEC, "ah from 10.0.0.1 to 10.0.0.2 spi 256 enc aes",
		"1:42: ah does not provide encryption"},
	{IPSEC, "esp from 10.0.0.1 to 10.0.0.2 spi 256 auth a auth b", "1:46: auth already set"},
	{IPSEC, "config setup\n\tx=y\n", "1:1: this file is in the format of strongSwan's"},
	{IPSEC, "# x\nconn a\n", "2:1: this file is in the format of strongSwan's"},
	{IPSEC, "ike from 10.0.0.1 to 10.0.0.2", "1:1: ike rules (IKEv1, isakmpd) are not", true},
	{IPSEC, "flow ah from 10.0.0.1 to 10.0.0.2", "1:1: ah is not available", true},
	{ESPD, "replay-window 100", "1:15: replay-window 100, expected 64"},
	{ESPD, "workers { cpu 1, cpu 1 }", "1:22: cpu 1 has a worker already"},
	{ESPD, "mss-clamp 12", "1:11: mss-clamp 12, expected 536 to 9000"},
	{ESPD, "workers 0", "1:9: workers 0, expected 1 to 64"},
	{ESPD, "idle fast", "1:6: unexpected 'fast', expected adaptive or spin"},
	{ESPD, "run-dir \"x\"", "1:9: run-dir 'x', expected an absolute path"},
	{ESPD, "port a device x\nport a device y", "2:6: port 'a' has the name or tap"},
	{ESPD, "replay-window 32", "1:15: replay-window 32, expected 64 to 4096"},
	{ESPD, "port a device x mtu 100", "1:21: mtu 100, expected 576 to 9000"},
	{ESPD, "port a device \"\"", "1:6: port 'a' has an empty device"},
	{ESPD, "port averyverylongname device x", "1:6: port 'averyverylongname' with tap"},
	{ESPD, "default drop", "1:9: unexpected 'drop', expected"},
	{ESPD, "max-sa 1\nmbufs 1", "1:8: max-sa 1, expected 16 to"},
	{ESPD, "hugepages \"huge\"", "1:11: hugepages 'huge', expected an absolute path"},
	{ESPD, "port a device x mac 01:00:00:00:00:01", "1:21: mac '01:00:00:00:00:01', expected"},
};

static void refuses_with_position(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *said = NULL, want[256];
		char *printed = parse(
			bad[i].lang, "f", bad[i].text, strlen(bad[i].text), bad[i].load, &said);

		snprintf(want, sizeof(want), "f:%s", bad[i].expected);
		if (printed || strncmp(said, want, strlen(want)) != 0)
			fail_msg("%s\nsaid: %swant: %s", bad[i].text, said, want);
		free(said);
	}
}

struct good_row {
	enum language lang;
	const char *text, *part, *said;
};

static const struct good_row good[] = {
	/* Field case B01; the whole kind is in warns_of_names_near_keywords. */
	{IKED, "ikev2 aktive from any to 10.2.0.0/24 peer 192.0.2.2 psk \"abc\"",
		"ikev2 \"aktive\" passive tunnel esp from 0.0.0.0/0 to 10.2.0.0/24 local any peer "
		"192.0.2.2 ",
		"f:1:7: warning: 'aktive' is taken as the policy's name, is 'active' meant?"},
	{IKED, "ikev2 \"aktive\" from any to any peer 192.0.2.2", "ikev2 \"aktive\" passive", ""},
	{IKED, "ikev2 from 10.0.0.1 to 10.0.0.2",
		"\"policy1\" passive tunnel esp from 10.0.0.1 to "
		"10.0.0.2 local 10.0.0.1 peer 10.0.0.2 ",
		""},
	{IKED, "ikev2 a from any to any peer gw.example", "local any peer 192.0.2.7 ", ""},
	{IKED, P "psk abc",
		"childsa enc aes-256 enc aes-192 enc aes-128 auth hmac-sha2-256 auth "
		"hmac-sha2-384 auth hmac-sha2-512 group none esn noesn childsa enc aes-128-gcm",
		""},
	{IKED, P "psk abc", "lifetime 10800 bytes 4294967296 psk 0x616263\n", ""},
	{IKED, P "psk file \"/nonexistent/key\"", " psk file \"/nonexistent/key\"\n",
		"f:1:65: warning: /nonexistent/key: No such file or directory: SAs of policy 'a' "},
	{IKED, P "\\\r\n\tpsk\tx \\\r\n\ttag y\r\n", " psk 0x78 tag \"y\"\n", ""}, /* B03 */
	{IKED, "ikev2\ta\tfrom\tany to any\tpeer 192.0.2.2\tpsk x", " psk 0x78\n", ""},
	/* Field case B05: two proposals, the AEAD one without an integrity algorithm. */
	{IKED, P "ikesa enc aes-256-gcm ikesa enc aes-256 auth hmac-sha2-256 psk x",
		" ikesa enc aes-256-gcm prf hmac-sha2-256 prf hmac-sha2-384 prf hmac-sha2-512 "
		"group "
		"curve25519 group ecp521 group ecp384 group ecp256 group modp4096 group modp3072 "
		"group modp2048 ikesa enc aes-256 prf ",
		""},
	{IKED, "set active\r\nset nomobike\r\n", "set nomobike\n", ""},
	{IKED, "set fragmentation", "set fragmentation\nset nomobike\n", ""},
	{IKED, "set nofragmentation", "set nofragmentation\nset nomobike\n", ""},
	{IKED, "", "set nostickyaddress\nset nomobike\n", ""},
	{IKED, "flow from 1.1.1.1 to 2.2.2.2\nike esp from any to any\nset passive",
		"set passive\n", ""},
	{IPSEC, "flow from 127.0.0.1/32 to 127.0.0.1/32 type bypass",
		"flow esp out from 127.0.0.1 to 127.0.0.1 type bypass\n"
		"flow esp in from 127.0.0.1 to 127.0.0.1 type bypass\n",
		""},
	{IPSEC, "flow in from 10.0.0.1 to 10.0.0.2",
		"flow esp in from 10.0.0.1 to 10.0.0.2 peer 10.0.0.1 type require\n", ""},
	{ESPD, "",
		"workers 1\ndefault pass\nstrict-inbound yes\nmss-clamp yes\nreplay-window 1024\n",
		""},
	{ESPD, "mss-clamp no", "strict-inbound yes\nmss-clamp no\n", ""},
	{ESPD, "mss-clamp 1360", "strict-inbound yes\nmss-clamp 1360\n", ""},
	{ESPD, "workers { cpu 3, cpu 1 }\nidle spin\nstandalone\ndefault deny",
		"workers { cpu 3, cpu 1 }\ndefault deny\n", ""},
	{ESPD, "hugepages \"/dev/h\"\nmemory 64\nmbufs 1024\neal-args \"-l 0 --log x\"",
		"memory 64\nmbufs 1024\nhugepages \"/dev/h\"\neal-args \"-l 0 --log x\"\n", ""},
	{ESPD, "port a device x mac \"02:00:00:00:00:0a\" queues 2 tap t",
		"port \"a\" device \"x\" tap \"t\" mac \"02:00:00:00:00:0a\" queues 2\n", ""},
	{ESPD, "workers 4\nworkers shared", "workers shared\n", ""},
	{ESPD, "user gateway", "user \"gateway\"\n", ""},
	{ESPD, "punt yes\nstrict-inbound no", "strict-inbound no\n", ""},
	{ESPD, "", "telemetry no\n", ""},
	{ESPD, "telemetry yes", "telemetry yes\n", ""},
	{ESPD, "punt no", "punt no\n", ""},
	{ESPD, "punt no\npunt yes", "punt ports\n", ""},
	{ESPD, "port wan device \"net_tap0,iface=x\" mtu 1400",
		"port \"wan\" device \"net_tap0,iface=x\" "
		"tap \"wan\" mtu 1400\n",
		""},
};

/* The language is read twice: as it was written and as it is printed; both mean the same. */
static void check_means_the_same(const char *text, size_t len, const char *printed)
{
	struct conf_options o = {.resolver = &resolver, .text = text, .text_len = len};
	struct ike_config *a, *b;
	struct conf_diags d;

	conf_diags_init(&d);
	assert_int_equal(iked_conf_parse("a", &o, &a, &d), 0);
	o.text = printed;
	o.text_len = strlen(printed);
	assert_int_equal(iked_conf_parse("b", &o, &b, &d), 0);
	same_config(a, b, SAME_SECRETS);
	iked_conf_free(a);
	iked_conf_free(b);
	conf_diags_fini(&d);
}

/* Printed text parses, and prints as itself. */
static void check_fixpoint(enum language lang, const char *printed)
{
	char *said, *again = parse(lang, "p", printed, strlen(printed), false, &said);

	if (!again)
		fail_msg("printed form refused: %s\n%s", said, printed);
	assert_string_equal(again, printed);
	free(again);
	free(said);
}

static void prints_what_it_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		char *said;
		char *printed = parse(
			good[i].lang, "f", good[i].text, strlen(good[i].text), false, &said);

		if (!printed || !strstr(printed, good[i].part) ||
			strncmp(said, good[i].said, strlen(good[i].said)) != 0 ||
			(!good[i].said[0] && said[0]))
			fail_msg("%s\nsaid: %s\nprinted: %s", good[i].text, said,
				printed ? printed : "-");
		check_fixpoint(good[i].lang, printed);
		if (good[i].lang == IKED)
			check_means_the_same(good[i].text, strlen(good[i].text), printed);
		free(printed);
		free(said);
	}
}

/* Field case B01: a mistyped keyword becomes the policy's name, and a gateway waits for ever. */
static const struct {
	const char *name, *near; /* NULL: no doubt */
} names[] = {
	{"aktive", "active"},
	{"activ", "active"},
	{"actvie", "active"},
	{"passve", "passive"},
	{"passivv", "passive"},
	{"quik", "quick"},
	{"skp", "skip"},
	{"defaultt", "default"},
	{"tunel", "tunnel"},
	{"tranzport", "transport"},
	{"epsp", "esp"},
	{"esq", "esp"},
	{"inet4", "inet"},
	{"ipcom", "ipcomp"},
	{"nat", "natt"},
	{"porto", "proto"},
	{"frrom", "from"},
	{"east", NULL},
	{"west", NULL},
	{"office", NULL},
	{"server1_rsa", NULL},
	{"roadwarrior", NULL},
	{"home", NULL},
	{"vpn", NULL},
	{"a", NULL},
	{"gw1", NULL},
};

static void warns_of_names_near_keywords(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * sizeof(names) / sizeof(names[0]); i++) {
		bool is_quoted = i % 2;
		const char *name = names[i / 2].name, *near = names[i / 2].near;
		char text[256], want[128] = "", *said, *printed;

		snprintf(text, sizeof(text),
			"\nikev2 %s%s%s from 10.1.0.0/24 to 10.2.0.0/24 peer 192.0.2.2 psk x",
			is_quoted ? "'" : "", name, is_quoted ? "'" : "");
		if (near && !is_quoted)
			snprintf(want, sizeof(want),
				"f:2:7: warning: '%s' is taken as the policy's name, is '%s' "
				"meant?",
				name, near);
		printed = parse(IKED, "f", text, strlen(text), true, &said);
		assert_non_null(printed);
		if (strncmp(said, want, strlen(want)) != 0 || (!want[0] && said[0]))
			fail_msg("%s: %s", text, said);
		free(printed);
		free(said);
	}
}

/* One choice of each slot makes a policy; the grammar's order is fixed. */
enum { CHOICES = 9 };

static const char *const slots[][CHOICES] = {
	{"ikev2", "ikev2 'x y'", "ikev2 gw1", "ikev2 \"say \\\"hi\\\"\""},
	{"", "quick", "skip", "default"},
	{"", "passive", "active"},
	{"", "", "", "ipcomp"},
	{"", "tunnel", "transport"},
	{"", "natt"},
	{"", "esp", "ah"},
	{"", "inet"},
	{"", "proto udp", "proto { tcp, udp, 47 }", "proto 255"},
	{"", "", "rdomain 7"},
	{"from 10.0.1.0/24 to 10.0.2.0/24", "from any to any", "from any to dynamic",
		"from 10.0.1.1 (10.9.9.0/24) to 10.0.2.0/24, from 10.3.0.0/16 to any",
		"from 10.0.1.1 port 80 to 10.0.2.1 port 4000", "to 10.0.2.1 from 0.0.0.0/0",
		"from fd00:1::/64 to fd00:2::1", "from fd00:1::/64 to any from 10.0.0.1 to any"},
	{"peer 192.0.2.1", "peer 192.0.2.1 local 198.51.100.1", "local 198.51.100.1 peer any",
		"peer 192.0.2.0/24", "peer any", "local 2001:db8::1 peer 2001:db8::2", ""},
	{"", "ikesa enc aes-256 enc aes-128 auth hmac-sha2-256 prf hmac-sha2-512 group grp14",
		"ikesa enc aes-256-gcm group ecp256 ikesa enc 3des auth hmac-sha1 group modp1024",
		"ikesa group curve25519 group ecp384", "ikesa prf hmac-sha2-384"},
	{"", "childsa enc aes-128-gcm enc chacha20-poly1305 group none group curve25519 noesn",
		"childsa auth hmac-sha2-512 enc aes-192-ctr esn", "childsa enc null auth hmac-sha1",
		"childsa group modp2048 childsa enc blowfish auth hmac-md5"},
	{"", "srcid a.example", "srcid 192.0.2.7 dstid b@c.example", "dstid '/C=DE/CN=x y'",
		"srcid 'we\"ird one' dstid fd00::1", "dstid active.example", "srcid 'active'"},
	{"", "ikelifetime 7200", "ikelifetime 2h lifetime 30m", "lifetime 0 bytes 64M",
		"lifetime 3h bytes 0", "lifetime 90 bytes 3G"},
	{"", "psk 'a \"b\" c'", "psk 0x00ff10", "rsa", "ecdsa384", "rfc7427", "eap \"mschap-v2\"",
		"eap radius", "signature"},
	{"", "config address 10.0.5.0/24 config name-server 10.0.0.1", "request address any",
		"config netmask 255.255.0.0 config access-server fd00::7"},
	{"", "", "iface em0"},
	{"", "tag 'x-$id'", "tap enc3 tag \"y\""},
};

static const char *const globals[] = {"", "set passive\n", "set decouple\n",
	"set dpd_check_interval 7\n", "set enforcesingleikesa\nset novendorid\n",
	"set stickyaddress\nset mobike\nset nofragmentation\n", "set fragmentation\n",
	"set ocsp \"http://o.example/\" tolerate 5m maxage 1h\nset cert_partial_chain\n",
	"user 'a b' \"c'd\"\nuser e f\n",
	"radius server 10.0.0.5 port 99 secret 's t'\nradius accounting max-tries 4\n"
	"radius config inet name-server 311 28\nradius dae listen on 10.0.0.1\n"
	"radius dae client 10.0.0.6 secret u\n"};

/* What is printed means what was written, whatever was written. */
static void random_rules_print_to_their_meaning(void **state)
{
	uint32_t seed = 7;
	size_t n_read = 0;

	(void)state;
	for (unsigned int round = 0; round < 4000; round++) {
		char text[2048], *said, *printed;
		size_t len;

		seed = seed * 1664525 + 1013904223;
		len = (size_t)snprintf(text, sizeof(text), "%s",
			globals[(seed >> 16) % (sizeof(globals) / sizeof(globals[0]))]);
		for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
			size_t n = 0;

			while (n < CHOICES && slots[i][n])
				n++;
			seed = seed * 1664525 + 1013904223;
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s",
				slots[i][(seed >> 16) % n], (seed >> 8) % 9 ? " " : " \\\n\t");
		}
		printed = parse(IKED, "r", text, len, false, &said);
		if (printed) {
			n_read++;
			check_fixpoint(IKED, printed);
			check_means_the_same(text, len, printed);
		} else if (strncmp(said, "r:", 2) != 0) {
			fail_msg("%s\nsaid: %s", text, said);
		}
		free(printed);
		free(said);
	}
	/* Many mix address families, or ports and no protocol: those are refused. */
	assert_true(n_read > 800);
}

static const struct {
	const char *file, *missing; /* what loading says first; NULL: it loads */
} faq[] = {
	{"server1", NULL},
	{"server2", NULL},
	{"server1-warning", NULL},
	{"server2-warning", NULL},
	{"roadwarrior", NULL},
	{"responder-rsa", ":5:13: tag is not available"},
	{"responder-eap", ":1:1: users are not available"},
	{"responder-x509", ":5:9: config (address pools) is not available"},
	{"responder-windows", ":1:1: users are not available"},
};

/* Every rule is read and printed; one whose feature is missing says so when it is loaded. */
static void reads_every_rule_of_the_faq(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(faq) / sizeof(faq[0]); i++) {
		char path[512], want[600], *said, *printed;

		snprintf(path, sizeof(path), "%s/faq-%s.conf", CONF_TEST_DATA, faq[i].file);
		snprintf(want, sizeof(want), "%s%s", path, faq[i].missing ? faq[i].missing : "");
		printed = parse(IKED, path, NULL, 0, true, &said);
		if (!printed != !!faq[i].missing ||
			(faq[i].missing && strncmp(said, want, strlen(want)) != 0))
			fail_msg("%s: %s", path, said);
		free(printed);
		free(said);
		printed = parse(IKED, path, NULL, 0, false, &said);
		if (!printed)
			fail_msg("%s", said);
		assert_string_equal(said, "");
		check_fixpoint(IKED, printed);
		free(printed);
		free(said);
	}
}

/* Bytes changed, removed, doubled by a fixed generator: an answer, no crash, and what is accepted
 * still prints to itself. */
static void survives_mutations(void **state)
{
	uint32_t seed = 1;
	char text[512];

	(void)state;
	for (unsigned int round = 0; round < 4000; round++) {
		size_t n_bad = sizeof(bad) / sizeof(bad[0]),
		       n_good = sizeof(good) / sizeof(good[0]);
		size_t pick = round % (n_bad + n_good);
		enum language lang = pick < n_bad ? bad[pick].lang : good[pick - n_bad].lang;
		const char *from = pick < n_bad ? bad[pick].text : good[pick - n_bad].text;
		size_t len = strlen(from);
		char *said, *printed;

		memcpy(text, from, len);
		for (unsigned int k = 0; k < 3 && len > 0; k++) {
			seed = seed * 1664525 + 1013904223;
			size_t at = (seed >> 8) % len;

			if (seed >> 30 == 0)
				text[at] = (char)(seed >> 16);
			else if (seed >> 30 == 1)
				memmove(text + at, text + at + 1, --len - at);
			else
				text[at] = text[(seed >> 4) % len];
		}
		/* No include of whatever name came out. */
		if (memmem(text, len, "include", 7) || memmem(text, len, "file", 4))
			continue;
		printed = parse(lang, "m", text, len, false, &said);
		if (printed) {
			check_fixpoint(lang, printed);
			if (lang == IKED)
				check_means_the_same(text, len, printed);
		}
		free(printed);
		free(said);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_with_position),
		cmocka_unit_test(prints_what_it_read),
		cmocka_unit_test(warns_of_names_near_keywords),
		cmocka_unit_test(random_rules_print_to_their_meaning),
		cmocka_unit_test(reads_every_rule_of_the_faq),
		cmocka_unit_test(survives_mutations),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
