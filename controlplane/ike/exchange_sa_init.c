#include <stdlib.h>
#include <string.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"
#include "controlplane/ike/message_rules.h"
#include "controlplane/ike/policy_select.h"
#include "shared/wipe.h"

/*
 * RFC 7296 1.2:
 *
 *	HDR, [N(COOKIE)], SAi1, KEi, Ni, N(NAT..), N(FRAG), N(HASH)  -->
 *	                 <--  HDR, SAr1, KEr, Nr, N(NAT..), N(FRAG), N(HASH)
 *	                 or:  HDR, N(COOKIE)   or:  HDR, N(INVALID_KE_PAYLOAD)
 *
 * A responder keeps nothing of a request that it answers with COOKIE, INVALID_KE_PAYLOAD or
 * another error.
 */
enum {
	NONCE_LEN = 32,
	COOKIES_MAX =
		3, /* RFC 7296 2.6.1: COOKIE, INVALID_KE_PAYLOAD, COOKIE may follow each other */
	INVALID_KES_MAX = 2,
	INITIATOR_HALF_OPEN_MS = 300 * 1000,
};

static const uint16_t our_hashes[] = {IKE_HASH_SHA2_256, IKE_HASH_SHA2_384, IKE_HASH_SHA2_512};

static uint8_t *copy_bytes(const void *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	if (copy)
		memcpy(copy, data, len);
	return copy;
}

static void put_common(struct ike_sa *sa, struct ike_builder *b)
{
	const struct ike_config *config = sa->engine->config;

	if (!sa->engine->p.no_nat_t)
		nat_put_notifies(sa, b);
	if (!config || config->fragmentation != IKE_FRAGMENTS_NONE)
		ike_put_notify(b, IKE_N_IKEV2_FRAGMENTATION_SUPPORTED, NULL, 0);
	/* RFC 7427 4: the hashes that we can verify. */
	ike_put_notify_hashes(b, our_hashes, sizeof(our_hashes) / sizeof(our_hashes[0]));
	if (config && config->vendorid)
		ike_put_vendor(b, "Penstock", 8);
}

/* Keeps the message for AUTH and for repeats, and sends it. */
static int keep_and_send(
	struct ike_sa *sa, struct ike_datagrams *d, size_t len, const struct ike_header *h)
{
	struct ike_handshake *hs = sa->handshake;
	uint8_t *copy = copy_bytes(sa->engine->scratch, len);

	ike_datagrams_fini(d);
	if (!copy || ike_datagrams_single(d, copy, len) < 0) {
		free(copy);
		return -1;
	}
	free(hs->our_init);
	hs->our_init = copy;
	hs->our_init_len = len;
	ike_log_send(sa, h, len);
	ike_transmit(sa, d, 0);
	return 0;
}

static int build_request(struct ike_sa *sa, const struct ike_header *h, size_t *len)
{
	struct ike_handshake *hs = sa->handshake;
	struct ike_builder *b = &sa->engine->builder;
	struct ike_offer offer;
	size_t ke_len;

	if (ike_offer_build(sa->policy->ike_proposals, sa->policy->n_ike_proposals, IKE_SUITE_IKE,
		    0, 0, &offer) < 0)
		return -1;
	if (!hs->group)
		hs->group = ike_offer_first_group(&offer);
	if (hs->dh && ike_dh_group(hs->dh) != hs->group) {
		ike_dh_destroy(hs->dh);
		hs->dh = NULL;
	}
	if (!hs->dh && ike_dh_create(hs->group, &sa->engine->rng, &hs->dh) < 0)
		return -1;
	const uint8_t *ke = ike_dh_public(hs->dh, &ke_len);

	ike_builder_init(b, sa->engine->scratch, IKE_MESSAGE_MAX, h);
	/* RFC 7296 2.6: the cookie is the first payload, the rest is as before. */
	if (hs->cookie_len)
		ike_put_notify(b, IKE_N_COOKIE, hs->cookie, hs->cookie_len);
	ike_put_sa(b, &offer);
	ike_put_ke(b, hs->group, ke, ke_len);
	ike_put_nonce(b, hs->our_nonce.data, hs->our_nonce.len);
	put_common(sa, b);
	return ike_builder_finish(b, len);
}

void sa_init_start(struct ike_sa *sa)
{
	struct ike_handshake *hs = sa->handshake;
	struct ike_header h = {.spi_i = sa->spi_i,
		.version = IKE_VERSION,
		.exchange = IKE_EXCHANGE_SA_INIT,
		.flags = IKE_FLAG_INITIATOR};
	size_t len;

	if (!hs->our_nonce.len) {
		hs->our_nonce.len = NONCE_LEN;
		engine_random(sa->engine, hs->our_nonce.data, NONCE_LEN);
		sa->half_open_until_ms = sa->engine->now_ms + INITIATOR_HALF_OPEN_MS;
	}
	if (build_request(sa, &h, &len) < 0 || keep_and_send(sa, &sa->request.bytes, len, &h) < 0) {
		ike_sa_close(sa, "failed to send SA_INIT");
		return;
	}
	sa->request.type = IKE_TASK_SA_INIT;
	sa->request.exchange = IKE_EXCHANGE_SA_INIT;
	sa->request.message_id = 0;
	sa->request.attempts = 0;
	sa->request.deadline_ms = sa->engine->now_ms + RETRANSMIT_MS;
	ike_sa_set_state(sa, hs->cookie_len ? IKE_SA_COOKIE : IKE_SA_SA_INIT);
}

/* RFC 7296 2.6: again, with the cookie; the group of an earlier INVALID_KE_PAYLOAD stays. */
static void cookie_input(struct ike_sa *sa, const struct ike_notify *n)
{
	struct ike_handshake *hs = sa->handshake;

	if (n->data.len < 1 || n->data.len > IKE_COOKIE_MAX || hs->n_cookies >= COOKIES_MAX) {
		sa->engine->stats.dropped_malformed++;
		return;
	}
	hs->n_cookies++;
	hs->cookie_len = (uint8_t)n->data.len;
	memcpy(hs->cookie, n->data.data, n->data.len);
	sa_init_start(sa);
}

/* RFC 7296 1.2, 2.7: again with the group that the responder wants, if we offered it. */
static void invalid_ke_input(struct ike_sa *sa, const struct ike_notify *n)
{
	struct ike_handshake *hs = sa->handshake;
	struct ike_offer offer;
	uint16_t group = n->data.len == 2 ? (uint16_t)(n->data.data[0] << 8 | n->data.data[1]) : 0;

	/* A late copy names the group that we have changed to already. */
	if (!group || group == hs->group || hs->n_invalid_ke >= INVALID_KES_MAX) {
		sa->engine->stats.dropped_state++;
		return;
	}
	if (ike_offer_build(sa->policy->ike_proposals, sa->policy->n_ike_proposals, IKE_SUITE_IKE,
		    0, 0, &offer) < 0 ||
		!ike_offer_has_group(&offer, group)) {
		ike_sa_close(sa, "unsupported group in INVALID_KE message");
		return;
	}
	sa->engine->stats.invalid_ke++;
	sa_log(sa, LOG_LVL_INFO, "peer wants group %u: reinitiating with new DH group", group);
	hs->n_invalid_ke++;
	hs->group = group;
	sa_init_start(sa);
}

static int derive_keys(struct ike_sa *sa, const struct ike_message *m)
{
	struct ike_handshake *hs = sa->handshake;
	uint8_t shared[IKE_DH_MAX_LEN];
	size_t shared_len;
	int rc = ike_dh_shared(hs->dh, m->ke->ke.value.data, m->ke->ke.value.len, shared,
		sizeof(shared), &shared_len);

	if (rc < 0)
		return rc;
	struct bytes ours = {hs->our_nonce.data, hs->our_nonce.len};
	struct bytes theirs = {hs->peer_nonce.data, hs->peer_nonce.len};
	struct ike_keymat_input in = {.ni = sa->is_initiator ? ours : theirs,
		.nr = sa->is_initiator ? theirs : ours,
		.shared = {shared, shared_len},
		.spi_i = sa->spi_i,
		.spi_r = sa->spi_r};

	rc = ike_keys_derive(&sa->suite, &in, &sa->keys);
	wipe(shared, sizeof(shared));
	if (rc < 0)
		return rc;
	ike_cipher_init(&sa->out, &sa->suite, &sa->keys, sa->is_initiator);
	ike_cipher_init(&sa->in, &sa->suite, &sa->keys, !sa->is_initiator);
	sa->has_keys = true;
	return 0;
}

/* What both sides read from the other's message. */
static int take_common(struct ike_sa *sa, const struct ike_message *m)
{
	struct ike_handshake *hs = sa->handshake;
	const struct ike_notify *hashes = ike_message_notify(m, IKE_N_SIGNATURE_HASH_ALGORITHMS);

	hs->peer_init = copy_bytes(m->raw.data, m->raw.len);
	hs->peer_init_len = m->raw.len;
	if (!hs->peer_init)
		return -1;
	hs->peer_nonce.len = (uint16_t)m->nonce->nonce.len;
	memcpy(hs->peer_nonce.data, m->nonce->nonce.data, m->nonce->nonce.len);
	if (hashes)
		hs->peer_hashes = auth_hashes_parse(hashes->data);
	hs->wanted_keys = ike_message_wanted_keys(m);
	sa->peer_does_fragments = ike_message_notify(m, IKE_N_IKEV2_FRAGMENTATION_SUPPORTED) !=
				  NULL;
	return 0;
}

/* RFC 7296 2.23: to the NAT-T port, with IKE_AUTH at the latest. */
static void float_to_nat_port(struct ike_sa *sa)
{
	if (sa->uses_marker || sa->engine->p.no_nat_t)
		return;
	sa->uses_marker = true;
	sa->local.port = sa->engine->p.nat_port;
	if (sa->remote.port == sa->engine->p.port)
		sa->remote.port = sa->engine->p.nat_port;
}

static void success_input(struct ike_sa *sa, const struct ike_message *m)
{
	struct ike_handshake *hs = sa->handshake;
	struct ike_offer sent;

	if (ike_offer_build(sa->policy->ike_proposals, sa->policy->n_ike_proposals, IKE_SUITE_IKE,
		    0, 0, &sent) < 0 ||
		ike_offer_check_answer(&sent, &m->offer, IKE_SUITE_IKE, hs->group, &sa->suite) <
			0 ||
		m->ke->ke.group != hs->group) {
		sa->engine->stats.proposals_failed++;
		ike_sa_close(sa, "SA_INIT response failed");
		return;
	}
	sa->spi_r = m->hdr.spi_r;
	if (take_common(sa, m) < 0 || derive_keys(sa, m) < 0) {
		ike_sa_close(sa, "SA_INIT response failed");
		return;
	}
	bool has_nat_t = nat_detect(sa, m, sa->spi_i, sa->spi_r);

	if (has_nat_t && ike_sa_uses_udp_encap(sa))
		float_to_nat_port(sa);
	ike_request_done(sa);
	sa->next_request_id = 1;
	auth_start(sa);
}

void sa_init_response_input(struct ike_sa *sa, const struct ike_datagram *in)
{
	struct ike_engine *engine = sa->engine;
	struct ike_message *m = engine->msg;
	const char *why = NULL;

	if (sa->request.type != IKE_TASK_SA_INIT || m->hdr.message_id != 0) {
		engine->stats.dropped_state++;
		engine->stats.msg_dropped++;
		return;
	}
	int rc = ike_message_decode(in->data, in->len, m);

	if (rc == 0)
		rc = ike_message_check(m, &why);
	if (rc < 0) {
		engine->stats.dropped_malformed++;
		engine->stats.msg_dropped++;
		sa_log(sa, LOG_LVL_DEBUG, "IKE_SA_INIT response dropped: %s",
			why ? why : ike_wire_error_str(rc));
		return;
	}
	ike_log_recv(sa, &m->hdr, in->len, sa->policy);
	const struct ike_notify *cookie = ike_message_notify(m, IKE_N_COOKIE);
	const struct ike_notify *error = ike_message_error(m);

	if (cookie && !m->sa) {
		cookie_input(sa, cookie);
	} else if (error && error->type == IKE_N_INVALID_KE_PAYLOAD) {
		invalid_ke_input(sa, error);
	} else if (error) {
		sa_log(sa, LOG_LVL_WARN, "peer answered IKE_SA_INIT with %s",
			ike_notify_str(error->type));
		engine->stats.proposals_failed += error->type == IKE_N_NO_PROPOSAL_CHOSEN;
		ike_sa_close(sa, error->type == IKE_N_NO_PROPOSAL_CHOSEN
					 ? "no proposal chosen (IKE SA)"
					 : "SA_INIT response failed");
	} else if (!m->sa || !m->ke || !m->nonce || !m->hdr.spi_r) {
		engine->stats.dropped_malformed++;
	} else {
		success_input(sa, m);
	}
	if (sa->state != IKE_SA_CLOSED)
		ike_sa_update_timer(sa);
}

/* ---- responder -------------------------------------------------------------------------- */

/* One notify as answer, of which nothing is remembered. */
static void answer_stateless(struct ike_engine *engine, const struct ike_datagram *in,
	uint16_t type, const void *data, size_t len)
{
	struct ike_header h = {.spi_i = engine->msg->hdr.spi_i,
		.version = IKE_VERSION,
		.exchange = IKE_EXCHANGE_SA_INIT,
		.flags = IKE_FLAG_RESPONSE};
	struct ike_builder *b = &engine->builder;
	char peer[ENDPOINT_STRLEN];
	size_t out_len;

	ike_builder_init(b, engine->scratch, IKE_MESSAGE_MAX, &h);
	ike_put_notify(b, type, data, len);
	if (ike_builder_finish(b, &out_len) < 0)
		return;
	struct ike_action *action = ike_action_add(engine->out, IKE_ACT_SEND);

	if (!action)
		return;
	action->send.data = copy_bytes(engine->scratch, out_len);
	if (!action->send.data)
		return;
	action->send.len = out_len;
	action->send.local = in->local;
	action->send.remote = in->remote;
	action->send.marker = in->has_marker;
	engine->stats.msg_sent++;
	if (log_limit_ok(&engine->drop_log, engine->now_ms))
		log_info(engine->p.log, "answered IKE_SA_INIT from %s with %s",
			endpoint_str(&in->remote, peer), ike_notify_str(type));
}

/* RFC 7296 2.6: true if the request may go on. */
static bool cookie_passes(struct ike_engine *engine, const struct ike_datagram *in, uint16_t bucket)
{
	const struct ike_message *m = engine->msg;
	const struct ike_notify *n = ike_message_notify(m, IKE_N_COOKIE);
	uint8_t cookie[IKE_COOKIE_LEN];

	if (engine->stats.half_open_current < engine->p.limits.cookie_threshold &&
		engine->half_open_by_ip[bucket] < engine->p.limits.max_half_open_per_ip / 2)
		return true;
	if (n && ike_cookie_check(&engine->cookies, n->data, m->nonce->nonce, &in->remote.addr,
			 m->hdr.spi_i))
		return true;
	engine->stats.cookies_bad += n != NULL;
	if (ike_cookie_make(
		    &engine->cookies, m->nonce->nonce, &in->remote.addr, m->hdr.spi_i, cookie) < 0)
		return false;
	engine->stats.cookies_sent++;
	answer_stateless(engine, in, IKE_N_COOKIE, cookie, sizeof(cookie));
	return false;
}

struct fit {
	const struct ike_offer *offer;
	uint16_t group;
};

static bool fits(void *ctx, const struct ike_policy *policy)
{
	const struct fit *fit = ctx;
	struct ike_suite suite;

	return ike_offer_select(fit->offer, policy->ike_proposals, policy->n_ike_proposals,
		       IKE_SUITE_IKE, fit->group, &suite) == 0;
}

static const struct ike_policy *select_policy(
	struct ike_engine *engine, const struct ike_datagram *in, struct ike_suite *suite)
{
	const struct ike_message *m = engine->msg;
	struct fit fit = {&m->offer, m->ke->ke.group};
	struct policy_question q = {.index = &engine->policies,
		.local = in->local.addr,
		.remote = in->remote.addr,
		.host_id = &engine->p.local_id,
		.fits = fits,
		.fits_ctx = &fit};
	const struct ike_policy *policy = policy_select(engine->config, &q, NULL, NULL);
	char peer[ENDPOINT_STRLEN];

	endpoint_str(&in->remote, peer);
	if (policy)
		return ike_offer_select(&m->offer, policy->ike_proposals, policy->n_ike_proposals,
			       IKE_SUITE_IKE, m->ke->ke.group, suite) == 0
			       ? policy
			       : NULL;
	q.fits = NULL;
	policy = policy_select(engine->config, &q, NULL, NULL);
	if (!policy) {
		engine->stats.dropped_no_policy++;
		engine->stats.msg_dropped++;
		if (log_limit_ok(&engine->drop_log, engine->now_ms))
			log_info(engine->p.log, "%s: dropped IKE_SA_INIT: no policy for this peer",
				peer);
		return NULL;
	}
	engine->stats.proposals_failed++;
	if (log_limit_ok(&engine->drop_log, engine->now_ms))
		ike_log_no_proposal(engine->p.log, peer, &m->offer, policy, IKE_SUITE_IKE);
	answer_stateless(engine, in, IKE_N_NO_PROPOSAL_CHOSEN, NULL, 0);
	return NULL;
}

static uint64_t init_key(const struct ike_engine *engine, const struct ike_datagram *in)
{
	struct {
		uint64_t addr, spi_i, port;
	} from = {engine_hash_addr(engine, &in->remote.addr), engine->msg->hdr.spi_i,
		in->remote.port};

	return engine_hash(engine, &from, sizeof(from));
}

static int answer_request(struct ike_sa *sa, const struct ike_message *m)
{
	struct ike_handshake *hs = sa->handshake;
	struct ike_builder *b = &sa->engine->builder;
	struct ike_header h = {.spi_i = sa->spi_i,
		.spi_r = sa->spi_r,
		.version = IKE_VERSION,
		.exchange = IKE_EXCHANGE_SA_INIT,
		.flags = IKE_FLAG_RESPONSE};
	struct ike_offer answer;
	size_t len, ke_len;

	if (take_common(sa, m) < 0 || ike_dh_create(m->ke->ke.group, &sa->engine->rng, &hs->dh) < 0)
		return -1;
	hs->group = m->ke->ke.group;
	hs->our_nonce.len = NONCE_LEN;
	engine_random(sa->engine, hs->our_nonce.data, NONCE_LEN);
	int rc = derive_keys(sa, m);

	if (rc < 0)
		return rc;
	nat_detect(sa, m, sa->spi_i, 0);
	const uint8_t *ke = ike_dh_public(hs->dh, &ke_len);

	ike_suite_answer(&sa->suite, 0, 0, &answer);
	ike_builder_init(b, sa->engine->scratch, IKE_MESSAGE_MAX, &h);
	ike_put_sa(b, &answer);
	ike_put_ke(b, hs->group, ke, ke_len);
	ike_put_nonce(b, hs->our_nonce.data, hs->our_nonce.len);
	put_common(sa, b);
	if (ike_builder_finish(b, &len) < 0)
		return -1;
	sa->expected_id = 1;
	sa->response_until_ms = sa->engine->now_ms + RESPONSE_KEEP_MS;
	ike_sa_set_state(sa, IKE_SA_SA_INIT);
	ike_log_recv(sa, &m->hdr, m->raw.len, sa->policy);
	return keep_and_send(sa, &sa->response, len, &h);
}

static void count_half_open(struct ike_sa *sa, uint16_t bucket, uint64_t key)
{
	struct ike_engine *engine = sa->engine;
	struct ike_handshake *hs = sa->handshake;

	hs->is_counted = true;
	hs->ip_bucket = bucket;
	engine->half_open_by_ip[bucket]++;
	engine->stats.half_open_current++;
	if (handle_map_insert(&engine->sa_by_init, 0, key, sa) == 0)
		hs->init_key = key;
	sa->half_open_until_ms = engine->now_ms + HALF_OPEN_MS;
}

static void accept_request(struct ike_engine *engine, const struct ike_datagram *in,
	const struct ike_policy *policy, const struct ike_suite *suite, uint16_t bucket)
{
	struct ike_message *m = engine->msg;
	struct ike_sa *sa = ike_sa_create(engine, false);

	if (!sa) {
		engine->stats.half_open_refused++;
		return;
	}
	sa->handshake = ike_handshake_create();
	ike_sa_set_policy(sa, policy);
	sa->spi_i = m->hdr.spi_i;
	sa->local = in->local;
	ike_sa_set_remote(sa, &in->remote);
	sa->uses_marker = in->has_marker;
	sa->suite = *suite;
	if (!sa->handshake) {
		ike_sa_close(sa, "no memory");
		return;
	}
	count_half_open(sa, bucket, init_key(engine, in));
	int rc = answer_request(sa, m);

	if (rc == -IKE_WIRE_E_KE) {
		/* A public value that no honest peer sends. */
		engine->stats.dropped_malformed++;
		ike_sa_close(sa, "received invalid KE as responder");
		return;
	}
	if (rc < 0) {
		ike_sa_close(sa, "failed to answer SA_INIT");
		return;
	}
	ike_sa_update_timer(sa);
}

/* The same request again: the same answer. */
static bool repeat_answered(struct ike_engine *engine, const struct ike_datagram *in)
{
	struct ike_sa *sa = handle_map_find(&engine->sa_by_init, 0, init_key(engine, in));

	if (!sa)
		return false;
	const struct ike_handshake *hs = sa->handshake;

	if (hs && hs->peer_init_len == in->len && memcmp(hs->peer_init, in->data, in->len) == 0)
		ike_response_repeat(sa);
	else
		engine->stats.dropped_state++;
	return true;
}

void sa_init_request_input(struct ike_engine *engine, const struct ike_datagram *in)
{
	struct ike_message *m = engine->msg;
	struct ike_suite suite;

	if (engine->is_stopping || !engine->config || repeat_answered(engine, in))
		return;
	int rc = ike_message_decode(in->data, in->len, m);

	if (rc == -IKE_WIRE_E_CRITICAL) {
		answer_stateless(
			engine, in, IKE_N_UNSUPPORTED_CRITICAL_PAYLOAD, &m->unsupported, 1);
		return;
	}
	if (rc < 0 || ike_message_check(m, NULL) < 0 || !m->sa || !m->ke || !m->nonce) {
		engine->stats.dropped_malformed++;
		engine->stats.msg_dropped++;
		return;
	}
	uint16_t bucket = (uint16_t)(engine_hash_addr(engine, &in->remote.addr) >> 40) % IP_BUCKETS;

	if (engine->stats.half_open_current >= engine->p.limits.max_half_open ||
		engine->half_open_by_ip[bucket] >= engine->p.limits.max_half_open_per_ip) {
		engine->stats.half_open_refused++;
		engine->stats.msg_dropped++;
		return;
	}
	if (!cookie_passes(engine, in, bucket))
		return;
	const struct ike_policy *policy = select_policy(engine, in, &suite);

	if (!policy)
		return;
	if (suite.dh->id != m->ke->ke.group) {
		uint8_t group[2] = {(uint8_t)(suite.dh->id >> 8), (uint8_t)suite.dh->id};

		engine->stats.invalid_ke++;
		answer_stateless(engine, in, IKE_N_INVALID_KE_PAYLOAD, group, sizeof(group));
		return;
	}
	accept_request(engine, in, policy, &suite, bucket);
}
