#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "shared/addr.h"
#include "shared/ids.h"
#include "shared/transform.h"

/*
 * iked.conf as data: what the parser fills (conf/iked_conf.h), the engine selects from
 * (ike/policy_select.h), and `-n -v` prints. Plain data; strings and arrays are owned by the
 * struct ike_config and freed with it.
 */

enum ike_auth_method {
	IKE_AUTH_ANY_SIGNATURE = 0, /* nothing written, `signature`, `rfc7427` */
	IKE_AUTH_PSK,
	IKE_AUTH_RSA,
	IKE_AUTH_ECDSA256,
	IKE_AUTH_ECDSA384,
	IKE_AUTH_ECDSA521,
	IKE_AUTH_RFC7427,
	IKE_AUTH_EAP_MSCHAPV2,
	IKE_AUTH_EAP_RADIUS,
};

/* A transform list of one kind in order of preference. */
#define IKE_TRANSFORMS_MAX 32
struct ike_transform_list {
	uint8_t n;
	const struct transform *t[IKE_TRANSFORMS_MAX];
};

/* One proposal; kinds left out in the file are already filled from the defaults. ESN rows
 * (esn.t) only in child proposals. No PFS is the row DH_NONE in dh (it may stand beside groups);
 * integ is empty with AEAD, encr with `ah`. `explicit_kinds` has bit (1 << transform_type) for each
 * kind that the file wrote, for printing back. */
struct ike_proposal {
	struct ike_transform_list encr, prf, integ, dh, esn;
	uint32_t explicit_kinds;
};

/* One side of `from A to B`. `any` and names are expanded to one flow an address family. */
struct ike_flow_side {
	struct ip_prefix prefix;
	uint16_t port;    /* 0: any */
	bool is_dynamic;  /* `dynamic`, or the host 0.0.0.0 or ::, which mean the same: replaced by
			   * the assigned address */
	bool is_any_word; /* came from the word `any` */
};

struct ike_policy_flow {
	struct ike_flow_side src, dst; /* from, to */
	bool has_srcnat;
	struct ip_prefix srcnat; /* `from A (B)` */
	uint8_t proto;           /* 0 any; one entry a protocol of the policy */
};

struct ike_host {
	bool is_any; /* `any`, or not written */
	bool is_written;
	struct ip_prefix prefix; /* else */
};

struct conf_pos {
	const char *file;          /* owned by the config */
	unsigned int line, column; /* physical; from 1; in bytes */
	const char *macro; /* inside the expansion of this macro, which begins there; or NULL.
			    * Valid while parsing only */
};

struct ike_cp_option {
	const char *name; /* "address", "name-server", ... */
	bool is_request;
	bool is_any;
	struct ip_prefix value;
};

struct ike_policy {
	char *name;
	uint32_t number; /* position in the file, from 1; order decides the match */
	struct conf_pos pos;
	bool is_quick, is_skip, is_default;
	bool is_active;
	bool is_ipcomp, is_transport, is_natt, is_ah;
	uint8_t family; /* 0, 4 or 6 */
	bool has_rdomain;
	uint32_t rdomain;
	uint8_t *protos; /* IP protocols as written; n_protos 0: any */
	size_t n_protos;
	struct ike_policy_flow *flows;
	size_t n_flows;
	struct ike_host peer, local;
	struct ike_proposal *ike_proposals, *child_proposals; /* never empty */
	size_t n_ike_proposals, n_child_proposals;
	bool has_srcid, has_dstid; /* has_srcid false: the caller puts the host's FQDN in srcid */
	struct ike_id srcid, dstid;
	char *srcid_text, *dstid_text; /* as written; NULL if not */
	struct conf_pos dstid_pos;
	uint32_t ike_lifetime_s;       /* 0: not rekeyed by time */
	uint32_t child_lifetime_s;     /* default 10800; 0: none */
	uint64_t child_lifetime_bytes; /* default 4294967296; 0: none */
	enum ike_auth_method auth;
	uint8_t *psk; /* wiped on free; NULL unless IKE_AUTH_PSK. After load it lives only in `key`
		       */
	size_t psk_len;
	/* `psk file` that could not be read (a warning said so): psk is NULL, an SA of this policy
	 * fails to authenticate, and the other policies are loaded. Else NULL. */
	char *psk_file_missing;
	struct ike_cp_option *cp;
	size_t n_cp;
	char *iface, *tag, *tap; /* NULL if not written */
};

/* Parts of the language that loading may refuse (iked_conf_check_loadable). */
enum ike_feature_kind {
	IKE_FEATURE_TRANSFORM, /* TRANSFORM_F_KNOWN_ONLY; detail: its name */
	IKE_FEATURE_EAP,
	IKE_FEATURE_USER,
	IKE_FEATURE_CONFIG,
	IKE_FEATURE_REQUEST,
	IKE_FEATURE_OCSP,
	IKE_FEATURE_PARTIAL_CHAIN,
	IKE_FEATURE_STICKY_ADDRESS,
	IKE_FEATURE_MOBIKE,
	IKE_FEATURE_TAG,
	IKE_FEATURE_TAP,
	IKE_FEATURE_IFACE,
	IKE_FEATURE_RDOMAIN,
	IKE_FEATURE_IPCOMP,
	IKE_FEATURE_AH,
	IKE_FEATURE_RADIUS,
	IKE_FEATURE_SRCNAT,
	IKE_FEATURE_DYNAMIC,
	IKE_FEATURE_ASN1_DN,
	IKE_N_FEATURES,
};

struct ike_feature {
	enum ike_feature_kind kind;
	char *detail; /* or NULL */
	struct conf_pos pos;
};

/* RFC 7383. Not written: messages beyond 1280 bytes; `set fragmentation`: beyond what every path
 * carries, 576 or 1280; `set nofragmentation`: none, and the peer is not told of it. */
enum ike_fragmentation { IKE_FRAGMENTS_OF_LONG, IKE_FRAGMENTS_OF_ALL, IKE_FRAGMENTS_NONE };

struct ike_config {
	bool is_passive, is_decoupled; /* set passive, set decouple */
	uint32_t dpd_interval_s;       /* 60; 0 off */
	bool enforce_single_ikesa, sticky_address, mobike, vendorid;
	enum ike_fragmentation fragmentation;
	bool cert_partial_chain;
	char *ocsp_url;
	int64_t ocsp_tolerate_s, ocsp_maxage_s; /* -1: not written */
	struct ike_user {
		char *name, *password; /* wiped on free */
		struct conf_pos pos;
	} * users;
	size_t n_users;
	struct ike_radius *radius; /* NULL if no radius statement; shape in conf/iked_conf.h */
	struct ike_policy *policies;
	size_t n_policies;
	struct ike_feature *features; /* each use, in order of the file */
	size_t n_features;
	char **files; /* names that positions point to */
	size_t n_files;
};
