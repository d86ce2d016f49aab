#pragma once

#include <stddef.h>
#include <stdint.h>

#include "controlplane/iked/messages.h"
#include "shared/bytes.h"

/*
 * The secrets of one load of the configuration, inside the key process. Several loads are there
 * at once while a reload is under way: a request names its version.
 */
struct keyring;

struct keyring *keyring_create(uint32_t version);
void keyring_destroy(struct keyring *ring); /* wipes; NULL allowed */
uint32_t keyring_version(const struct keyring *ring);

/* PEM of the private key. 0 or -1. */
int keyring_private_set(struct keyring *ring, const uint8_t *pem, size_t len);
/* 0 or -1 (no memory, empty, or there is one for this policy). */
int keyring_psk_add(struct keyring *ring, uint32_t policy_number, const uint8_t *psk, size_t len);
/* DER SubjectPublicKeyInfo of the private key; bytes written, 0: there is none. */
size_t keyring_spki(const struct keyring *ring, uint8_t *out, size_t cap);

/* A list of rings, newest first; takes over ring. An older ring of the same version goes. */
void keyring_push(struct keyring **list, struct keyring *ring);
void keyring_forget(struct keyring **list, uint32_t version);

/* The answer to a request; data may be a PSK's AUTH value: wipe it. */
struct keyring_auth {
	struct ike_request_ref ref;
	int error; /* as in struct ike_auth_answer */
	uint8_t method, cert_encoding;
	uint8_t data[IKE_AUTH_DATA_MAX];
	size_t len;
	uint8_t cert[IKE_PUBKEY_MAX];
	size_t cert_len;
	char text[128];
};

/* Makes an AUTH value, or says in out->text which credential is missing. */
void keyring_auth_make(const struct keyring *list, const struct msg_auth_request *request,
	struct bytes octets, struct keyring_auth *out);
