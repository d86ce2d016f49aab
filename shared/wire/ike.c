#include "shared/wire/ike.h"

#include <stddef.h>

struct name {
	uint16_t number;
	const char *text;
};

#define N(x)                  \
	{                     \
		IKE_N_##x, #x \
	}

static const struct name notifies[] = {N(UNSUPPORTED_CRITICAL_PAYLOAD), N(INVALID_IKE_SPI),
	N(INVALID_MAJOR_VERSION), N(INVALID_SYNTAX), N(INVALID_MESSAGE_ID), N(INVALID_SPI),
	N(NO_PROPOSAL_CHOSEN), N(INVALID_KE_PAYLOAD), N(AUTHENTICATION_FAILED),
	N(SINGLE_PAIR_REQUIRED), N(NO_ADDITIONAL_SAS), N(INTERNAL_ADDRESS_FAILURE),
	N(FAILED_CP_REQUIRED), N(TS_UNACCEPTABLE), N(INVALID_SELECTORS), N(UNACCEPTABLE_ADDRESSES),
	N(UNEXPECTED_NAT_DETECTED), N(TEMPORARY_FAILURE), N(CHILD_SA_NOT_FOUND), N(INITIAL_CONTACT),
	N(SET_WINDOW_SIZE), N(ADDITIONAL_TS_POSSIBLE), N(IPCOMP_SUPPORTED),
	N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP), N(COOKIE),
	N(USE_TRANSPORT_MODE), N(HTTP_CERT_LOOKUP_SUPPORTED), N(REKEY_SA),
	N(ESP_TFC_PADDING_NOT_SUPPORTED), N(NON_FIRST_FRAGMENTS_ALSO), N(MOBIKE_SUPPORTED),
	N(ADDITIONAL_IP4_ADDRESS), N(ADDITIONAL_IP6_ADDRESS), N(NO_ADDITIONAL_ADDRESSES),
	N(UPDATE_SA_ADDRESSES), N(COOKIE2), N(NO_NATS_ALLOWED), N(REDIRECT_SUPPORTED), N(REDIRECT),
	N(IKEV2_FRAGMENTATION_SUPPORTED), N(SIGNATURE_HASH_ALGORITHMS), {0, NULL}};

static const struct name exchanges[] = {{IKE_EXCHANGE_SA_INIT, "IKE_SA_INIT"},
	{IKE_EXCHANGE_AUTH, "IKE_AUTH"}, {IKE_EXCHANGE_CREATE_CHILD_SA, "CREATE_CHILD_SA"},
	{IKE_EXCHANGE_INFORMATIONAL, "INFORMATIONAL"},
	{IKE_EXCHANGE_SESSION_RESUME, "IKE_SESSION_RESUME"},
	{IKE_EXCHANGE_INTERMEDIATE, "IKE_INTERMEDIATE"}, {0, NULL}};

static const struct name payloads[] = {{IKE_PAYLOAD_SA, "SA"}, {IKE_PAYLOAD_KE, "KE"},
	{IKE_PAYLOAD_IDI, "IDi"}, {IKE_PAYLOAD_IDR, "IDr"}, {IKE_PAYLOAD_CERT, "CERT"},
	{IKE_PAYLOAD_CERTREQ, "CERTREQ"}, {IKE_PAYLOAD_AUTH, "AUTH"}, {IKE_PAYLOAD_NONCE, "No"},
	{IKE_PAYLOAD_NOTIFY, "N"}, {IKE_PAYLOAD_DELETE, "D"}, {IKE_PAYLOAD_VENDOR, "V"},
	{IKE_PAYLOAD_TSI, "TSi"}, {IKE_PAYLOAD_TSR, "TSr"}, {IKE_PAYLOAD_SK, "SK"},
	{IKE_PAYLOAD_CP, "CP"}, {IKE_PAYLOAD_EAP, "EAP"}, {IKE_PAYLOAD_SKF, "SKF"}, {0, NULL}};

static const struct name protocols[] = {
	{IKE_PROTO_IKE, "IKE"}, {IKE_PROTO_AH, "AH"}, {IKE_PROTO_ESP, "ESP"}, {0, NULL}};

static const struct name auth_numbers[] = {{IKE_AUTHNUM_RSA_SHA1, "RSA_SIG"},
	{IKE_AUTHNUM_PSK, "PSK"}, {IKE_AUTHNUM_DSS, "DSS_SIG"}, {IKE_AUTHNUM_ECDSA256, "ECDSA_256"},
	{IKE_AUTHNUM_ECDSA384, "ECDSA_384"}, {IKE_AUTHNUM_ECDSA521, "ECDSA_521"},
	{IKE_AUTHNUM_NULL, "NULL"}, {IKE_AUTHNUM_SIGNATURE, "SIGNATURE"}, {0, NULL}};

static const struct name hashes[] = {{IKE_HASH_SHA1, "SHA1"}, {IKE_HASH_SHA2_256, "SHA2_256"},
	{IKE_HASH_SHA2_384, "SHA2_384"}, {IKE_HASH_SHA2_512, "SHA2_512"},
	{IKE_HASH_IDENTITY, "IDENTITY"}, {0, NULL}};

static const struct name encodings[] = {{IKE_CERT_X509, "X509_CERT"}, {IKE_CERT_CRL, "CRL"},
	{IKE_CERT_RSA_KEY, "RSA_KEY"}, {IKE_CERT_HASH_URL_CERT, "HASH_AND_URL"},
	{IKE_CERT_HASH_URL_BUNDLE, "HASH_AND_URL_BUNDLE"},
	{IKE_CERT_RAW_PUBLIC_KEY, "RAW_PUBLIC_KEY"}, {IKE_CERT_OPENIKED_ECDSA, "ECDSA"}, {0, NULL}};

static const char *name_find(const struct name *names, uint16_t number)
{
	for (; names->text; names++)
		if (names->number == number)
			return names->text;
	return "UNKNOWN";
}

const char *ike_exchange_str(uint8_t exchange)
{
	return name_find(exchanges, exchange);
}

const char *ike_payload_str(uint8_t type)
{
	return name_find(payloads, type);
}

const char *ike_notify_str(uint16_t type)
{
	return name_find(notifies, type);
}

const char *ike_protocol_str(uint8_t protocol)
{
	return name_find(protocols, protocol);
}

const char *ike_auth_number_str(uint8_t method)
{
	return name_find(auth_numbers, method);
}

const char *ike_hash_str(uint16_t hash)
{
	return name_find(hashes, hash);
}

const char *ike_cert_encoding_str(uint8_t encoding)
{
	return name_find(encodings, encoding);
}
