#include "tests/unit/conf/same_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controlplane/conf/iked_conf.h"

#define SAME(field) assert_int_equal(a->field, b->field)
#define SAME_ID(field)                                                           \
	do {                                                                     \
		SAME(field.type);                                                \
		SAME(field.len);                                                 \
		assert_memory_equal(a->field.data, b->field.data, a->field.len); \
	} while (0)

static void same_prefix(const struct ip_prefix *a, const struct ip_prefix *b)
{
	assert_true(prefix_equal(a, b));
}

static void same_text(const char *a, const char *b)
{
	if (a)
		assert_string_equal(a, b);
	else
		assert_null(b);
}

static void same_pos(const struct conf_pos *a, const struct conf_pos *b)
{
	same_text(a->file, b->file);
	SAME(line);
	SAME(column);
}

static void same_side(
	const struct ike_flow_side *a, const struct ike_flow_side *b, unsigned int flags)
{
	same_prefix(&a->prefix, &b->prefix);
	SAME(port);
	SAME(is_dynamic);
	if (flags & SAME_PLACES)
		SAME(is_any_word);
}

static void same_host(const struct ike_host *a, const struct ike_host *b, unsigned int flags)
{
	SAME(is_any);
	if (flags & SAME_PLACES)
		SAME(is_written);
	if (!a->is_any)
		same_prefix(&a->prefix, &b->prefix);
}

static void same_transforms(const struct ike_transform_list *a, const struct ike_transform_list *b)
{
	SAME(n);
	for (uint8_t i = 0; i < a->n; i++)
		assert_ptr_equal(a->t[i], b->t[i]);
}

static void same_proposals(
	const struct ike_proposal *a, const struct ike_proposal *b, size_t n, unsigned int flags)
{
	for (; n > 0; n--, a++, b++) {
		same_transforms(&a->encr, &b->encr);
		same_transforms(&a->prf, &b->prf);
		same_transforms(&a->integ, &b->integ);
		same_transforms(&a->dh, &b->dh);
		same_transforms(&a->esn, &b->esn);
		if (flags & SAME_PLACES)
			SAME(explicit_kinds);
	}
}

static void same_lists(const struct ike_policy *a, const struct ike_policy *b, unsigned int flags)
{
	SAME(n_protos);
	if (a->n_protos > 0)
		assert_memory_equal(a->protos, b->protos, a->n_protos);
	SAME(n_flows);
	for (size_t i = 0; i < a->n_flows; i++) {
		same_side(&a->flows[i].src, &b->flows[i].src, flags);
		same_side(&a->flows[i].dst, &b->flows[i].dst, flags);
		SAME(flows[i].has_srcnat);
		same_prefix(&a->flows[i].srcnat, &b->flows[i].srcnat);
		SAME(flows[i].proto);
	}
	SAME(n_cp);
	for (size_t i = 0; i < a->n_cp; i++) {
		same_text(a->cp[i].name, b->cp[i].name);
		SAME(cp[i].is_request);
		SAME(cp[i].is_any);
		same_prefix(&a->cp[i].value, &b->cp[i].value);
	}
	SAME(n_ike_proposals);
	same_proposals(a->ike_proposals, b->ike_proposals, a->n_ike_proposals, flags);
	SAME(n_child_proposals);
	same_proposals(a->child_proposals, b->child_proposals, a->n_child_proposals, flags);
}

static void same_secrets(const struct ike_policy *a, const struct ike_policy *b)
{
	SAME(psk_len);
	if (a->psk_len)
		assert_memory_equal(a->psk, b->psk, a->psk_len);
	same_text(a->psk_file_missing, b->psk_file_missing);
	same_text(a->srcid_text, b->srcid_text);
	same_text(a->dstid_text, b->dstid_text);
}

static void same_policy(const struct ike_policy *a, const struct ike_policy *b, unsigned int flags)
{
	same_text(a->name, b->name);
	SAME(number);
	if (flags & SAME_PLACES) {
		same_pos(&a->pos, &b->pos);
		same_pos(&a->dstid_pos, &b->dstid_pos);
	}
	if (flags & SAME_SECRETS)
		same_secrets(a, b);
	SAME(is_quick);
	SAME(is_skip);
	SAME(is_default);
	SAME(is_active);
	SAME(is_ipcomp);
	SAME(is_transport);
	SAME(is_natt);
	SAME(is_ah);
	SAME(family);
	SAME(has_rdomain);
	SAME(rdomain);
	same_lists(a, b, flags);
	same_host(&a->peer, &b->peer, flags);
	same_host(&a->local, &b->local, flags);
	SAME(has_srcid);
	SAME(has_dstid);
	SAME_ID(srcid);
	SAME_ID(dstid);
	SAME(ike_lifetime_s);
	SAME(child_lifetime_s);
	SAME(child_lifetime_bytes);
	SAME(auth);
	same_text(a->iface, b->iface);
	same_text(a->tag, b->tag);
	same_text(a->tap, b->tap);
}

static void same_radius(const struct ike_radius *a, const struct ike_radius *b)
{
	SAME(n_servers);
	for (size_t i = 0; i < a->n_servers; i++) {
		SAME(servers[i].is_accounting);
		assert_true(addr_equal(&a->servers[i].addr, &b->servers[i].addr));
		SAME(servers[i].port);
		same_text(a->servers[i].secret, b->servers[i].secret);
	}
	SAME(n_attributes);
	for (size_t i = 0; i < a->n_attributes; i++) {
		SAME(attributes[i].family);
		same_text(a->attributes[i].option, b->attributes[i].option);
		SAME(attributes[i].vendor);
		SAME(attributes[i].attribute);
	}
	SAME(n_dae_listen);
	for (size_t i = 0; i < a->n_dae_listen; i++) {
		assert_true(addr_equal(&a->dae_listen[i].addr, &b->dae_listen[i].addr));
		SAME(dae_listen[i].port);
	}
	SAME(n_dae_clients);
	for (size_t i = 0; i < a->n_dae_clients; i++) {
		assert_true(addr_equal(&a->dae_clients[i].addr, &b->dae_clients[i].addr));
		same_text(a->dae_clients[i].secret, b->dae_clients[i].secret);
	}
	for (size_t i = 0; i < 2; i++) {
		SAME(max_tries[i]);
		SAME(max_failovers[i]);
	}
}

static void same_users(const struct ike_config *a, const struct ike_config *b)
{
	SAME(n_users);
	for (size_t i = 0; i < a->n_users; i++) {
		same_text(a->users[i].name, b->users[i].name);
		same_text(a->users[i].password, b->users[i].password);
	}
	same_text(a->ocsp_url, b->ocsp_url);
	SAME(ocsp_tolerate_s);
	SAME(ocsp_maxage_s);
	assert_int_equal(!a->radius, !b->radius);
	if (a->radius)
		same_radius(a->radius, b->radius);
}

void same_config(const struct ike_config *a, const struct ike_config *b, unsigned int flags)
{
	SAME(is_passive);
	SAME(is_decoupled);
	SAME(dpd_interval_s);
	SAME(enforce_single_ikesa);
	SAME(sticky_address);
	SAME(fragmentation);
	SAME(mobike);
	SAME(vendorid);
	SAME(cert_partial_chain);
	if (flags & SAME_SECRETS)
		same_users(a, b);
	SAME(n_policies);
	for (size_t i = 0; i < a->n_policies; i++)
		same_policy(&a->policies[i], &b->policies[i], flags);
}
