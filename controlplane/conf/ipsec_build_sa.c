#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "controlplane/conf/ipsec_ast.h"
#include "shared/bytes.h"
#include "shared/wipe.h"

/* Manual SAs. */

#define KEY_FILE_MAX 1024

struct static_transform {
	const char *name;        /* ipsec.conf's; found by prefix, in this order */
	const char *internal;    /* shared/transform.h's; NULL: not even known there */
	size_t key_min, key_max; /* bytes */
};

static const struct static_transform auths[] = {
	{"hmac-md5", "hmac-md5", 16, 16},
	{"hmac-ripemd160", NULL, 20, 20},
	{"hmac-sha1", "hmac-sha1", 20, 20},
	{"hmac-sha2-256", "hmac-sha2-256", 32, 32},
	{"hmac-sha2-384", "hmac-sha2-384", 48, 48},
	{"hmac-sha2-512", "hmac-sha2-512", 64, 64},
	{NULL, NULL, 0, 0},
};

static const struct static_transform encs[] = {
	{"3des-cbc", "3des-cbc", 24, 24},
	{"aes", "aes-128", 16, 32},
	{"aes-128", "aes-128", 16, 16},
	{"aes-192", "aes-192", 24, 24},
	{"aes-256", "aes-256", 32, 32},
	{"aesctr", "aes-128-ctr", 20, 36},
	{"aes-128-ctr", "aes-128-ctr", 20, 20},
	{"aes-192-ctr", "aes-192-ctr", 28, 28},
	{"aes-256-ctr", "aes-256-ctr", 36, 36},
	{"aes-128-gcm", "aes-128-gcm", 20, 20},
	{"aes-192-gcm", "aes-192-gcm", 28, 28},
	{"aes-256-gcm", "aes-256-gcm", 36, 36},
	{"aes-128-gmac", "aes-128-gmac", 20, 20},
	{"aes-192-gmac", "aes-192-gmac", 28, 28},
	{"aes-256-gmac", "aes-256-gmac", 36, 36},
	{"blowfish", "blowfish", 5, 56},
	{"cast128", "cast", 5, 16},
	{"chacha20-poly1305", "chacha20-poly1305", 36, 36},
	{"null", "null", 0, 0},
	{NULL, NULL, 0, 0},
};

static const struct static_transform *row_find(
	const struct static_transform *rows, const char *name)
{
	for (; rows->name; rows++)
		if (name[0] && strncmp(rows->name, name, strlen(name)) == 0)
			return rows;
	return NULL;
}

const struct transform *ipsec_transform(enum transform_type type, const char *name)
{
	const struct static_transform *row = row_find(type == TRANSFORM_ENCR ? encs : auths, name);

	return row && row->internal ? transform_by_name(type, row->internal) : NULL;
}

/* Both halves of one `A:B` of the two SAs that a rule may make. */
struct sa_spec {
	uint32_t spi[2];
	struct ipsec_sa sa[2]; /* keys and transforms */
	bool has_reverse;
};

/* Splits at ':' in a copy; b is NULL without one. */
static void split(struct ipsec_parser *p, const char *text, char **a, char **b)
{
	*a = arena_strndup(&p->arena, text, strlen(text));
	*b = strchr(*a, ':');
	if (*b)
		*(*b)++ = '\0';
}

static uint32_t parse_spi(struct ipsec_parser *p, const char *text, const struct conf_pos *pos)
{
	bool is_hex = strncasecmp(text, "0x", 2) == 0;
	char *end;
	unsigned long long v = strtoull(text, &end, is_hex ? 16 : 10);

	if (*end || end == text || text[0] == '-' || text[0] == '+' || v > UINT32_MAX ||
		strlen(text) > 12) {
		conf_error(p->diags, pos, "'%s' is not a SPI, expected 256 to 4294967295 or 0xHEX",
			text);
		return 0;
	}
	/* RFC 4303 2.1: 1 to 255 are reserved, 0 is local. */
	if (v < 256)
		conf_error(
			p->diags, pos, "%llu within reserved spi range, expected 256 or more", v);
	return (uint32_t)v;
}

static void build_spi(struct ipsec_parser *p, const struct conf_string *s, struct sa_spec *spec)
{
	char *a, *b;

	split(p, s->text, &a, &b);
	spec->spi[0] = parse_spi(p, a, &s->pos);
	spec->has_reverse = b != NULL;
	if (b)
		spec->spi[1] = parse_spi(p, b, &s->pos);
}

static bool parse_hex(struct ipsec_parser *p, const char *hex, size_t len,
	const struct conf_pos *pos, uint8_t out[IPSEC_KEY_MAX], size_t *out_len)
{
	if (len >= 2 && strncasecmp(hex, "0x", 2) == 0) {
		hex += 2;
		len -= 2;
	}
	if (len == 0 || len % 2 != 0 || len / 2 > IPSEC_KEY_MAX) {
		conf_error(p->diags, pos,
			"a key of %zu hex digits, expected an even number up to %d", len,
			2 * IPSEC_KEY_MAX);
		return false;
	}
	if (!bytes_from_hex(hex, out, len / 2)) {
		conf_error(p->diags, pos, "keys need to be specified in hex digits");
		return false;
	}
	*out_len = len / 2;
	return true;
}

static bool build_key(struct ipsec_parser *p, const struct ast_pairvalue *v, const char *word,
	struct sa_spec *spec, bool is_auth)
{
	size_t before = p->diags->n_errors;
	char *part[2];

	if (!v->a.text)
		return true;
	split(p, v->a.text, &part[0], &part[1]);
	if (spec->has_reverse != (part[1] != NULL)) {
		conf_error(p->diags, &v->a.pos,
			spec->has_reverse ? "%s has no second value for the reverse SA, expected "
					    "A:B as in spi"
					  : "%s has a second value, expected one as in spi",
			word);
		return false;
	}
	for (size_t i = 0; i < 2 && part[i]; i++) {
		struct ipsec_sa *sa = &spec->sa[i];
		const char *hex = part[i];
		size_t len = strlen(hex);

		if (v->is_file) {
			hex = conf_file_read(&p->lx, part[i], &v->a.pos, KEY_FILE_MAX, &len);
			if (!hex)
				return false;
			while (len && (hex[len - 1] == '\n' || hex[len - 1] == '\r'))
				len--;
		}
		parse_hex(p, hex, len, &v->a.pos, is_auth ? sa->authkey : sa->enckey,
			is_auth ? &sa->authkey_len : &sa->enckey_len);
	}
	return p->diags->n_errors == before;
}

static const struct static_transform *find_row(struct ipsec_parser *p, const struct conf_string *s,
	const struct static_transform *rows, const char *kind, const char *otherwise)
{
	const struct static_transform *row = row_find(rows, s->text ? s->text : otherwise);

	if (!row)
		conf_error(p->diags, &s->pos,
			"%s not a valid transform for %s, expected for "
			"example %s",
			s->text, kind, otherwise);
	else if (!row->internal) {
		conf_error(p->diags, &s->pos,
			"%s is not known to this build, expected for "
			"example %s",
			row->name, otherwise);
		return NULL;
	}
	return row;
}

static void check_auth_key(struct ipsec_parser *p, const struct ast_isa *ast,
	const struct static_transform *row, const struct sa_spec *spec)
{
	if (!ast->authkey.a.text) {
		conf_error(
			p->diags, &ast->pos, "no authentication key specified, expected authkey");
		return;
	}
	for (size_t i = 0; i < 1u + spec->has_reverse; i++)
		if (spec->sa[i].authkey_len != row->key_min)
			conf_error(p->diags, &ast->authkey.a.pos,
				"wrong authentication key length, needs to be %zu bits",
				row->key_min * 8);
}

static void check_enc_key(struct ipsec_parser *p, const struct ast_isa *ast,
	const struct static_transform *row, const struct sa_spec *spec)
{
	const struct conf_pos *pos = &ast->enckey.a.pos;

	if (row->key_max == 0) {
		if (ast->enckey.a.text)
			conf_error(p->diags, pos, "a key for null encryption, expected no enckey");
		return;
	}
	if (!ast->enckey.a.text) {
		conf_error(p->diags, &ast->pos, "no encryption key specified, expected enckey");
		return;
	}
	for (size_t i = 0; i < 1u + spec->has_reverse; i++) {
		size_t len = spec->sa[i].enckey_len;

		if (len < row->key_min)
			conf_error(p->diags, pos,
				"encryption key too short (%zu bits), minimum %zu bits", len * 8,
				row->key_min * 8);
		else if (len > row->key_max)
			conf_error(p->diags, pos,
				"encryption key too long (%zu bits), maximum %zu bits", len * 8,
				row->key_max * 8);
	}
}

/* `aes` takes 128, 192 or 256 bits: the key decides. */
static const struct transform *by_key(struct ipsec_parser *p, const struct ast_isa *ast,
	const struct transform *t, size_t key_len)
{
	const struct transform *fit;

	if (t->id != ENCR_AES_CBC || key_len == 0)
		return t;
	fit = transform_find(TRANSFORM_ENCR, t->id, (uint16_t)key_len);
	if (!fit)
		conf_error(p->diags, &ast->enckey.a.pos,
			"an AES key of %zu bits, expected 128, 192 or 256", key_len * 8);
	return fit;
}

static void build_esp(struct ipsec_parser *p, const struct ast_isa *ast, struct sa_spec *spec)
{
	const struct conf_string *auth = &ast->xforms.auth, *enc = &ast->xforms.enc;
	const struct static_transform *e = find_row(p, enc, encs, "enc", "aes"), *a;
	const struct transform *t = e ? transform_by_name(TRANSFORM_ENCR, e->internal) : NULL;

	if (!t)
		return;
	if (t->flags & TRANSFORM_F_AEAD && auth->text)
		conf_error(p->diags, &auth->pos, "authentication is implicit for %s", e->name);
	/* A counter IV and a key that outlives restarts would repeat (key, IV) pairs. */
	if (t->flags & TRANSFORM_F_COUNTER) {
		conf_error(p->diags, &enc->pos,
			"%s is disallowed with static keys, expected for "
			"example aes-256",
			e->name);
		return;
	}
	a = find_row(p, auth, auths, "auth", "hmac-sha2-256");
	if (!a)
		return;
	check_auth_key(p, ast, a, spec);
	check_enc_key(p, ast, e, spec);
	for (size_t i = 0; i < 2; i++) {
		spec->sa[i].encr = by_key(p, ast, t, spec->sa[i].enckey_len);
		spec->sa[i].integ = transform_by_name(TRANSFORM_INTEG, a->internal);
	}
}

static void build_ah(struct ipsec_parser *p, const struct ast_isa *ast, struct sa_spec *spec)
{
	const struct static_transform *a;

	if (ast->xforms.enc.text || ast->enckey.a.text) {
		conf_error(p->diags,
			ast->xforms.enc.text ? &ast->xforms.enc.pos : &ast->enckey.a.pos,
			"ah does not provide encryption");
		return;
	}
	a = find_row(p, &ast->xforms.auth, auths, "auth", "hmac-sha2-256");
	if (!a)
		return;
	check_auth_key(p, ast, a, spec);
	spec->sa[0].integ = spec->sa[1].integ = transform_by_name(TRANSFORM_INTEG, a->internal);
}

static void build_transforms(
	struct ipsec_parser *p, const struct ast_isa *ast, struct sa_spec *spec)
{
	const struct ast_ixforms *x = &ast->xforms;

	if (x->group.text)
		conf_error(p->diags, &x->group.pos,
			"a group in a manual SA, expected auth, enc or "
			"comp");
	if (x->comp.text && (ast->satype != IPSEC_SATYPE_IPCOMP || strcmp(x->comp.text, "deflate")))
		conf_error(p->diags, &x->comp.pos, "comp %s, expected deflate with ipcomp",
			x->comp.text);
	if (ast->satype == IPSEC_SATYPE_ESP)
		build_esp(p, ast, spec);
	else if (ast->satype == IPSEC_SATYPE_AH)
		build_ah(p, ast, spec);
	else if (ast->satype == IPSEC_SATYPE_IPCOMP)
		spec->sa[0].comp = spec->sa[1].comp = "deflate";
	else if (ast->satype == IPSEC_SATYPE_TCPMD5 && !ast->authkey.a.text)
		conf_error(
			p->diags, &ast->pos, "no authentication key specified, expected authkey");
	if (ast->satype != IPSEC_SATYPE_ESP && ast->has_udpencap)
		conf_error(p->diags, &ast->pos, "udpencap, expected with esp only");
}

static void add_one(struct ipsec_parser *p, const struct ast_isa *ast, const struct sa_spec *spec,
	size_t which, const struct ip_prefix *src, const struct ip_prefix *dst)
{
	struct ipsec_rule *r = ipsec_rule_new(p, IPSEC_RULE_SA, &ast->pos);

	if (!r)
		return;
	r->satype = ast->satype;
	r->sa = spec->sa[which];
	r->sa.spi = spec->spi[which];
	r->sa.src = src->addr;
	r->sa.dst = dst->addr;
	r->sa.mode = ast->satype == IPSEC_SATYPE_TCPMD5 ? IPC_MODE_TRANSPORT : IPC_MODE_TUNNEL;
	if (ast->mode.is_set)
		r->sa.mode = (uint8_t)ast->mode.value;
	r->sa.has_udpencap = ast->has_udpencap;
	r->sa.bundle = conf_strdup(&p->arena, ast->bundle.text);
	if (ast->udpencap_port.text)
		r->sa.udpencap_port = conf_resolve_port(
			p->resolver, p->diags, ast->udpencap_port.text, &ast->udpencap_port.pos);
}

static bool all_hosts(
	struct ipsec_parser *p, const struct ast_ihost *h, const struct ip_prefix *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].len != addr_bits(v[i].addr.family)) {
			conf_error(p->diags, &h->name.pos,
				"a network as end of an SA, expected one host");
			return false;
		}
	return n > 0;
}

static void expand(struct ipsec_parser *p, const struct ast_isa *ast, const struct sa_spec *spec)
{
	struct ip_prefix *from = arena_alloc(&p->arena, IPSEC_HOSTS_MAX * sizeof(*from));
	struct ip_prefix *to = arena_alloc(&p->arena, IPSEC_HOSTS_MAX * sizeof(*to));
	size_t n_from = ipsec_resolve_list(p, ast->hosts.from, from);
	size_t n_to = n_from ? ipsec_resolve_list(p, ast->hosts.to, to) : 0, n = 0;

	if (!all_hosts(p, ast->hosts.from, from, n_from) || !all_hosts(p, ast->hosts.to, to, n_to))
		return;
	for (size_t i = 0; i < n_from; i++)
		for (size_t j = 0; j < n_to; j++) {
			size_t before = p->diags->n_errors;

			if (from[i].addr.family != to[j].addr.family)
				continue;
			n++;
			add_one(p, ast, spec, 0, &from[i], &to[j]);
			if (spec->has_reverse)
				add_one(p, ast, spec, 1, &to[j], &from[i]);
			if (p->diags->n_errors > before)
				return;
		}
	if (n == 0)
		conf_error(p->diags, &ast->pos,
			"rule expands to no valid combination, expected from and to of one address "
			"family");
}

void ipsec_build_sa(struct ipsec_parser *p, struct ast_isa *ast)
{
	struct sa_spec *spec = arena_alloc(&p->arena, sizeof(*spec));
	const struct conf_string *port = ast->hosts.sport.text ? &ast->hosts.sport
							       : &ast->hosts.dport;
	size_t before = p->diags->n_errors;

	if (port->text)
		conf_error(p->diags, &port->pos, "a port in an SA, expected it in flows only");
	build_spi(p, &ast->spi, spec);
	if (build_key(p, &ast->authkey, "authkey", spec, true) &&
		build_key(p, &ast->enckey, "enckey", spec, false))
		build_transforms(p, ast, spec);
	if (p->diags->n_errors == before)
		expand(p, ast, spec);
}
