#include <stdio.h>
#include <string.h>

#include <openssl/evp.h>

#include "controlplane/auth/keyfile.h"
#include "controlplane/auth/sign.h"
#include "controlplane/ike/prf.h"
#include "controlplane/iked/child.h"
#include "controlplane/iked/keyring.h"
#include "shared/wipe.h"

/*
 * The key process: private keys and pre-shared keys, loaded from what the parent sends. It makes
 * AUTH values for the engine and gives out no secret. It has no files and no network; what it
 * parses is the administrator's.
 */
struct key_process {
	struct child child;
	struct keyring *loading; /* between BEGIN and COMMIT */
	bool load_failed;
	char load_error[128];
	struct keyring *rings; /* newest first */
};

static void load_fail(struct key_process *key, const char *text)
{
	if (key->load_failed)
		return;
	key->load_failed = true;
	snprintf(key->load_error, sizeof(key->load_error), "%s", text);
}

static void load_begin(struct key_process *key, const struct imsg *msg)
{
	uint32_t version;

	memcpy(&version, msg->body, sizeof(version));
	keyring_destroy(key->loading);
	key->loading = keyring_create(version);
	key->load_failed = false;
	if (!key->loading)
		load_fail(key, "out of memory");
}

static void load_private(struct key_process *key, const struct imsg *msg)
{
	if (!key->loading)
		return;
	if (keyring_private_set(key->loading, msg->body, msg->len) < 0)
		load_fail(key, "private/local.key: not an unencrypted RSA or ECDSA key in PEM");
}

static void load_psk(struct key_process *key, const struct imsg *msg)
{
	struct msg_psk psk;

	memcpy(&psk, msg->body, sizeof(psk));
	if (!key->loading)
		return;
	if (psk.len != msg->len - sizeof(psk) || keyring_psk_add(key->loading, psk.policy_number,
							 msg->body + sizeof(psk), psk.len) < 0)
		load_fail(key, "pre-shared key not accepted");
}

static void load_commit(struct key_process *key)
{
	uint8_t body[sizeof(struct msg_key_loaded) + IKE_PUBKEY_MAX];
	struct msg_key_loaded loaded = {0};
	size_t len = 0;

	if (!key->loading)
		return;
	loaded.version = keyring_version(key->loading);
	if (!key->load_failed)
		len = keyring_spki(key->loading, body + sizeof(loaded), IKE_PUBKEY_MAX);
	if (key->load_failed) {
		loaded.status = -1;
		len = strlen(key->load_error);
		memcpy(body + sizeof(loaded), key->load_error, len);
		keyring_destroy(key->loading);
	} else {
		keyring_push(&key->rings, key->loading);
	}
	key->loading = NULL;
	memcpy(body, &loaded, sizeof(loaded));
	imsg_send(key->child.parent, MSG_KEY_LOADED, 0, body, sizeof(loaded) + len, -1);
}

static void from_parent(void *ctx, const struct imsg *msg)
{
	struct key_process *key = ctx;
	uint32_t version;

	switch (msg->type) {
	case MSG_KEY_BEGIN:
		load_begin(key, msg);
		break;
	case MSG_KEY_PRIVATE:
		load_private(key, msg);
		break;
	case MSG_KEY_PSK:
		load_psk(key, msg);
		break;
	case MSG_KEY_COMMIT:
		load_commit(key);
		break;
	case MSG_KEY_FORGET:
		memcpy(&version, msg->body, sizeof(version));
		keyring_forget(&key->rings, version);
		break;
	case MSG_STOP:
		event_base_loopbreak(key->child.base);
		break;
	}
}

static void auth_reply(
	struct key_process *key, uint32_t engine, uint64_t serial, const struct keyring_auth *auth)
{
	uint8_t body[sizeof(struct msg_auth) + sizeof(auth->data) + sizeof(auth->cert) +
		     sizeof(auth->text)];
	struct msg_auth reply = {
		.ref = auth->ref,
		.error = auth->error,
		.auth_len = (uint16_t)auth->len,
		.cert_len = (uint16_t)auth->cert_len,
		.method = auth->method,
		.cert_encoding = auth->cert_encoding,
	};
	struct writer w = writer_init(body, sizeof(body));

	write_bytes(&w, &reply, sizeof(reply));
	write_bytes(&w, auth->data, auth->len);
	write_bytes(&w, auth->cert, auth->cert_len);
	write_bytes(&w, auth->text, strlen(auth->text));
	imsg_send(child_peer(&key->child, IKED_IKE, engine), MSG_AUTH, serial, body, w.len, -1);
	wipe(body, sizeof(body));
}

static void from_ike(void *ctx, uint32_t engine, const struct imsg *msg)
{
	struct key_process *key = ctx;
	struct msg_auth_request request;
	struct keyring_auth auth = {0};

	memcpy(&request, msg->body, sizeof(request));
	auth.ref = request.ref;
	auth.error = -1;
	if (request.octets_len == msg->len - sizeof(request))
		keyring_auth_make(key->rings, &request,
			(struct bytes){msg->body + sizeof(request), request.octets_len}, &auth);
	auth_reply(key, engine, msg->serial, &auth);
	wipe(&auth, sizeof(auth));
}

int key_main(void)
{
	struct key_process key = {
		.child = {.role = IKED_KEY, .from_parent = from_parent},
	};

	key.child.ctx = &key;
	key.child.from_peer[IKED_IKE] = from_ike;
	if (child_start(&key.child) < 0)
		return 1;
	event_base_dispatch(key.child.base);
	keyring_destroy(key.loading);
	while (key.rings)
		keyring_forget(&key.rings, keyring_version(key.rings));
	child_fini(&key.child);
	return 0;
}
