#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "controlplane/auth/sign.h"
#include "controlplane/ike/auth_blob.h"
#include "controlplane/ike/auth_steps.h"
#include "controlplane/ike/policy_select.h"
#include "shared/wipe.h"

/*
 * AUTH values (RFC 7296 2.15): what they cover is made here, private keys and PSKs stay in the
 * key process. One request an SA is out; it has a serial number and a deadline, and an answer
 * with another number, or a second one, is ignored and counted.
 */

enum { REFUSED_KEEP_MS = 10 * 1000 };

static void ask(struct ike_sa *sa, enum ike_wait wait, struct ike_request_ref *ref)
{
	struct ike_engine *engine = sa->engine;

	sa->wait = wait;
	sa->wait_serial = engine->next_serial++;
	sa->wait_deadline_ms = engine->now_ms + REQUEST_DEADLINE_MS;
	*ref = (struct ike_request_ref){
		.sa = sa->handle, .generation = sa->generation, .serial = sa->wait_serial};
}

static void asked_done(struct ike_sa *sa)
{
	sa->wait = IKE_WAIT_NONE;
	sa->wait_deadline_ms = UINT64_MAX;
}

/* message | nonce | prf(SK_p, ID), for us or for the peer. NULL on failure. */
static uint8_t *make_octets(const struct ike_sa *sa, bool ours, struct bytes id_body, size_t *len)
{
	const struct ike_handshake *hs = sa->handshake;
	bool by_initiator = ours == sa->is_initiator;
	struct ike_auth_input in = {.prf = sa->suite.prf,
		.id_body = id_body,
		.sk_p = {by_initiator ? sa->keys.sk_pi : sa->keys.sk_pr, sa->keys.prf_len}};

	if (ours) {
		in.real_message = (struct bytes){hs->our_init, hs->our_init_len};
		in.nonce = (struct bytes){hs->peer_nonce.data, hs->peer_nonce.len};
	} else {
		in.real_message = (struct bytes){hs->peer_init, hs->peer_init_len};
		in.nonce = (struct bytes){hs->our_nonce.data, hs->our_nonce.len};
	}
	size_t cap = ike_auth_octets_len(&in);
	uint8_t *octets = malloc(cap ? cap : 1);

	if (octets && ike_auth_octets(&in, octets, cap, len) < 0) {
		free(octets);
		return NULL;
	}
	return octets;
}

static void fill_auth_request(struct ike_sa *sa, struct ike_auth_request *r,
	enum ike_auth_request_kind kind, uint8_t *octets, size_t len)
{
	const struct ike_handshake *hs = sa->handshake;

	r->kind = kind;
	r->config_version = sa->engine->config_version;
	r->policy_number = sa->policy->number;
	r->auth = sa->policy->auth;
	r->prf_id = sa->suite.prf->id;
	r->peer_hashes = hs->peer_hashes;
	r->allow_sha1 = sa->policy->auth == IKE_AUTH_RSA;
	r->wanted_keys = hs->wanted_keys;
	r->peer_used_pss = hs->peer_used_pss;
	r->local = sa->local_id;
	r->peer = sa->peer_id;
	r->octets = octets;
	r->octets_len = len;
}

void auth_ask_own(struct ike_sa *sa)
{
	uint8_t body[IKE_ID_MAXLEN + 8];
	size_t body_len = ike_id_body(&sa->local_id, body, sizeof(body)), len = 0;
	uint8_t *octets = make_octets(sa, true, (struct bytes){body, body_len}, &len);
	struct ike_action *action = octets ? ike_action_add(sa->engine->out, IKE_ACT_AUTH_REQUEST)
					   : NULL;

	if (!action) {
		free(octets);
		ike_sa_close(sa, "authentication failed");
		return;
	}
	fill_auth_request(sa, &action->auth,
		policy_uses_psk(sa->policy) ? IKE_AUTH_REQUEST_PSK : IKE_AUTH_REQUEST_SIGN, octets,
		len);
	ask(sa, IKE_WAIT_OWN_AUTH, &action->auth.ref);
	ike_sa_update_timer(sa);
}

int auth_park(struct ike_sa *sa, const struct ike_message *m)
{
	struct ike_handshake *hs = sa->handshake;
	const struct ike_engine *engine = sa->engine;

	if (hs->parked) {
		wipe(hs->parked, hs->parked_len);
		free(hs->parked);
	}
	hs->parked_len = engine->inner.len;
	hs->parked_first = engine->inner_first;
	hs->parked = malloc(hs->parked_len ? hs->parked_len : 1);
	if (!hs->parked)
		return -1;
	memcpy(hs->parked, engine->inner.data, hs->parked_len);
	/* A header alone: the payloads are appended to it by auth_unpark. */
	memcpy(hs->parked_header, m->raw.data, IKE_HEADER_LEN);
	hs->parked_header[16] = IKE_PAYLOAD_NONE;
	memset(hs->parked_header + 24, 0, 4);
	hs->parked_header[27] = IKE_HEADER_LEN;
	return 0;
}

int auth_unpark(struct ike_sa *sa)
{
	struct ike_handshake *hs = sa->handshake;
	struct ike_message *m = sa->engine->msg;

	if (ike_message_decode(hs->parked_header, IKE_HEADER_LEN, m) < 0)
		return -1;
	return ike_message_decode_inner(m, hs->parked_first, hs->parked, hs->parked_len);
}

static bool method_fits(const struct ike_sa *sa, uint8_t method)
{
	bool is_psk = method == IKE_AUTHNUM_PSK;

	if (is_psk == policy_uses_psk(sa->policy))
		return true;
	sa_log(sa, LOG_LVL_WARN, "unexpected auth method %s, was expecting %s",
		ike_auth_number_str(method), policy_uses_psk(sa->policy) ? "PSK" : "a signature");
	return false;
}

static int ask_pubkey(struct ike_sa *sa, const struct ike_message *m)
{
	const struct ike_payload *cert = ike_message_next(m, NULL, IKE_PAYLOAD_CERT);
	struct ike_action *action = ike_action_add(sa->engine->out, IKE_ACT_PUBKEY_REQUEST);

	if (!action)
		return -1;
	struct ike_pubkey_request *r = &action->pubkey;

	r->config_version = sa->engine->config_version;
	r->policy_number = sa->policy->number;
	r->auth = sa->policy->auth;
	r->peer = sa->peer_id;
	r->local = sa->local_id;
	if (cert) {
		r->cert = malloc(cert->cert.data.len ? cert->cert.data.len : 1);
		if (!r->cert)
			return -1;
		memcpy(r->cert, cert->cert.data.data, cert->cert.data.len);
		r->cert_len = cert->cert.data.len;
		r->cert_encoding = cert->cert.encoding;
	}
	ask(sa, IKE_WAIT_PUBKEY, &r->ref);
	return 0;
}

void auth_check_peer(struct ike_sa *sa, const struct ike_message *m)
{
	struct ike_handshake *hs = sa->handshake;
	const struct ike_payload *id = sa->is_initiator ? m->idr : m->idi;

	if (!m->auth || !method_fits(sa, m->auth->auth.method)) {
		auth_refuse(sa, "authentication failed");
		return;
	}
	size_t len = 0;
	uint8_t *octets = make_octets(sa, false, id->id.body, &len);

	if (!octets) {
		auth_refuse(sa, "authentication failed");
		return;
	}
	if (policy_uses_psk(sa->policy)) {
		struct ike_action *action = ike_action_add(sa->engine->out, IKE_ACT_AUTH_REQUEST);

		if (!action) {
			free(octets);
			return;
		}
		fill_auth_request(sa, &action->auth, IKE_AUTH_REQUEST_PSK_PEER, octets, len);
		ask(sa, IKE_WAIT_PSK_PEER, &action->auth.ref);
	} else {
		free(hs->peer_octets);
		hs->peer_octets = octets;
		hs->peer_octets_len = len;
		if (ask_pubkey(sa, m) < 0)
			auth_refuse(sa, "authentication failed");
	}
	if (sa->state != IKE_SA_CLOSED)
		ike_sa_update_timer(sa);
}

/* ---- answers ---------------------------------------------------------------------------- */

static struct ike_sa *find_asked(struct ike_engine *engine, const struct ike_request_ref *ref)
{
	struct ike_sa *sa = ike_sa_by_handle(engine, ref->sa);

	if (sa && sa->generation == ref->generation && sa->wait != IKE_WAIT_NONE &&
		sa->wait_serial == ref->serial)
		return sa;
	engine->stats.answers_ignored++;
	return NULL;
}

static void peer_verified(struct ike_sa *sa)
{
	char id[IKE_ID_STRLEN];

	sa_log(sa, LOG_LVL_INFO, "peer %s authenticated: %s", ike_id_str(&sa->peer_id, id),
		sa->auth_text);
	if (sa->is_initiator) {
		auth_complete_initiator(sa);
		return;
	}
	ike_sa_set_state(sa, IKE_SA_AUTH_SUCCESS);
	auth_ask_own(sa);
}

static void own_auth_answered(struct ike_sa *sa, const struct ike_auth_answer *answer)
{
	char id[IKE_ID_STRLEN];

	if (answer->error || !answer->len || answer->len > IKE_AUTH_DATA_MAX) {
		/* Field case B07: this policy waits longer and longer, the others go on. */
		sa_log(sa, LOG_LVL_WARN, "no usable key for %s (policy '%s'): %s",
			ike_id_str(&sa->local_id, id), sa->policy->name,
			answer->text ? answer->text : "request refused");
		initiate_failed(sa->engine, sa->policy->number, true);
		auth_refuse(sa, "no credential");
		return;
	}
	if (answer->text)
		sa_log(sa, LOG_LVL_INFO, "using %s for %s, %s", answer->text,
			ike_id_str(&sa->local_id, id), ike_auth_number_str(answer->method));
	if (answer->method == IKE_AUTHNUM_RSA_SHA1)
		sa_log(sa, LOG_LVL_WARN, "the peer announced no hashes: signing with SHA1");
	if (sa->is_initiator)
		auth_send_request(sa, answer);
	else
		auth_send_answer(sa, answer);
}

static void psk_peer_answered(struct ike_sa *sa, const struct ike_auth_answer *answer)
{
	const struct ike_message *m = sa->engine->msg;
	char id[IKE_ID_STRLEN];

	if (auth_unpark(sa) < 0 || answer->error || !answer->len ||
		answer->len != m->auth->auth.data.len ||
		!ct_equal(answer->data, m->auth->auth.data.data, answer->len)) {
		sa_log(sa, LOG_LVL_WARN, "authentication failed for %s: pre-shared key differs",
			ike_id_str(&sa->peer_id, id));
		auth_refuse(sa, "authentication failed");
		return;
	}
	memcpy(sa->auth_text, "PSK (method 2)", sizeof("PSK (method 2)"));
	peer_verified(sa);
}

void auth_answer_input(struct ike_engine *engine, const struct ike_auth_answer *answer)
{
	struct ike_sa *sa = find_asked(engine, &answer->ref);

	if (!sa)
		return;
	enum ike_wait wait = sa->wait;

	if (wait != IKE_WAIT_OWN_AUTH && wait != IKE_WAIT_PSK_PEER) {
		engine->stats.answers_ignored++;
		return;
	}
	asked_done(sa);
	if (wait == IKE_WAIT_OWN_AUTH)
		own_auth_answered(sa, answer);
	else
		psk_peer_answered(sa, answer);
	if (sa->state != IKE_SA_CLOSED) {
		ike_tasks_run(sa);
		ike_sa_update_timer(sa);
	}
}

static struct auth_rules rules_of(const struct ike_policy *policy)
{
	struct auth_rules rules = {.hashes = AUTH_HASHES_DEFAULT};

	switch (policy->auth) {
	case IKE_AUTH_RSA:
		rules.kind = AUTH_KEY_RSA;
		rules.allow_rsa_sha1 = true;
		break;
	case IKE_AUTH_ECDSA256:
		rules.kind = AUTH_KEY_ECDSA;
		rules.curve_bits = 256;
		break;
	case IKE_AUTH_ECDSA384:
		rules.kind = AUTH_KEY_ECDSA;
		rules.curve_bits = 384;
		break;
	case IKE_AUTH_ECDSA521:
		rules.kind = AUTH_KEY_ECDSA;
		rules.curve_bits = 521;
		break;
	case IKE_AUTH_RFC7427:
		rules.method = IKE_AUTHNUM_SIGNATURE;
		break;
	default:
		break;
	}
	return rules;
}

static int verify_peer(struct ike_sa *sa, const struct ike_pubkey_answer *answer)
{
	struct ike_handshake *hs = sa->handshake;
	const struct ike_message *m = sa->engine->msg;
	struct auth_rules rules = rules_of(sa->policy);
	struct auth_scheme used = {0};
	const unsigned char *at = answer->spki;
	struct bytes octets = {hs->peer_octets, hs->peer_octets_len};

	if (answer->spki_len > IKE_PUBKEY_MAX || auth_unpark(sa) < 0)
		return -IKE_WIRE_E_KEY;
	EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)answer->spki_len);

	if (!key)
		return -IKE_WIRE_E_KEY;
	int rc = auth_verify(key, m->auth->auth.method, m->auth->auth.data, octets, &rules, &used);

	auth_scheme_str(&used, auth_key_kind(key), sa->auth_text);
	if (rc == 0 && used.method == IKE_AUTHNUM_RSA_SHA1)
		sa_log(sa, LOG_LVL_WARN,
			"the peer signed with SHA1, which `rsa` in policy '%s' allows",
			sa->policy->name);
	hs->peer_used_pss = used.is_pss;
	EVP_PKEY_free(key);
	return rc;
}

void pubkey_answer_input(struct ike_engine *engine, const struct ike_pubkey_answer *answer)
{
	struct ike_sa *sa = find_asked(engine, &answer->ref);
	char id[IKE_ID_STRLEN];

	if (!sa)
		return;
	if (sa->wait != IKE_WAIT_PUBKEY) {
		engine->stats.answers_ignored++;
		return;
	}
	asked_done(sa);
	if (answer->error || !answer->spki_len) {
		sa_log(sa, LOG_LVL_WARN, "authentication failed for %s: %s",
			ike_id_str(&sa->peer_id, id),
			answer->text ? answer->text : "no public key is known");
		initiate_failed(engine, sa->policy->number, true);
		auth_refuse(sa, "authentication failed");
		return;
	}
	int rc = verify_peer(sa, answer);

	if (rc < 0) {
		sa_log(sa, LOG_LVL_WARN,
			"ikev2_msg_authverify failed: authentication failed for %s: %s",
			ike_id_str(&sa->peer_id, id), ike_wire_error_str(rc));
		auth_refuse(sa, "authentication failed");
	} else {
		peer_verified(sa);
	}
	if (sa->state != IKE_SA_CLOSED) {
		ike_tasks_run(sa);
		ike_sa_update_timer(sa);
	}
}

void auth_wait_timeout(struct ike_sa *sa)
{
	enum ike_wait wait = sa->wait;

	asked_done(sa);
	if (wait == IKE_WAIT_ROUTE)
		ike_sa_close(sa, "no answer about the route");
	else
		auth_refuse(sa, "the key process did not answer");
}

void auth_refuse(struct ike_sa *sa, const char *reason)
{
	struct ike_engine *engine = sa->engine;

	engine->stats.auth_failed++;
	ike_event(engine, IKE_EVENT_AUTH_FAILED, sa->handle, "%s", reason);
	asked_done(sa);
	if (sa->is_initiator && sa->request.type != IKE_TASK_AUTH) {
		ike_sa_close(sa, reason); /* the peer has heard nothing yet */
		return;
	}
	sa->close_reason = reason;
	if (sa->is_initiator) {
		/* RFC 7296 2.21.2: told in an INFORMATIONAL, as the peer holds the SA valid. */
		struct ike_builder *b = ike_builder_begin(engine);

		ike_request_done(sa);
		ike_put_notify(b, IKE_N_AUTHENTICATION_FAILED, NULL, 0);
		ike_put_delete_ike(b);
		ike_sa_set_state(sa, IKE_SA_CLOSING);
		ike_request_send(sa, IKE_TASK_DELETE_IKE, IKE_EXCHANGE_INFORMATIONAL, b);
	} else {
		/* The SA stays a moment for repeats of the request, still counted as half-open. */
		ike_response_error(sa, IKE_EXCHANGE_AUTH, 1, IKE_N_AUTHENTICATION_FAILED, NULL, 0);
		if (sa->state == IKE_SA_CLOSED)
			return;
		ike_sa_set_state(sa, IKE_SA_CLOSING);
		sa->half_open_until_ms = engine->now_ms + REFUSED_KEEP_MS;
	}
	if (sa->state != IKE_SA_CLOSED)
		ike_sa_update_timer(sa);
}

/*
 * RFC 7296 2.4: INITIAL_CONTACT of an authenticated identity ends its other SAs, without
 * DELETE; so does `set enforcesingleikesa`. Other identities at the same address stay.
 */
void auth_replace_others(struct ike_sa *sa)
{
	struct ike_engine *engine = sa->engine;
	char id[IKE_ID_STRLEN];
	bool replaces = sa->initial_contact ||
			(engine->config && engine->config->enforce_single_ikesa);

	for (struct ike_sa *other; replaces && (other = ike_sa_same_peer(sa)) != NULL;) {
		/* Its policy is served by the new one. */
		other->is_superseded = true;
		ike_sa_close(other, "sa replaced");
	}
	ike_id_str(&sa->peer_id, id);
	held_delete_identity(engine, id);
	session_begin(sa, replaces);
}

void auth_finish(struct ike_sa *sa)
{
	const struct transform *integ = ike_suite_integ(&sa->suite);
	char peer[ENDPOINT_STRLEN], local[ENDPOINT_STRLEN], pid[IKE_ID_STRLEN], lid[IKE_ID_STRLEN];

	ike_sa_established(sa);
	sa_log(sa, LOG_LVL_INFO,
		"established peer %s[%s] local %s[%s] policy '%s' as %s (enc %s%s%s group %s prf "
		"%s)",
		endpoint_str(&sa->remote, peer), ike_id_str(&sa->peer_id, pid),
		endpoint_str(&sa->local, local), ike_id_str(&sa->local_id, lid), sa->policy->name,
		sa->is_initiator ? "initiator" : "responder", sa->suite.encr->name,
		integ ? " auth " : "", integ ? integ->name : "", sa->suite.dh->name,
		sa->suite.prf->name);
}
