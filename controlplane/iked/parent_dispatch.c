#include <string.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "controlplane/auth/keydir.h"
#include "controlplane/iked/parent.h"

static void child_log(struct parent *p, const struct imsg *msg)
{
	uint32_t level;

	memcpy(&level, msg->body, sizeof(level));
	if (level > LOG_LVL_TRACE)
		return;
	log_line(&p->log, (enum log_level)level, "%.*s", (int)(msg->len - sizeof(level)),
		(const char *)msg->body + sizeof(level));
}

void parent_from_key(struct parent *p, uint32_t number, const struct imsg *msg)
{
	(void)number;
	switch (msg->type) {
	case MSG_LOG:
		child_log(p, msg);
		break;
	case MSG_KEY_LOADED:
		parent_load_keys_done(p, msg);
		break;
	}
}

/* A policy's word may demand a kind of key. */
static bool kind_is_right(uint32_t auth, const uint8_t *spki, size_t len)
{
	const unsigned char *at = spki;
	EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)len);
	bool right = key != NULL;

	if (auth == IKE_AUTH_RSA)
		right = right && EVP_PKEY_is_a(key, "RSA");
	if (auth >= IKE_AUTH_ECDSA256 && auth <= IKE_AUTH_ECDSA521)
		right = right && EVP_PKEY_is_a(key, "EC");
	EVP_PKEY_free(key);
	return right;
}

/* The peer's identity is a stranger's word: keydir decides whether it is a file name. */
static void pubkey_request(struct parent *p, uint32_t engine, const struct imsg *msg)
{
	uint8_t body[sizeof(struct msg_pubkey) + IKE_PUBKEY_MAX + KEYDIR_PATH_MAX + 160];
	struct msg_pubkey_request request;
	struct msg_pubkey reply = {0};
	char name[KEYDIR_PATH_MAX], *text;
	size_t len = 0;
	int result;

	memcpy(&request, msg->body, sizeof(request));
	if (request.peer.len > sizeof(request.peer.data))
		return;
	result = keydir_pubkey_find(
		KEYDIR_DEFAULT, &request.peer, body + sizeof(reply), IKE_PUBKEY_MAX, &len, name);
	text = (char *)body + sizeof(reply) + len;
	if (result != KEYDIR_OK)
		snprintf(text, KEYDIR_PATH_MAX + 160, "could not open public key %s: %s", name,
			keydir_error_str(result));
	else if (!kind_is_right(request.auth, body + sizeof(reply), len))
		result = -2;
	if (result == -2)
		snprintf(text, KEYDIR_PATH_MAX + 160,
			"%s: not the kind of key that the policy demands", name);
	else if (result == KEYDIR_OK)
		snprintf(text, KEYDIR_PATH_MAX + 160, "%s", name);
	reply.ref = request.ref;
	reply.error = result;
	reply.spki_len = (uint32_t)len;
	memcpy(body, &reply, sizeof(reply));
	parent_send_engine(
		p, engine, MSG_PUBKEY, msg->serial, body, sizeof(reply) + len + strlen(text), -1);
}

void parent_from_ike(struct parent *p, uint32_t number, const struct imsg *msg)
{
	switch (msg->type) {
	case MSG_LOG:
		child_log(p, msg);
		break;
	case MSG_CONFIG_DONE:
		parent_load_engine_done(p, number, msg);
		break;
	case MSG_ESPD_WANTED:
		parent_espd_connect(p, number);
		break;
	case MSG_PUBKEY_REQUEST:
		pubkey_request(p, number, msg);
		break;
	case MSG_STOPPED:
		parent_engine_stopped(p, number);
		break;
	}
}

void parent_from_control(struct parent *p, uint32_t number, const struct imsg *msg)
{
	(void)number;
	switch (msg->type) {
	case MSG_LOG:
		child_log(p, msg);
		break;
	case MSG_CTL_REQUEST:
		parent_ctl_request(p, msg);
		break;
	}
}
