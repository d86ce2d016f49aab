#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "controlplane/conf/iked_ast.h"
#include "controlplane/conf/resolve.h"
#include "shared/wipe.h"

#define PASSWORD_MAX 255
#define TIME_MAX 0x7fffffff

void iked_feature(struct iked_parser *p, enum ike_feature_kind kind, const char *detail,
	const struct conf_pos *pos)
{
	struct ike_feature *f = conf_grow(
		&p->arena, &p->config->features, &p->config->n_features, sizeof(*f));

	f->kind = kind;
	f->detail = conf_strdup(&p->arena, detail);
	f->pos = *pos;
	f->pos.macro = NULL;
}

/* Digits, then at most one letter of `units`; the value is multiplied by that unit's factor. */
static bool scaled(
	const char *text, const char *units, const uint64_t *factors, uint64_t max, uint64_t *out)
{
	size_t digits = strspn(text, "0123456789");
	const char *unit = NULL;
	uint64_t factor = 1;

	if (digits == 0 || digits > 18)
		return false;
	if (text[digits]) {
		for (unit = units; *unit && strncasecmp(unit, text + digits, 1) != 0;)
			unit++;
		if (!*unit || text[digits + 1])
			return false;
		factor = factors[unit - units];
	}
	*out = strtoull(text, NULL, 10);
	if (*out > max / factor)
		return false;
	*out *= factor;
	return true;
}

int64_t iked_time(struct iked_parser *p, const struct conf_string *s)
{
	static const uint64_t factors[] = {60, 3600};
	uint64_t v;

	if (scaled(s->text, "mh", factors, TIME_MAX, &v))
		return (int64_t)v;
	conf_error(p->diags, &s->pos, "'%s' is not a time, expected seconds, Nm or Nh", s->text);
	return 0;
}

uint64_t iked_bytes(struct iked_parser *p, const struct conf_string *s)
{
	static const uint64_t factors[] = {1 << 10, 1 << 20, 1 << 30};
	uint64_t v;

	if (scaled(s->text, "kmg", factors, INT64_MAX, &v))
		return v;
	conf_error(p->diags, &s->pos, "'%s' is not a size, expected bytes, NK, NM or NG", s->text);
	return 0;
}

int64_t iked_number(struct iked_parser *p, const struct conf_string *s, const char *what,
	int64_t min, int64_t max)
{
	if (s->number >= min && s->number <= max)
		return s->number;
	conf_error(p->diags, &s->pos, "%s %s, expected %lld to %lld", what, s->text, (long long)min,
		(long long)max);
	return min;
}

void iked_set_ocsp(struct iked_parser *p, const struct conf_pos *pos, const struct conf_string *url,
	int64_t tolerate_s, int64_t maxage_s)
{
	iked_feature(p, IKE_FEATURE_OCSP, NULL, pos);
	if (strncasecmp(url->text, "http://", 7) != 0 || !url->text[7]) {
		conf_error(p->diags, &url->pos, "ocsp '%.80s', expected a quoted \"http://...\"",
			url->text);
		return;
	}
	free(p->config->ocsp_url);
	p->config->ocsp_url = conf_strdup(&p->arena, url->text);
	p->config->ocsp_tolerate_s = tolerate_s;
	p->config->ocsp_maxage_s = maxage_s;
}

void iked_add_user(struct iked_parser *p, const struct conf_pos *pos,
	const struct conf_string *name, const struct conf_string *password)
{
	struct ike_user *u = NULL;

	iked_feature(p, IKE_FEATURE_USER, name->text, pos);
	if (!name->text[0] || strlen(name->text) > 255)
		conf_error(p->diags, &name->pos, "a user's name of %zu bytes, expected 1 to 255",
			strlen(name->text));
	if (!password->text[0] || strlen(password->text) > PASSWORD_MAX)
		conf_error(p->diags, &password->pos, "a password of %zu bytes, expected 1 to %d",
			strlen(password->text), PASSWORD_MAX);
	for (size_t i = 0; i < p->config->n_users; i++)
		if (strcmp(p->config->users[i].name, name->text) == 0)
			u = &p->config->users[i];
	if (u) {
		conf_warning(p->diags, &name->pos,
			"user '%s' is in line %u too, this password counts", name->text,
			u->pos.line);
		wipe(u->password, strlen(u->password));
		free(u->password);
		u->password = NULL;
	} else {
		u = conf_grow(&p->arena, &p->config->users, &p->config->n_users, sizeof(*u));
		u->name = conf_strdup(&p->arena, name->text);
	}
	u->password = conf_strdup(&p->arena, password->text);
	u->pos = *pos;
	u->pos.macro = NULL;
}

static struct ike_radius *radius(struct iked_parser *p, const struct conf_pos *pos)
{
	iked_feature(p, IKE_FEATURE_RADIUS, NULL, pos);
	if (!p->config->radius) {
		p->config->radius = conf_calloc(&p->arena, 1, sizeof(struct ike_radius));
		for (size_t i = 0; i < 2; i++)
			p->config->radius->max_tries[i] = p->config->radius->max_failovers[i] = -1;
	}
	return p->config->radius;
}

static bool one_host(struct iked_parser *p, const struct ast_host *h, struct ip_addr *out)
{
	struct ip_prefix found[RESOLVE_MAX];

	if (h->has_len) {
		conf_error(p->diags, &h->len_pos, "a network, expected one host");
		return false;
	}
	if (conf_resolve(
		    p->resolver, p->diags, h->name.text, &h->name.pos, false, 0, NULL, found) == 0)
		return false;
	*out = found[0].addr;
	return true;
}

static uint16_t port_or(struct iked_parser *p, const struct conf_string *port, uint16_t otherwise)
{
	return port->text ? conf_resolve_port(p->resolver, p->diags, port->text, &port->pos)
			  : otherwise;
}

void iked_radius_server(struct iked_parser *p, const struct conf_pos *pos, bool is_accounting,
	const struct ast_host *host, const struct conf_string *secret)
{
	struct ike_radius *r = radius(p, pos);
	struct ike_radius_server *s = conf_grow(&p->arena, &r->servers, &r->n_servers, sizeof(*s));

	s->is_accounting = is_accounting;
	s->port = port_or(p, &host->port, is_accounting ? 1813 : 1812);
	s->secret = conf_strdup(&p->arena, secret->text);
	one_host(p, host, &s->addr);
}

void iked_radius_limit(struct iked_parser *p, const struct conf_pos *pos, bool is_accounting,
	bool is_failovers, const struct conf_string *value)
{
	struct ike_radius *r = radius(p, pos);

	if (is_failovers)
		r->max_failovers[is_accounting] = (int32_t)iked_number(
			p, value, "max-failovers", 0, 255);
	else
		r->max_tries[is_accounting] = (int32_t)iked_number(p, value, "max-tries", 1, 255);
}

/* Decimal or 0x, at most max. */
static uint32_t radius_number(struct iked_parser *p, const struct conf_string *s, uint32_t max)
{
	char *end;
	bool is_hex = strncasecmp(s->text, "0x", 2) == 0;
	unsigned long v = strtoul(s->text, &end, is_hex ? 16 : 10);

	if (*end || end == s->text || s->text[0] == '-' || v == 0 || v > max) {
		conf_error(p->diags, &s->pos, "RADIUS number %s, expected 1 to %u", s->text, max);
		return 0;
	}
	return (uint32_t)v;
}

void iked_radius_attribute(struct iked_parser *p, const struct conf_pos *pos, int family,
	const struct conf_string *option, const struct conf_string *vendor,
	const struct conf_string *attribute)
{
	struct ike_radius *r = radius(p, pos);
	struct ike_radius_attribute *a = conf_grow(
		&p->arena, &r->attributes, &r->n_attributes, sizeof(*a));

	a->family = (uint8_t)family;
	if (strcmp(option->text, "none") != 0)
		a->option = conf_strdup(&p->arena, option->text);
	a->vendor = vendor ? radius_number(p, vendor, 0xffffff) : 0;
	a->attribute = (uint8_t)radius_number(p, attribute, 255);
}

void iked_radius_dae_listen(
	struct iked_parser *p, const struct conf_pos *pos, const struct ast_host *host)
{
	struct ike_radius *r = radius(p, pos);
	struct endpoint *e = conf_grow(&p->arena, &r->dae_listen, &r->n_dae_listen, sizeof(*e));

	e->port = port_or(p, &host->port, 3799);
	one_host(p, host, &e->addr);
}

void iked_radius_dae_client(struct iked_parser *p, const struct conf_pos *pos,
	const struct ast_host *host, const struct conf_string *secret)
{
	struct ike_radius *r = radius(p, pos);
	struct ike_radius_client *c = conf_grow(
		&p->arena, &r->dae_clients, &r->n_dae_clients, sizeof(*c));

	c->secret = conf_strdup(&p->arena, secret->text);
	one_host(p, host, &c->addr);
}
