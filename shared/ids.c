#include "shared/ids.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509.h>

#include "shared/addr.h"

/* NULL if the bytes are not exactly one Name. */
static X509_NAME *dn_decode(const struct ike_id *id)
{
	const uint8_t *at = id->data;
	X509_NAME *name = d2i_X509_NAME(NULL, &at, id->len);

	ERR_clear_error();
	if (name && at == id->data + id->len)
		return name;
	X509_NAME_free(name);
	return NULL;
}

/*
 * RFC 5280 7.1: RDN by RDN in their order; strings of different types are equal if their text
 * is, without case and with runs of blanks as one. OpenSSL compares that canonical form.
 */
static bool dn_equal(const struct ike_id *a, const struct ike_id *b)
{
	X509_NAME *left = dn_decode(a), *right = dn_decode(b);
	bool is_equal = left && right && X509_NAME_cmp(left, right) == 0;

	X509_NAME_free(left);
	X509_NAME_free(right);
	return is_equal;
}

/* The local part of user@domain keeps its case (RFC 5321 2.4), the domain has none. */
static bool ufqdn_equal(const struct ike_id *a, const struct ike_id *b)
{
	const uint8_t *at = memrchr(a->data, '@', a->len);
	size_t local_len = at ? (size_t)(at - a->data) + 1 : a->len;

	return a->len == b->len && memcmp(a->data, b->data, local_len) == 0 &&
	       strncasecmp((const char *)a->data + local_len, (const char *)b->data + local_len,
		       a->len - local_len) == 0;
}

/* strncasecmp ends at a NUL, which would make "a\0b" and "a\0c" equal. */
static bool has_nul(const struct ike_id *id)
{
	return memchr(id->data, '\0', id->len) != NULL;
}

bool ike_id_equal(const struct ike_id *a, const struct ike_id *b)
{
	if (a->type != b->type)
		return false;
	if (a->len == b->len && memcmp(a->data, b->data, a->len) == 0)
		return true;
	if (a->type == IKE_ID_ASN1_DN)
		return dn_equal(a, b);
	if (has_nul(a) || has_nul(b))
		return false;
	if (a->type == IKE_ID_FQDN)
		return a->len == b->len &&
		       strncasecmp((const char *)a->data, (const char *)b->data, a->len) == 0;
	return a->type == IKE_ID_UFQDN && ufqdn_equal(a, b);
}

/* One "type=value" up to the next '/' that is not escaped; returns where it ends, or NULL. */
static const char *rdn_parse(const char *text, X509_NAME *name)
{
	char part[IKE_ID_MAXLEN + 1];
	size_t n = 0, value_at = 0;

	for (; *text && *text != '/'; text++) {
		if (*text == '=' && value_at == 0) {
			part[n] = '\0';
			value_at = n + 1;
		} else if (*text == '\\' && text[1]) {
			part[n] = *++text;
		} else {
			part[n] = *text;
		}
		if (++n >= sizeof(part) - 1)
			return NULL;
	}
	part[n] = '\0';
	if (value_at < 2 || value_at == n)
		return NULL;
	if (X509_NAME_add_entry_by_txt(
		    name, part, MBSTRING_UTF8, (const uint8_t *)part + value_at, -1, -1, 0) != 1)
		return NULL;
	return text;
}

static int dn_parse(const char *text, struct ike_id *out)
{
	X509_NAME *name = X509_NAME_new();
	uint8_t *der = NULL;
	int len = -1, rc = -1;

	while (name && text && *text == '/')
		text = rdn_parse(text + 1, name);
	if (name && text)
		len = i2d_X509_NAME(name, &der);
	if (len > 0 && len <= IKE_ID_MAXLEN) {
		out->type = IKE_ID_ASN1_DN;
		out->len = (uint16_t)len;
		memcpy(out->data, der, (size_t)len);
		rc = 0;
	}
	OPENSSL_free(der);
	X509_NAME_free(name);
	ERR_clear_error();
	return rc;
}

int ike_id_parse(const char *text, struct ike_id *out)
{
	size_t len = strlen(text);
	struct ip_addr addr;

	memset(out, 0, sizeof(*out));
	if (text[0] == '/')
		return dn_parse(text, out);
	if (addr_parse(text, &addr) == 0) {
		out->type = addr.family == 4 ? IKE_ID_IPV4 : IKE_ID_IPV6;
		out->len = (uint16_t)addr_len(addr.family);
		memcpy(out->data, addr.b, out->len);
		return 0;
	}
	if (len == 0 || len > IKE_ID_MAXLEN)
		return -1;
	out->type = strchr(text, '@') ? IKE_ID_UFQDN : IKE_ID_FQDN;
	out->len = (uint16_t)len;
	memcpy(out->data, text, len);
	return 0;
}

const char *ike_id_type_str(uint8_t type)
{
	switch (type) {
	case IKE_ID_IPV4:
		return "IPV4";
	case IKE_ID_FQDN:
		return "FQDN";
	case IKE_ID_UFQDN:
		return "UFQDN";
	case IKE_ID_IPV6:
		return "IPV6";
	case IKE_ID_ASN1_DN:
		return "ASN1_DN";
	case IKE_ID_ASN1_GN:
		return "ASN1_GN";
	case IKE_ID_KEY_ID:
		return "KEY_ID";
	default:
		return type == IKE_ID_NONE ? "NONE" : "UNKNOWN";
	}
}

struct text {
	char *buf;
	size_t len;
};

static void text_add(struct text *t, char c)
{
	if (t->len + 1 < IKE_ID_STRLEN)
		t->buf[t->len++] = c;
	t->buf[t->len] = '\0';
}

/* escape: characters that get a backslash. */
static void text_add_bytes(struct text *t, const uint8_t *data, size_t len, const char *escape)
{
	for (size_t i = 0; i < len; i++) {
		char c = data[i] >= 0x20 && data[i] < 0x7f ? (char)data[i] : '?';

		if (strchr(escape, c))
			text_add(t, '\\');
		text_add(t, c);
	}
}

static void text_add_string(struct text *t, const char *s)
{
	text_add_bytes(t, (const uint8_t *)s, strlen(s), "");
}

static void dn_entry_str(struct text *t, const X509_NAME_ENTRY *entry)
{
	const ASN1_OBJECT *object = X509_NAME_ENTRY_get_object(entry);
	int nid = OBJ_obj2nid(object), len;
	uint8_t *utf8 = NULL;
	char oid[80];

	if (nid != NID_undef)
		snprintf(oid, sizeof(oid), "%s", OBJ_nid2sn(nid));
	else
		OBJ_obj2txt(oid, sizeof(oid), object, 1);
	text_add(t, '/');
	text_add_string(t, oid);
	text_add(t, '=');
	len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
	if (len > 0)
		text_add_bytes(t, utf8, (size_t)len, "/\\");
	OPENSSL_free(utf8);
}

static void dn_str(struct text *t, const struct ike_id *id)
{
	X509_NAME *name = dn_decode(id);

	if (!name) {
		text_add_string(t, "?");
		return;
	}
	for (int i = 0; i < X509_NAME_entry_count(name); i++)
		dn_entry_str(t, X509_NAME_get_entry(name, i));
	X509_NAME_free(name);
	ERR_clear_error();
}

const char *ike_id_str(const struct ike_id *id, char buf[IKE_ID_STRLEN])
{
	struct text t = {buf, 0};
	char addr_text[ADDR_STRLEN];
	struct ip_addr addr;
	uint8_t family = id->type == IKE_ID_IPV4 ? 4 : id->type == IKE_ID_IPV6 ? 6 : 0;

	text_add_string(&t, ike_id_type_str(id->type));
	text_add(&t, '/');
	if (id->type == IKE_ID_ASN1_DN)
		dn_str(&t, id);
	else if (family && addr_from_bytes(family, id->data, id->len, &addr) == 0)
		text_add_string(&t, addr_str(&addr, addr_text));
	else
		text_add_bytes(&t, id->data, id->len, "");
	return buf;
}
