#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/asn1.h>
#include <openssl/x509.h>

#include "shared/ids.h"

static const struct {
	const char *text;
	uint8_t type; /* IKE_ID_NONE: refused */
	const char *printed;
} rows[] = {
	{"server1.domain", IKE_ID_FQDN, "FQDN/server1.domain"},
	{"host", IKE_ID_FQDN, "FQDN/host"},
	{"192.0.2.1", IKE_ID_IPV4, "IPV4/192.0.2.1"},
	{"192.0.2.256", IKE_ID_FQDN, "FQDN/192.0.2.256"},
	{"2001:db8::1", IKE_ID_IPV6, "IPV6/2001:db8::1"},
	{"user@example.org", IKE_ID_UFQDN, "UFQDN/user@example.org"},
	{"/C=DE/O=Example/CN=gw2", IKE_ID_ASN1_DN, "ASN1_DN//C=DE/O=Example/CN=gw2"},
	{"/CN=with a blank", IKE_ID_ASN1_DN, "ASN1_DN//CN=with a blank"},
	{"/CN=a\\/b=c", IKE_ID_ASN1_DN, "ASN1_DN//CN=a\\/b=c"},
	{"/CN=a=b", IKE_ID_ASN1_DN, "ASN1_DN//CN=a=b"},
	{"/CN=m\xc3\xbcnchen", IKE_ID_ASN1_DN, "ASN1_DN//CN=m??nchen"},
	{"/emailAddress=a@b.c/UID=7", IKE_ID_ASN1_DN, "ASN1_DN//emailAddress=a@b.c/UID=7"},
	{"/1.2.3.4.5=x", IKE_ID_ASN1_DN, "ASN1_DN//1.2.3.4.5=x"},
	{"", IKE_ID_NONE, NULL},
	{"/", IKE_ID_NONE, NULL},
	{"/CN", IKE_ID_NONE, NULL},
	{"/CN=", IKE_ID_NONE, NULL},
	{"/=x", IKE_ID_NONE, NULL},
	{"/C=DEU", IKE_ID_NONE, NULL}, /* countryName has two letters */
	{"/nosuch=x", IKE_ID_NONE, NULL},
	{"/CN=x/", IKE_ID_NONE, NULL},
	{"/CN=x/y", IKE_ID_NONE, NULL},
};

static void test_parse_and_print(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[IKE_ID_STRLEN];
		struct ike_id id;
		int rc = ike_id_parse(rows[i].text, &id);

		if ((rc == 0) != (rows[i].type != IKE_ID_NONE))
			fail_msg("\"%s\": %d", rows[i].text, rc);
		if (rc < 0)
			continue;
		assert_int_equal(id.type, rows[i].type);
		assert_string_equal(ike_id_str(&id, text), rows[i].printed);
	}
}

static void test_limits(void **state)
{
	char text[IKE_ID_MAXLEN + 2], printed[IKE_ID_STRLEN];
	struct ike_id id;

	(void)state;
	memset(text, 'a', sizeof(text));
	text[IKE_ID_MAXLEN] = '\0';
	assert_int_equal(ike_id_parse(text, &id), 0);
	assert_int_equal(id.len, IKE_ID_MAXLEN);
	assert_int_equal(strlen(ike_id_str(&id, printed)), IKE_ID_STRLEN - 1);
	text[IKE_ID_MAXLEN] = 'a';
	text[IKE_ID_MAXLEN + 1] = '\0';
	assert_int_equal(ike_id_parse(text, &id), -1);
	memcpy(text, "/CN=", 4);
	assert_int_equal(ike_id_parse(text, &id), -1);
}

static struct ike_id raw(uint8_t type, const char *data, size_t len)
{
	struct ike_id id = {.type = type, .len = (uint16_t)len};

	memcpy(id.data, data, len);
	return id;
}

static void test_print_hostile(void **state)
{
	struct ike_id id = raw(IKE_ID_FQDN, "a\n\0\x1b[2J\xff", 8);
	char text[IKE_ID_STRLEN];

	(void)state;
	assert_string_equal(ike_id_str(&id, text), "FQDN/a???[2J?");
	id = raw(IKE_ID_IPV4, "\1\2\3", 3);
	assert_string_equal(ike_id_str(&id, text), "IPV4/???");
	id = raw(IKE_ID_ASN1_DN, "\x30\x80xx", 4);
	assert_string_equal(ike_id_str(&id, text), "ASN1_DN/?");
	id = raw(IKE_ID_KEY_ID, "key", 3);
	assert_string_equal(ike_id_str(&id, text), "KEY_ID/key");
	id = raw(77, "x", 1);
	assert_string_equal(ike_id_str(&id, text), "UNKNOWN/x");
	assert_string_equal(ike_id_type_str(IKE_ID_NONE), "NONE");
	assert_string_equal(ike_id_type_str(IKE_ID_ASN1_GN), "ASN1_GN");
}

static const struct {
	const char *a, *b;
	bool equal;
	const char *why;
} pairs[] = {
	{"server1.domain", "server1.domain", true, "same"},
	{"server1.domain", "Server1.DOMAIN", true, "host names have no case"},
	{"server1.domain", "server2.domain", false, "other"},
	{"server1.domain", "server1.domain.", false, "other length"},
	{"a@example.org", "a@EXAMPLE.org", true, "nor has the domain of an address"},
	{"a@example.org", "A@example.org", false, "but its local part has"},
	{"192.0.2.1", "192.0.2.1", true, "same"},
	{"192.0.2.1", "192.0.2.2", false, "other"},
	{"/C=DE/O=Example/CN=gw2", "/C=DE/O=Example/CN=gw2", true, "same"},
	{"/C=DE/O=Example/CN=gw2", "/CN=gw2/O=Example/C=DE", false, "order counts"},
	{"/C=DE/O=Example/CN=gw2", "/C=DE/O=Example", false, "fewer"},
	{"/O=Example  Corp/CN=GW", "/O=example corp/CN=gw", true, "case and blanks"},
	{"/O=x/CN=gw", "/OU=x/CN=gw", false, "another attribute"},
};

static void test_equal(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		struct ike_id a, b;

		assert_int_equal(ike_id_parse(pairs[i].a, &a), 0);
		assert_int_equal(ike_id_parse(pairs[i].b, &b), 0);
		if (ike_id_equal(&a, &b) != pairs[i].equal ||
			ike_id_equal(&b, &a) != pairs[i].equal)
			fail_msg("%s: %s, %s", pairs[i].why, pairs[i].a, pairs[i].b);
	}
}

static void test_equal_never_across_types(void **state)
{
	/* An address typed as a name is another identity (RFC 4945 3.1). */
	struct ike_id address, name = raw(IKE_ID_FQDN, "\xc0\x00\x02\x01", 4);
	struct ike_id nul_a = raw(IKE_ID_FQDN, "a\0b", 3), nul_b = raw(IKE_ID_FQDN, "a\0c", 3);

	(void)state;
	assert_int_equal(ike_id_parse("192.0.2.1", &address), 0);
	assert_false(ike_id_equal(&address, &name));
	assert_false(ike_id_equal(&nul_a, &nul_b));
}

static struct ike_id dn_of_type(int string_type)
{
	X509_NAME *name = X509_NAME_new();
	struct ike_id id = {.type = IKE_ID_ASN1_DN};
	uint8_t *at = id.data;

	assert_int_equal(X509_NAME_add_entry_by_txt(name, "C", V_ASN1_PRINTABLESTRING,
				 (const uint8_t *)"DE", -1, -1, 0),
		1);
	assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", string_type,
				 (const uint8_t *)"gateway two", -1, -1, 0),
		1);
	id.len = (uint16_t)i2d_X509_NAME(name, &at);
	X509_NAME_free(name);
	return id;
}

/* RFC 5280 7.1: the same text as PrintableString, UTF8String, T61String. */
static void test_equal_string_types(void **state)
{
	struct ike_id printable = dn_of_type(V_ASN1_PRINTABLESTRING);
	struct ike_id utf8 = dn_of_type(V_ASN1_UTF8STRING);
	struct ike_id bad = utf8;

	(void)state;
	assert_memory_not_equal(printable.data, utf8.data, utf8.len);
	assert_true(ike_id_equal(&printable, &utf8));
	bad.len--;
	assert_false(ike_id_equal(&printable, &bad));
	assert_false(ike_id_equal(&bad, &utf8));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_and_print),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_print_hostile),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_equal_never_across_types),
		cmocka_unit_test(test_equal_string_types),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
