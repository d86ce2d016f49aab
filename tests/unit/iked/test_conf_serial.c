#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/conf/iked_conf.h"
#include "controlplane/iked/conf_serial.h"
#include "tests/unit/conf/same_config.h"

/* Random configurations, the same ones in every run. */
static uint64_t random_state;

static uint32_t rnd(uint32_t bound)
{
	random_state = random_state * 6364136223846793005u + 1442695040888963407u;
	return bound ? (uint32_t)(random_state >> 33) % bound : 0;
}

static bool flip(void)
{
	return rnd(2) == 1;
}

static char *random_text(void)
{
	size_t len = rnd(40);
	char *text = malloc(len + 1);

	for (size_t i = 0; i < len; i++)
		text[i] = (char)(1 + rnd(255));
	text[len] = '\0';
	return text;
}

static struct ip_prefix random_prefix(void)
{
	static const uint8_t families[] = {0, 4, 6};
	struct ip_prefix p = {.addr = {.family = families[rnd(3)]}};

	for (size_t i = 0; i < addr_len(p.addr.family); i++)
		p.addr.b[i] = (uint8_t)rnd(256);
	p.len = (uint8_t)rnd(addr_bits(p.addr.family) + 1u);
	prefix_mask(&p);
	return p;
}

static struct ike_id random_id(void)
{
	struct ike_id id = {.type = (uint8_t)rnd(12), .len = (uint16_t)rnd(IKE_ID_MAXLEN + 1)};

	for (uint16_t i = 0; i < id.len; i++)
		id.data[i] = (uint8_t)rnd(256);
	return id;
}

static void random_transforms(struct ike_transform_list *list)
{
	size_t n = 0;

	while (transform_at(n))
		n++;
	list->n = (uint8_t)rnd(IKE_TRANSFORMS_MAX + 1);
	for (uint8_t i = 0; i < list->n; i++)
		list->t[i] = transform_at(rnd((uint32_t)n));
}

static struct ike_proposal *random_proposals(size_t *n)
{
	struct ike_proposal *p;

	*n = 1 + rnd(3);
	p = calloc(*n, sizeof(*p));
	for (size_t i = 0; i < *n; i++) {
		random_transforms(&p[i].encr);
		random_transforms(&p[i].prf);
		random_transforms(&p[i].integ);
		random_transforms(&p[i].dh);
		random_transforms(&p[i].esn);
		p[i].explicit_kinds = rnd(64);
	}
	return p;
}

static struct ike_flow_side random_side(void)
{
	return (struct ike_flow_side){random_prefix(), (uint16_t)rnd(65536), flip(), flip()};
}

static void random_lists(struct ike_policy *p)
{
	p->n_protos = rnd(4);
	p->protos = p->n_protos ? malloc(p->n_protos) : NULL;
	for (size_t i = 0; i < p->n_protos; i++)
		p->protos[i] = (uint8_t)rnd(256);
	p->n_flows = rnd(5);
	p->flows = p->n_flows ? calloc(p->n_flows, sizeof(*p->flows)) : NULL;
	for (size_t i = 0; i < p->n_flows; i++)
		p->flows[i] = (struct ike_policy_flow){
			random_side(), random_side(), flip(), random_prefix(), (uint8_t)rnd(256)};
	p->n_cp = rnd(3);
	p->cp = p->n_cp ? calloc(p->n_cp, sizeof(*p->cp)) : NULL;
	for (size_t i = 0; i < p->n_cp; i++)
		p->cp[i] = (struct ike_cp_option){"address", flip(), flip(), random_prefix()};
	p->ike_proposals = random_proposals(&p->n_ike_proposals);
	p->child_proposals = random_proposals(&p->n_child_proposals);
}

static void random_policy(struct ike_policy *p, const struct ike_config *c)
{
	p->name = random_text();
	p->number = rnd(1000);
	p->pos = (struct conf_pos){c->files[rnd((uint32_t)c->n_files)], rnd(999), rnd(99), NULL};
	p->dstid_pos = p->pos;
	p->is_quick = flip();
	p->is_skip = flip();
	p->is_default = flip();
	p->is_active = flip();
	p->is_ipcomp = flip();
	p->is_transport = flip();
	p->is_natt = flip();
	p->is_ah = flip();
	p->family = (uint8_t)rnd(7);
	p->has_rdomain = flip();
	p->rdomain = rnd(256);
	random_lists(p);
	p->peer = (struct ike_host){flip(), flip(), random_prefix()};
	p->local = (struct ike_host){flip(), flip(), random_prefix()};
	p->has_srcid = flip();
	p->has_dstid = flip();
	p->srcid = random_id();
	p->dstid = random_id();
	p->ike_lifetime_s = rnd(UINT32_MAX);
	p->child_lifetime_s = rnd(UINT32_MAX);
	p->child_lifetime_bytes = (uint64_t)rnd(UINT32_MAX) << 20;
	p->auth = (enum ike_auth_method)rnd(IKE_AUTH_EAP_RADIUS + 1);
	p->psk = (uint8_t *)strdup("a secret that stays here");
	p->psk_len = strlen((const char *)p->psk);
	p->iface = flip() ? random_text() : NULL;
	p->tag = flip() ? random_text() : NULL;
	p->tap = flip() ? random_text() : NULL;
}

static struct ike_config *random_config(void)
{
	struct ike_config *c = calloc(1, sizeof(*c));

	c->is_passive = flip();
	c->is_decoupled = flip();
	c->dpd_interval_s = rnd(1000);
	c->enforce_single_ikesa = flip();
	c->sticky_address = flip();
	c->fragmentation = (enum ike_fragmentation)rnd(3);
	c->mobike = flip();
	c->vendorid = flip();
	c->cert_partial_chain = flip();
	c->n_files = 1 + rnd(3);
	c->files = calloc(c->n_files, sizeof(*c->files));
	for (size_t i = 0; i < c->n_files; i++) {
		c->files[i] = malloc(32);
		snprintf(c->files[i], 32, "/etc/file%zu", i);
	}
	c->n_policies = rnd(6);
	c->policies = c->n_policies ? calloc(c->n_policies, sizeof(*c->policies)) : NULL;
	for (size_t i = 0; i < c->n_policies; i++)
		random_policy(&c->policies[i], c);
	return c;
}

static void free_random(struct ike_config *config)
{
	for (size_t i = 0; i < config->n_policies; i++) {
		for (size_t k = 0; k < config->policies[i].n_cp; k++)
			config->policies[i].cp[k].name = NULL;
		free(config->policies[i].psk);
	}
	conf_serial_free(config);
}

static void round_trip(void **state)
{
	(void)state;
	for (unsigned int seed = 0; seed < 500; seed++) {
		struct ike_config *config, *back;
		uint8_t *data;
		size_t len;

		random_state = seed;
		config = random_config();
		data = conf_serial_write(config, &len);
		assert_non_null(data);
		assert_null(memmem(data, len, "a secret that stays here", 24));
		back = conf_serial_read(data, len);
		assert_non_null(back);
		same_config(config, back, SAME_PLACES);
		for (size_t i = 0; i < back->n_policies; i++) {
			/* Never the secret. */
			assert_null(back->policies[i].psk);
			assert_int_equal(back->policies[i].psk_len, 0);
		}
		conf_serial_free(back);
		/* One byte more or less is not it. */
		assert_null(conf_serial_read(data, len - 1));
		data = realloc(data, len + 1);
		data[len] = 0;
		assert_null(conf_serial_read(data, len + 1));
		free(data);
		free_random(config);
	}
}

/* A sender that was taken over: cut and changed bytes give NULL or a configuration, no more. */
static void damaged_bytes(void **state)
{
	struct ike_config *config;
	uint8_t *data, *copy;
	size_t len;

	(void)state;
	random_state = 4711;
	config = random_config();
	data = conf_serial_write(config, &len);
	copy = malloc(len);
	for (size_t cut = 0; cut < len; cut += 1 + len / 500)
		assert_null(conf_serial_read(data, cut));
	for (unsigned int i = 0; i < 20000; i++) {
		memcpy(copy, data, len);
		for (unsigned int k = 0; k <= rnd(3); k++)
			copy[rnd((uint32_t)len)] = (uint8_t)(flip() ? 0xff : rnd(256));
		conf_serial_free(conf_serial_read(copy, len));
	}
	free(copy);
	free(data);
	free_random(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(damaged_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
