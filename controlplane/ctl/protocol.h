#pragma once

#include <stddef.h>
#include <stdint.h>

/*
 * The control protocol between ikectl or penstockctl and penstock-iked: a UNIX socket of type
 * SOCK_SEQPACKET (/var/run/iked.sock, 0600 root), one message a record. A message is the header
 * below and a body of at most CTL_BODY_MAX bytes, numbers in host order (both ends are on one
 * host). The client sends one request; the server answers with any number of CTL_TEXT, CTL_ERROR,
 * CTL_COUNTER or CTL_EVENT records and ends with one CTL_DONE. Another version is answered with
 * CTL_ERROR and CTL_DONE.
 */
#define CTL_SOCKET_PATH "/var/run/iked.sock"
#define CTL_MAGIC 0x504e5354u /* "PNST" */
#define CTL_VERSION 1
#define CTL_BODY_MAX 4096

enum ctl_type {
	CTL_NONE = 0,
	/* requests without a body */
	CTL_ACTIVE,
	CTL_PASSIVE,
	CTL_COUPLE,
	CTL_DECOUPLE,
	CTL_RELOAD,
	CTL_LOG_VERBOSE,
	CTL_LOG_BRIEF,
	CTL_RESET_ALL,
	CTL_RESET_CA,
	CTL_RESET_POLICY,
	CTL_RESET_SA,
	CTL_RESET_USER,
	CTL_MONITOR,
	CTL_SHOW_SA,
	CTL_SHOW_CERTSTORE,
	CTL_SHOW_STATS,
	/* requests with a text (not NUL-terminated, no NUL inside) */
	CTL_LOAD,       /* absolute path of the file */
	CTL_RESET_ID,   /* "FQDN/x" */
	CTL_WHY_POLICY, /* "LOCAL PEER [IDi [IDr]]": addresses, then identities as printed; "-" for
			 * none. Answer: one CTL_TEXT a candidate policy */
	CTL_REQUEST_LAST = CTL_WHY_POLICY,

	/* replies */
	CTL_TEXT = 0x100, /* a line for stdout, without its newline */
	CTL_ERROR,        /* a line for stderr, without its newline */
	CTL_COUNTER,      /* struct ctl_counter */
	CTL_EVENT,        /* struct ctl_event: what CTL_MONITOR shows */
	CTL_DONE,         /* struct ctl_done */
};

struct ctl_header {
	uint32_t magic;
	uint16_t version;
	uint16_t type; /* enum ctl_type */
	uint32_t len;  /* of the body */
	uint32_t serial;
};

struct ctl_counter {
	uint64_t value;
	char singular[64], plural[64]; /* "IKE SA created", "IKE SAs created"; NUL-terminated */
};

struct ctl_event {
	char name[32]; /* NUL-terminated */
	uint32_t type, len, peer_id, pid;
	int64_t timestamp_s; /* epoch */
};

struct ctl_done {
	int32_t status; /* the exit status: 0, else failed */
};

/* A message taken apart; body points into the buffer it was read from. */
struct ctl_message {
	enum ctl_type type;
	uint32_t serial;
	const uint8_t *body;
	size_t body_len;
};

enum ctl_error {
	CTL_OK = 0,
	CTL_E_SHORT = -1,   /* less than a header, or the record's length is not the header's */
	CTL_E_MAGIC = -2,   /* not this protocol */
	CTL_E_VERSION = -3, /* this protocol, another version */
	CTL_E_TYPE = -4,    /* unknown type, or not of this direction */
	CTL_E_BODY = -5,    /* a body of a wrong size, or a text with a NUL */
};

const char *ctl_error_str(int error);

/* Check a record that a client sent, or that the server sent. 0 or CTL_E_*. */
int ctl_request_parse(const void *data, size_t len, struct ctl_message *out)
	__attribute__((warn_unused_result));
int ctl_reply_parse(const void *data, size_t len, struct ctl_message *out)
	__attribute__((warn_unused_result));

/* Writes header and body to buf; returns the record's length, 0 if it does not fit. */
size_t ctl_message_build(void *buf, size_t cap, enum ctl_type type, uint32_t serial,
	const void *body, size_t body_len);

/* "show sa" and so on, for logs and `ikectl monitor`. */
const char *ctl_type_str(enum ctl_type type);
