#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "controlplane/conf/iked_conf.h"
#include "controlplane/conf/ipsec_conf.h"

/* What comes from outside the text: files and their modes, macros of -D, names of interfaces. */

#define P "ikev2 a from 10.0.1.0/24 to 10.0.2.0/24 peer 192.0.2.1 "

struct dir {
	char path[64];
};

static int dir_make(void **state)
{
	struct dir *d = calloc(1, sizeof(*d));

	strcpy(d->path, "/tmp/conf-test-XXXXXX");
	assert_non_null(mkdtemp(d->path));
	*state = d;
	return 0;
}

static const char *const names[] = {"main", "part", "key"};

static int dir_remove(void **state)
{
	struct dir *d = *state;
	char path[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", d->path, names[i]);
		unlink(path);
	}
	assert_int_equal(rmdir(d->path), 0);
	free(d);
	return 0;
}

static void file_write(const struct dir *d, const char *name, const char *text, mode_t mode)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", d->path, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path, mode), 0);
}

static size_t one_interface(void *ctx, const char *name, struct ip_addr *out, size_t cap)
{
	(void)ctx;
	if (cap < 2)
		return 0;
	if (strcmp(name, "em0") == 0)
		return addr_parse("192.0.2.9", &out[0]) == 0;
	if (strcmp(name, "egress") != 0)
		return 0;
	return addr_parse("192.0.2.1", &out[0]) == 0 && addr_parse("2001:db8::1", &out[1]) == 0 ? 2
												: 0;
}

static const struct conf_resolver resolver = {.interface = one_interface};

/* The printed form (NULL: refused) and what was said, both freed by the caller. */
static char *read_ipsec(const char *path, struct conf_options *o, char **said)
{
	struct ipsec_config *c;
	struct conf_diags d;
	char *printed = NULL;
	size_t size;
	FILE *f;

	o->resolver = &resolver;
	conf_diags_init(&d);
	if (ipsec_conf_parse(path, o, &c, &d) == 0) {
		f = open_memstream(&printed, &size);
		ipsec_conf_print(c, IPSEC_PRINT_KEYS, f);
		fclose(f);
	}
	ipsec_conf_free(c);
	f = open_memstream(said, &size);
	conf_diags_print(&d, f);
	fclose(f);
	conf_diags_fini(&d);
	return printed;
}

static char *read_iked(const char *path, struct conf_options *o, char **said)
{
	struct ike_config *c;
	struct conf_diags d;
	char *printed = NULL;
	size_t size;
	FILE *f;

	o->resolver = &resolver;
	conf_diags_init(&d);
	if (iked_conf_parse(path, o, &c, &d) == 0) {
		f = open_memstream(&printed, &size);
		iked_conf_print(c, f);
		fclose(f);
	}
	iked_conf_free(c);
	f = open_memstream(said, &size);
	conf_diags_print(&d, f);
	fclose(f);
	conf_diags_fini(&d);
	return printed;
}

struct file_row {
	const char *main, *part, *key; /* contents; %s: the directory; NULL: no such file */
	mode_t main_mode, part_mode, key_mode;
	const char *said;    /* after the directory and /; "" for nothing */
	const char *printed; /* part of it; NULL: refused */
	bool is_ipsec;
};

#define KEY16 "000102030405060708090a0b0c0d0e0f"
#define KEY32 KEY16 KEY16
#define ESP "esp from 192.0.2.1 to 192.0.2.2 spi 0x1000"

static const struct file_row file_rows[] = {
	{"set passive\n", NULL, NULL, 0600, 0, 0, "", "set passive\n"},
	{"set passive\n", NULL, NULL, 0640, 0, 0, "", "set passive\n"},
	{"set passive\n", NULL, NULL, 0644, 0, 0, ": group writable or world", NULL},
	{"set passive\n", NULL, NULL, 0660, 0, 0, ": group writable or world", NULL},
	{"include \"part\"\n", "set passive\n", NULL, 0600, 0600, 0, "", "set passive\n"},
	{"include \"part\"\n", "set passive\n", NULL, 0600, 0604, 0, "main:1:1: ", NULL},
	{"\ninclude \"part\"\n", NULL, NULL, 0600, 0, 0, "main:2:1: ", NULL},
	{"include \"part\"\n", "\n set nil\n", NULL, 0600, 0600, 0,
		"part:2:6: unexpected 'nil', expected", NULL},
	{"include \"part\"\nset nil\n", "set passive\n", NULL, 0600, 0600, 0,
		"main:2:5: unexpected 'nil'", NULL},
	/* Positions are physical: in the included file, also in a line that is continued. */
	{"# x\ninclude \"part\"\n", "\n" P "\\\n \\\n  psk 0xabc\n", NULL, 0600, 0600, 0,
		"part:4:7: a hexadecimal key", NULL},
	{"m = nil\ninclude \"part\"\n", "set \\\n $m\n", NULL, 0600, 0600, 0,
		"part:2:2: unexpected 'nil', expected", NULL},
	{"include \"part\"\n" P "\\\n\ttagg x\n", P "psk x\n", NULL, 0600, 0600, 0,
		"main:3:7: unexpected 'x', expected", NULL},
	{"include \"part\"\n", "include \"part\"\n", NULL, 0600, 0600, 0, "part:1:1: ", NULL},
	{P "psk file \"%s/key\"\n", NULL, "00ff\n", 0600, 0, 0600, "", " psk 0x00ff\n"},
	{P "psk file \"%s/key\"\n", NULL, "00ff\n", 0600, 0, 0644, "main:1:65: ", NULL},
	{P "psk file \"%s/key\"\n", NULL, "0xgg\n", 0600, 0, 0600, "main:1:65: keys need to be",
		NULL},
	{P "psk file \"%s/key\"\n", NULL, "\n", 0600, 0, 0600, "main:1:65: a hexadecimal key of 0",
		NULL},
	{P "psk file \"%s/key\"\nset passive\n", NULL, NULL, 0600, 0, 0,
		"main:1:65: warning: ", "set passive\n"},
	{ESP " authkey file \"%s/key\" enckey " KEY16 "\n", NULL, KEY32 "\n", 0600, 0, 0600, "",
		" auth hmac-sha2-256 enc aes \\\n\tauthkey 0x" KEY32 " \\\n\tenckey 0x" KEY16 "\n",
		true},
	{ESP " enc aes-256 authkey " KEY32 " enckey file \"%s/key\"\n", NULL, KEY32 "\n", 0600, 0,
		0600, "", " enc aes-256 \\\n\tauthkey 0x" KEY32 " \\\n\tenckey 0x" KEY32 "\n",
		true},
	{ESP ":0x1001 authkey file \"%s/key:%s/part\" enckey " KEY16 ":" KEY16 "\n",
		"ff" KEY16 "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f", KEY32, 0600, 0600, 0600, "",
		"spi 0x00001001 auth hmac-sha2-256 enc aes \\\n\tauthkey 0xff" KEY16, true},
	{ESP ":0x1001 authkey file \"%s/key\" enckey " KEY16 ":" KEY16 "\n", NULL, KEY32, 0600, 0,
		0600, "main:1:", NULL, true},
	{ESP " authkey file \"%s/key\" enckey " KEY16 "\n", NULL, NULL, 0600, 0, 0, "main:1:", NULL,
		true},
	{ESP " authkey file \"%s/key\" enckey " KEY16 "\n", NULL, KEY32, 0600, 0, 0644,
		"main:1:", NULL, true},
	{ESP " authkey file \"%s/key\" enckey " KEY16 "\n", NULL, "0x" KEY32, 0600, 0, 0600, "",
		"authkey 0x" KEY32, true},
	{ESP " authkey file \"%s/key\" enckey " KEY16 "\n", NULL, KEY16, 0600, 0, 0600,
		"main:1:", NULL, true},
	{ESP " authkey file \"%s/key\" enckey " KEY16 "\n", NULL,
		KEY32 KEY32 KEY32 KEY32 KEY32 KEY32 KEY32 KEY32 KEY32 KEY32 KEY32 KEY32 KEY32 KEY32
			KEY32 KEY32 KEY32,
		0600, 0, 0600, "main:1:", NULL, true},
};

static void row_check(struct dir *d, const struct file_row *r)
{
	struct conf_options o = {.check_permissions = true};
	char path[128], text[512], want[512], *said, *printed;
	FILE *whole = fmemopen(text, sizeof(text), "w");

	for (const char *at = r->main; *at; at++)
		if (at[0] == '%' && at[1] == 's')
			fputs(d->path, whole), at++;
		else
			fputc(*at, whole);
	fclose(whole);
	file_write(d, "main", text, r->main_mode);
	if (r->part)
		file_write(d, "part", r->part, r->part_mode);
	if (r->key)
		file_write(d, "key", r->key, r->key_mode);
	snprintf(path, sizeof(path), "%s/main", d->path);
	snprintf(want, sizeof(want), "%s%s%s", r->said[0] ? d->path : "",
		r->said[0] == ':' ? "/main:"
		: r->said[0]      ? "/"
				  : "",
		r->said);
	printed = (r->is_ipsec ? read_ipsec : read_iked)(path, &o, &said);
	if (r->said[0] == ':')
		assert_non_null(strstr(said, r->said));
	else if (strncmp(said, want, strlen(want)) != 0 || (!want[0] && said[0]))
		fail_msg("%ssaid: %swant: %s", text, said, want);
	if (!printed != !r->printed || (printed && !strstr(printed, r->printed)))
		fail_msg("%sprinted: %s", text, printed ? printed : "-");
	free(printed);
	free(said);
}

static void reads_files_under_the_permission_rule(void **state)
{
	for (size_t i = 0; i < sizeof(file_rows) / sizeof(file_rows[0]); i++) {
		row_check(*state, &file_rows[i]);
		dir_remove(state);
		dir_make(state);
	}
}

static void text_check(const char *text, const struct conf_macro *macro, const char *said_want,
	const char *printed_want)
{
	struct conf_options o = {
		.text = text, .text_len = strlen(text), .macros = macro, .n_macros = macro ? 1 : 0};
	char *said, *printed = read_iked("f", &o, &said);

	assert_string_equal(said, said_want);
	if (!printed != !printed_want || (printed && !strstr(printed, printed_want)))
		fail_msg("%s\nprinted: %s", text, printed ? printed : "-");
	free(printed);
	free(said);
}

static void definition_on_the_command_line_wins(void **state)
{
	static const struct conf_macro gw = {"gw", "192.0.2.55"};
	static const char text[] = "gw = \"192.0.2.66\"\n"
				   "ikev2 a from 10.0.1.0/24 to 10.0.2.0/24 peer $gw\n";

	(void)state;
	text_check(text, NULL, "", " peer 192.0.2.66 ");
	text_check(text, &gw, "", " peer 192.0.2.55 ");
}

static void names_are_resolved(void **state)
{
	(void)state;
	text_check("ikev2 a from em0 to 10.0.2.0/24 peer 192.0.2.1", NULL, "",
		" from 192.0.2.9 to 10.0.2.0/24 ");
	text_check("ikev2 a from egress to 10.0.2.0/24 peer 192.0.2.1", NULL, "",
		" from 192.0.2.1 to 10.0.2.0/24 ");
	text_check("ikev2 a from egress to 2001:db8:2::/48 peer 192.0.2.1", NULL, "",
		" from 2001:db8::1 to 2001:db8:2::/48 ");
}

static void reports_each_error_of_a_file(void **state)
{
	static const char text[] = "set nil\nset passive\n" P "psk 0xabc\n"
				   "ikev2 b from 10.0.0.0/33 to any peer any\n";
	struct conf_options o = {.text = text, .text_len = strlen(text)};
	char *said, *printed = read_iked("f", &o, &said), *second, *third;

	(void)state;
	assert_null(printed);
	assert_int_equal(strncmp(said, "f:1:5: ", 7), 0);
	second = strstr(said, "\nf:3:60: ");
	assert_non_null(second);
	third = strstr(second, "\nf:4:23: ");
	assert_non_null(third);
	assert_ptr_equal(strchr(third + 1, '\n'), said + strlen(said) - 1);
	free(said);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			reads_files_under_the_permission_rule, dir_make, dir_remove),
		cmocka_unit_test(definition_on_the_command_line_wins),
		cmocka_unit_test(names_are_resolved),
		cmocka_unit_test(reports_each_error_of_a_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
