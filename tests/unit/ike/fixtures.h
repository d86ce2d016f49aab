#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * IKE_SA_INIT requests and IKE_AUTH payloads in the shape that clients in the field send, built
 * as bytes without the code under test. Each returns the length.
 */
size_t fixture_windows_init(uint8_t *out, size_t cap); /* 18 proposals, all MODP_1024 */
size_t fixture_macos_init(uint8_t *out, size_t cap);   /* 4 proposals, 16-byte nonce */
size_t fixture_android_init(uint8_t *out, size_t cap); /* strongSwan's app */
/* Payloads inside SK of an iOS client's IKE_AUTH; the first is IDi. */
size_t fixture_ios_auth(uint8_t *out, size_t cap);
