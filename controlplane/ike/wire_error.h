#pragma once

/*
 * What the functions that read, write and protect messages return: 0, or one of these negated.
 * Those up to IKE_WIRE_E_PEER_LAST are the peer's doing (a notify or a silent drop); those
 * after it failed here.
 */
enum ike_wire_error {
	IKE_WIRE_OK = 0,
	IKE_WIRE_E_SHORT,    /* less than a header, or the header's length differs */
	IKE_WIRE_E_VERSION,  /* major version is not 2; the header is filled */
	IKE_WIRE_E_SYNTAX,   /* INVALID_SYNTAX */
	IKE_WIRE_E_CRITICAL, /* UNSUPPORTED_CRITICAL_PAYLOAD with ike_message.unsupported */
	IKE_WIRE_E_LIMIT,    /* more payloads or bytes than are accepted */
	IKE_WIRE_E_RULES,    /* a payload is missing, repeated, or where it must not be */
	IKE_WIRE_E_ICV,      /* integrity check failed: drop in silence */
	IKE_WIRE_E_PADDING,  /* verified, but the padding is impossible */
	IKE_WIRE_E_KE,       /* public value refused: length, range, not on the curve, zero */
	IKE_WIRE_E_PROPOSAL, /* no proposal acceptable, or an answer that was not offered */
	IKE_WIRE_E_AUTH,     /* AUTH does not verify */
	IKE_WIRE_E_AUTH_ALG, /* AUTH's method, hash or key kind is not allowed or unknown */
	IKE_WIRE_E_KEY,      /* public key in CERT cannot be read */
	IKE_WIRE_E_FRAGMENT, /* fragment inconsistent with those before it */
	IKE_WIRE_E_PEER_LAST = IKE_WIRE_E_FRAGMENT,
	IKE_WIRE_E_SPACE,  /* our buffer is too small for what is built */
	IKE_WIRE_E_CRYPTO, /* OpenSSL or the random function failed */
	IKE_WIRE_E_MEMORY,
	IKE_WIRE_E_UNSUPPORTED, /* algorithm not usable here */
};

/* Takes the code with either sign. */
const char *ike_wire_error_str(int code);
