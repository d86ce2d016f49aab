#include "controlplane/iked/keyring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "controlplane/auth/keyfile.h"
#include "controlplane/auth/sign.h"
#include "controlplane/ike/message.h"
#include "controlplane/ike/auth_blob.h"
#include "controlplane/ike/prf.h"
#include "controlplane/ike/wire_error.h"
#include "shared/secret.h"
#include "shared/wipe.h"

struct psk {
	uint32_t policy_number;
	size_t len;
	uint8_t *data;
};

struct keyring {
	struct keyring *next;
	uint32_t version;
	EVP_PKEY *private_key; /* or NULL */
	struct psk *psks;
	size_t n_psks;
	struct secrets *secrets; /* the PSKs' data */
};

struct keyring *keyring_create(uint32_t version)
{
	struct keyring *ring = calloc(1, sizeof(*ring));

	if (!ring)
		return NULL;
	ring->version = version;
	ring->secrets = secrets_create();
	if (!ring->secrets) {
		free(ring);
		return NULL;
	}
	return ring;
}

void keyring_destroy(struct keyring *ring)
{
	if (!ring)
		return;
	free(ring->psks);
	secrets_destroy(ring->secrets);
	EVP_PKEY_free(ring->private_key);
	free(ring);
}

uint32_t keyring_version(const struct keyring *ring)
{
	return ring->version;
}

int keyring_private_set(struct keyring *ring, const uint8_t *pem, size_t len)
{
	EVP_PKEY_free(ring->private_key);
	ring->private_key = keyfile_private_parse(pem, len);
	return ring->private_key ? 0 : -1;
}

static const struct psk *psk_find(const struct keyring *ring, uint32_t policy_number)
{
	for (size_t i = 0; i < ring->n_psks; i++) {
		if (ring->psks[i].policy_number == policy_number)
			return &ring->psks[i];
	}
	return NULL;
}

int keyring_psk_add(struct keyring *ring, uint32_t policy_number, const uint8_t *psk, size_t len)
{
	struct psk *more;

	if (len == 0 || psk_find(ring, policy_number))
		return -1;
	more = realloc(ring->psks, (ring->n_psks + 1) * sizeof(*more));
	if (!more)
		return -1;
	ring->psks = more;
	more += ring->n_psks;
	*more = (struct psk){policy_number, len, secrets_alloc(ring->secrets, len)};
	if (!more->data)
		return -1;
	memcpy(more->data, psk, len);
	ring->n_psks++;
	return 0;
}

size_t keyring_spki(const struct keyring *ring, uint8_t *out, size_t cap)
{
	return ring->private_key ? keyfile_spki_write(ring->private_key, out, cap) : 0;
}

void keyring_push(struct keyring **list, struct keyring *ring)
{
	keyring_forget(list, ring->version);
	ring->next = *list;
	*list = ring;
}

void keyring_forget(struct keyring **list, uint32_t version)
{
	while (*list) {
		struct keyring *ring = *list;

		if (ring->version != version) {
			list = &ring->next;
			continue;
		}
		*list = ring->next;
		keyring_destroy(ring);
	}
}

static void auth_fail(struct keyring_auth *out, int error, const char *text)
{
	out->error = error;
	snprintf(out->text, sizeof(out->text), "%s", text);
}

/* RFC 7296 2.15: AUTH = prf(prf(Shared Secret, "Key Pad for IKEv2"), <SignedOctets>) */
static void psk_make(const struct keyring *ring, const struct msg_auth_request *request,
	struct bytes octets, struct keyring_auth *out)
{
	const struct psk *psk = psk_find(ring, request->policy_number);
	const struct transform *prf = transform_find(TRANSFORM_PRF, request->prf_id, 0);
	uint8_t pad[IKE_PRF_MAX_LEN];

	if (!psk) {
		auth_fail(out, -1, "no pre-shared key for this policy");
		return;
	}
	if (!prf || ike_auth_psk_pad(prf, (struct bytes){psk->data, psk->len}, pad) < 0 ||
		ike_prf(prf, (struct bytes){pad, prf->out_len}, &octets, 1, out->data) < 0) {
		auth_fail(out, -1, "the PRF cannot be computed");
	} else {
		out->error = 0;
		out->method = IKE_AUTHNUM_PSK;
		out->len = prf->out_len;
		snprintf(out->text, sizeof(out->text), "pre-shared key");
	}
	wipe(pad, sizeof(pad));
}

/* Which keys and methods a policy's authentication word allows. */
static struct auth_rules rules_of(const struct msg_auth_request *request)
{
	struct auth_rules rules = {
		.hashes = AUTH_HASHES_DEFAULT, .allow_rsa_sha1 = request->allow_sha1};

	switch ((enum ike_auth_method)request->auth) {
	case IKE_AUTH_RSA:
		rules.kind = AUTH_KEY_RSA;
		break;
	case IKE_AUTH_ECDSA256:
		rules.kind = AUTH_KEY_ECDSA;
		rules.method = IKE_AUTHNUM_ECDSA256;
		break;
	case IKE_AUTH_ECDSA384:
		rules.kind = AUTH_KEY_ECDSA;
		rules.method = IKE_AUTHNUM_ECDSA384;
		break;
	case IKE_AUTH_ECDSA521:
		rules.kind = AUTH_KEY_ECDSA;
		rules.method = IKE_AUTHNUM_ECDSA521;
		break;
	case IKE_AUTH_RFC7427:
		rules.method = IKE_AUTHNUM_SIGNATURE;
		break;
	default:
		break;
	}
	return rules;
}

/* RFC 7296 3.6: a raw RSA key; RFC 7670 3: any raw key; or the form that alone was asked for. */
static uint8_t cert_encoding(enum auth_key_kind kind, uint8_t wanted)
{
	if (kind == AUTH_KEY_RSA)
		return (wanted & (IKE_WANTS_RSA_KEY | IKE_WANTS_RAW_KEY)) == IKE_WANTS_RAW_KEY
			       ? IKE_CERT_RAW_PUBLIC_KEY
			       : IKE_CERT_RSA_KEY;
	return (wanted & (IKE_WANTS_OPENIKED_ECDSA | IKE_WANTS_RAW_KEY)) == IKE_WANTS_OPENIKED_ECDSA
		       ? IKE_CERT_OPENIKED_ECDSA
		       : IKE_CERT_RAW_PUBLIC_KEY;
}

static void sign_make(const struct keyring *ring, const struct msg_auth_request *request,
	struct bytes octets, struct keyring_auth *out)
{
	const struct auth_scheme pss = {.method = IKE_AUTHNUM_SIGNATURE, .is_pss = true};
	const struct auth_rules rules = rules_of(request);
	enum auth_key_kind kind;
	struct auth_scheme scheme;
	char text[AUTH_SCHEME_STRLEN];

	if (!ring->private_key) {
		auth_fail(out, -1, "no private key (private/local.key)");
		return;
	}
	kind = auth_key_kind(ring->private_key);
	if (rules.kind != AUTH_KEY_UNKNOWN && rules.kind != kind) {
		auth_fail(out, -2,
			rules.kind == AUTH_KEY_RSA ? "private/local.key is no RSA key"
						   : "private/local.key is no ECDSA key");
		return;
	}
	if (auth_scheme_choose(ring->private_key, &rules, request->peer_hashes,
		    request->peer_used_pss ? &pss : NULL, &scheme) < 0) {
		auth_fail(out, -2, "no signature method in common with the peer");
		return;
	}
	if (auth_sign(ring->private_key, &scheme, octets, out->data, sizeof(out->data), &out->len) <
		0) {
		auth_fail(out, -1, "cannot sign with private/local.key");
		return;
	}
	out->error = 0;
	out->method = scheme.method;
	out->cert_encoding = cert_encoding(kind, request->wanted_keys);
	out->cert_len = auth_pubkey_to_cert(
		ring->private_key, out->cert_encoding, out->cert, sizeof(out->cert));
	if (out->cert_len == 0)
		out->cert_encoding = 0;
	snprintf(out->text, sizeof(out->text), "%s, key of %d bits",
		auth_scheme_str(&scheme, kind, text), EVP_PKEY_get_bits(ring->private_key));
}

void keyring_auth_make(const struct keyring *list, const struct msg_auth_request *request,
	struct bytes octets, struct keyring_auth *out)
{
	const struct keyring *ring = list;

	out->ref = request->ref;
	out->len = out->cert_len = 0;
	while (ring && ring->version != request->config_version)
		ring = ring->next;
	if (!ring) {
		auth_fail(out, -1, "no keys are loaded for this configuration");
		return;
	}
	switch (request->kind) {
	case IKE_AUTH_REQUEST_SIGN:
		sign_make(ring, request, octets, out);
		break;
	case IKE_AUTH_REQUEST_PSK:
	case IKE_AUTH_REQUEST_PSK_PEER:
		psk_make(ring, request, octets, out);
		break;
	default:
		auth_fail(out, -1, "unknown kind of request");
	}
}
