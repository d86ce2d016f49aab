#include <string.h>
#include <strings.h>

#include "controlplane/conf/iked_ast.h"

/*
 * `ikesa` and `childsa`: each is a proposal; a kind left out takes the defaults. Without enc and
 * auth there are two, as an AEAD cipher and an integrity algorithm exclude each other (RFC 7296
 * 3.3, RFC 5282 8).
 */

/* The default lists: names in order of preference. None is TRANSFORM_F_WEAK. */
static const char *const cbc[] = {"aes-256", "aes-192", "aes-128", NULL};
static const char *const gcm[] = {"aes-128-gcm", "aes-256-gcm", NULL};
static const char *const hmac[] = {"hmac-sha2-256", "hmac-sha2-384", "hmac-sha2-512", NULL};
static const char *const groups[] = {
	"curve25519", "ecp521", "ecp384", "ecp256", "modp4096", "modp3072", "modp2048", NULL};
static const char *const no_group[] = {"none", NULL};
static const char *const esn[] = {"esn", "noesn", NULL};

static struct ike_transform_list *list_of(struct ike_proposal *pr, enum transform_type type)
{
	switch (type) {
	case TRANSFORM_ENCR:
		return &pr->encr;
	case TRANSFORM_PRF:
		return &pr->prf;
	case TRANSFORM_INTEG:
		return &pr->integ;
	case TRANSFORM_DH:
		return &pr->dh;
	default:
		return &pr->esn;
	}
}

static void fill(struct ike_proposal *pr, enum transform_type type, const char *const *names)
{
	struct ike_transform_list *list = list_of(pr, type);

	if (pr->explicit_kinds & 1u << type)
		return;
	for (; *names; names++)
		list->t[list->n++] = transform_by_name(type, *names);
}

/* "a, b, c": what may stand after the keyword. */
static void valid_names(enum transform_type type, uint32_t usable, char *buf, size_t cap)
{
	const struct transform *t;
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; (t = transform_at(i)) != NULL && len < cap; i++) {
		if (t->type != type || !(t->flags & usable) ||
			(type == TRANSFORM_INTEG && t->id == INTEG_NONE))
			continue;
		len += (size_t)snprintf(buf + len, cap - len, "%s%s", len ? ", " : "", t->name);
	}
}

static void add_xform(
	struct iked_parser *p, struct ike_proposal *pr, bool is_child, const struct ast_xform *x)
{
	static const char *const words[] = {"", "enc", "prf", "auth", "group", "esn"};
	struct ike_transform_list *list = list_of(pr, x->kind);
	uint32_t usable = is_child ? TRANSFORM_F_ESP : TRANSFORM_F_IKE;
	const struct transform *t = transform_by_name(x->kind, x->name.text);
	char names[400];

	if (!t || !(t->flags & usable) || (x->kind == TRANSFORM_INTEG && t->id == INTEG_NONE)) {
		valid_names(x->kind, usable, names, sizeof(names));
		conf_error(p->diags, &x->name.pos,
			"%s not a valid transform for %s in %s, expected one of %s", x->name.text,
			words[x->kind], is_child ? "childsa" : "ikesa", names);
		return;
	}
	if (!is_child && x->kind == TRANSFORM_DH && t->id == DH_NONE) {
		conf_error(p->diags, &x->name.pos, "IKE group can not be \"none\".");
		return;
	}
	pr->explicit_kinds |= 1u << x->kind;
	if (list->n == IKE_TRANSFORMS_MAX) {
		conf_error(p->diags, &x->name.pos, "more than %d transforms of one kind",
			IKE_TRANSFORMS_MAX);
		return;
	}
	for (size_t i = 0; i < list->n; i++)
		if (list->t[i] == t)
			return;
	list->t[list->n++] = t;
	if (t->flags & TRANSFORM_F_KNOWN_ONLY)
		iked_feature(p, IKE_FEATURE_TRANSFORM, t->name, &x->name.pos);
}

static void add_xforms(struct iked_parser *p, struct ike_proposal *pr, bool is_child,
	const struct ast_xform *newest)
{
	const struct ast_xform *order[256];
	size_t n = 0;

	for (const struct ast_xform *x = newest; x && n < 256; x = x->next)
		order[n++] = x;
	while (n-- > 0)
		if (order[n]->name.text)
			add_xform(p, pr, is_child, order[n]);
}

static void check_mix(
	struct iked_parser *p, struct ike_proposal *pr, const struct ast_sa *sa, bool is_ah)
{
	size_t n_aead = 0;

	for (size_t i = 0; i < pr->encr.n; i++)
		n_aead += (pr->encr.t[i]->flags & TRANSFORM_F_AEAD) != 0;
	if (is_ah && pr->encr.n)
		conf_error(p->diags, &sa->pos, "ah does not provide encryption");
	else if (n_aead && n_aead < pr->encr.n)
		conf_error(p->diags, &sa->pos,
			"cannot mix encryption transforms with implicit and non-implicit "
			"authentication, expected another %s for one of them",
			pr->prf.n ? "ikesa" : "proposal");
	else if (n_aead && pr->integ.n)
		conf_error(p->diags, &sa->pos,
			"authentication is implicit for given encryption transforms, expected no "
			"auth beside them");
}

static struct ike_proposal *new_proposal(
	struct iked_parser *p, struct ike_policy *policy, bool is_child)
{
	if (is_child)
		return conf_grow(&p->arena, &policy->child_proposals, &policy->n_child_proposals,
			sizeof(struct ike_proposal));
	return conf_grow(&p->arena, &policy->ike_proposals, &policy->n_ike_proposals,
		sizeof(struct ike_proposal));
}

/* One proposal from what was written; `aead` chooses the cipher default. */
static void complete(struct iked_parser *p, struct ike_policy *policy,
	const struct ike_proposal *written, bool is_child, bool aead)
{
	struct ike_proposal *pr = new_proposal(p, policy, is_child);
	bool is_ah = is_child && policy->is_ah;

	*pr = *written;
	if (!is_ah)
		fill(pr, TRANSFORM_ENCR, aead ? gcm : cbc);
	if (is_ah || (pr->encr.n && !(pr->encr.t[0]->flags & TRANSFORM_F_AEAD)))
		fill(pr, TRANSFORM_INTEG, hmac);
	if (is_child) {
		fill(pr, TRANSFORM_DH, no_group);
		fill(pr, TRANSFORM_ESN, esn);
	} else {
		fill(pr, TRANSFORM_PRF, hmac);
		fill(pr, TRANSFORM_DH, groups);
	}
}

static void build_sa(
	struct iked_parser *p, struct ike_policy *policy, const struct ast_sa *sa, bool is_child)
{
	uint32_t cipher = 1u << TRANSFORM_ENCR | 1u << TRANSFORM_INTEG;
	struct ike_proposal written = {0};

	if (sa) {
		add_xforms(p, &written, is_child, sa->xforms);
		check_mix(p, &written, sa, is_child && policy->is_ah);
	}
	complete(p, policy, &written, is_child, false);
	if (!(written.explicit_kinds & cipher) && !(is_child && policy->is_ah))
		complete(p, policy, &written, is_child, true);
}

static void build_sas(struct iked_parser *p, struct ike_policy *policy, const struct ast_sa *newest,
	bool is_child)
{
	const struct ast_sa *order[64];
	size_t n = 0;

	for (const struct ast_sa *sa = newest; sa; sa = sa->next) {
		if (n == 64) {
			conf_error(p->diags, &sa->pos, "more than 64 proposals in a policy");
			break;
		}
		order[n++] = sa;
	}
	if (n == 0)
		build_sa(p, policy, NULL, is_child);
	while (n-- > 0)
		build_sa(p, policy, order[n], is_child);
}

void iked_build_proposals(struct iked_parser *p, struct ike_policy *policy, struct ast_policy *ast)
{
	build_sas(p, policy, ast->ikesas, false);
	build_sas(p, policy, ast->childsas, true);
}
