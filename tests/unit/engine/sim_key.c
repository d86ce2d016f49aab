#include <openssl/x509.h>

#include "controlplane/auth/sign.h"
#include "controlplane/ike/auth_blob.h"
#include "tests/unit/engine/sim.h"

/* The key service: answers after a while, sometimes twice. */

static void answer(struct sim_node *node, const struct ike_input *in)
{
	struct sim *sim = node->sim;
	const struct sim_faults *f = &sim->faults;

	if (node->keys_silent)
		return;
	sim_later(node, 1 + sim_random(sim, f->answer_jitter_ms + 1), in);
	if (sim_random(sim, 100) < f->answer_twice)
		sim_later(node, 1 + sim_random(sim, f->answer_jitter_ms + 1), in);
}

static void psk_value(struct sim_node *node, const struct ike_auth_request *r,
	struct ike_auth_answer *a, uint8_t *out)
{
	const struct transform *prf = transform_find(TRANSFORM_PRF, r->prf_id, 0);
	uint8_t pad[IKE_PRF_MAX_LEN];
	struct bytes psk = {
		(const uint8_t *)node->psk, node->psk ? __builtin_strlen(node->psk) : 0};
	struct bytes octets = {r->octets, r->octets_len};

	if (!node->psk || ike_auth_psk_pad(prf, psk, pad) < 0 ||
		ike_prf(prf, (struct bytes){pad, prf->out_len}, &octets, 1, out) < 0) {
		a->error = -1;
		return;
	}
	a->method = IKE_AUTHNUM_PSK;
	a->data = out;
	a->len = prf->out_len;
}

static void signature(struct sim_node *node, const struct ike_auth_request *r,
	struct ike_auth_answer *a, uint8_t *out, size_t cap)
{
	struct auth_rules rules = {.hashes = AUTH_HASHES_DEFAULT, .allow_rsa_sha1 = r->allow_sha1};
	struct auth_scheme scheme;
	struct bytes octets = {r->octets, r->octets_len};

	if (!node->key ||
		auth_scheme_choose(node->key, &rules, r->peer_hashes, NULL, &scheme) < 0 ||
		auth_sign(node->key, &scheme, octets, out, cap, &a->len) < 0) {
		a->error = -1;
		a->text = "no private key";
		return;
	}
	a->method = scheme.method;
	a->data = out;
}

void sim_key_auth(struct sim_node *node, const struct ike_auth_request *r)
{
	uint8_t out[AUTH_SIGNATURE_MAX];
	struct ike_input in = {.type = IKE_IN_AUTH, .auth = {.ref = r->ref}};

	node->n_auth_requests++;
	if (r->kind == IKE_AUTH_REQUEST_SIGN)
		signature(node, r, &in.auth, out, sizeof(out));
	else
		psk_value(node, r, &in.auth, out);
	answer(node, &in);
}

void sim_key_pubkey(struct sim_node *node, const struct ike_pubkey_request *r)
{
	struct sim_node *peer = &node->sim->node[1 - node->index];
	struct ike_input in = {.type = IKE_IN_PUBKEY, .pubkey = {.ref = r->ref}};
	uint8_t *spki = NULL;
	int len = peer->key && !node->no_pubkeys ? i2d_PUBKEY(peer->key, &spki) : 0;

	node->n_pubkey_requests++;
	if (len > 0) {
		in.pubkey.spki = spki;
		in.pubkey.spki_len = (size_t)len;
	} else {
		in.pubkey.error = -1;
		in.pubkey.text = "no such file";
	}
	answer(node, &in);
	OPENSSL_free(spki);
}
