#include "controlplane/ike/message.h"

#include <stdio.h>
#include <string.h>

#include "controlplane/ike/payload_decode.h"

int ike_header_decode(const void *data, size_t len, struct ike_header *out)
{
	struct reader r = reader_init(data, len);

	*out = (struct ike_header){.spi_i = read_u64(&r)};
	out->spi_r = read_u64(&r);
	out->next_payload = read_u8(&r);
	out->version = read_u8(&r);
	out->exchange = read_u8(&r);
	out->flags = read_u8(&r);
	out->message_id = read_u32(&r);
	out->length = read_u32(&r);
	return r.failed ? -IKE_WIRE_E_SHORT : 0;
}

/* Where the first payload of a kind that may appear once is remembered; NULL for the others. */
static const struct ike_payload **single_slot(struct ike_message *m, uint8_t type)
{
	switch (type) {
	case IKE_PAYLOAD_SA:
		return &m->sa;
	case IKE_PAYLOAD_KE:
		return &m->ke;
	case IKE_PAYLOAD_IDI:
		return &m->idi;
	case IKE_PAYLOAD_IDR:
		return &m->idr;
	case IKE_PAYLOAD_AUTH:
		return &m->auth;
	case IKE_PAYLOAD_NONCE:
		return &m->nonce;
	case IKE_PAYLOAD_TSI:
		return &m->tsi;
	case IKE_PAYLOAD_TSR:
		return &m->tsr;
	case IKE_PAYLOAD_CP:
		return &m->cp;
	case IKE_PAYLOAD_EAP:
		return &m->eap;
	case IKE_PAYLOAD_SK:
	case IKE_PAYLOAD_SKF:
		return &m->sk;
	default:
		return NULL;
	}
}

static int lists_decode(struct ike_message *m, const struct ike_payload *p)
{
	switch (p->type) {
	case IKE_PAYLOAD_SA:
		return ike_payload_sa_decode(p->body, &m->offer);
	case IKE_PAYLOAD_TSI:
		return ike_payload_ts_decode(p->body, &m->tsi_list);
	case IKE_PAYLOAD_TSR:
		return ike_payload_ts_decode(p->body, &m->tsr_list);
	default:
		return 0;
	}
}

static int payload_add(
	struct ike_message *m, uint8_t type, struct bytes body, bool is_critical, bool is_encrypted)
{
	struct ike_payload *p = &m->payloads[m->n_payloads];
	const struct ike_payload **slot = single_slot(m, type);
	int rc = ike_payload_decode(type, body, p);

	if (rc < 0)
		return rc;
	p->is_critical = is_critical;
	p->is_encrypted = is_encrypted;
	if (slot && *slot) {
		m->has_repeat = true;
	} else {
		rc = lists_decode(m, p);
		if (rc < 0)
			return rc;
		if (slot)
			*slot = p;
	}
	m->n_payloads++;
	return 0;
}

/*
 * RFC 7296 2.5: an unknown payload is skipped, unless its critical bit is set; payloads we know
 * ignore the bit (3.2).
 */
static int payload_decode(
	struct ike_message *m, uint8_t type, struct bytes body, bool is_critical, bool is_encrypted)
{
	if (m->n_payloads + m->n_skipped >= IKE_PAYLOADS_MAX)
		return -IKE_WIRE_E_LIMIT;
	if (ike_payload_is_known(type))
		return payload_add(m, type, body, is_critical, is_encrypted);
	m->n_skipped++;
	if (is_critical && m->unsupported == 0)
		m->unsupported = type;
	return 0;
}

/* RFC 7296 3.2: the chain of generic headers. It must end where the bytes end. */
static int chain_decode(struct ike_message *m, uint8_t type, struct reader *r, bool is_encrypted)
{
	while (type != IKE_PAYLOAD_NONE) {
		uint8_t next = read_u8(r), flags = read_u8(r);
		uint16_t len = read_u16(r);
		struct bytes body;
		bool is_sk = type == IKE_PAYLOAD_SK || type == IKE_PAYLOAD_SKF;
		int rc;

		if (r->failed || len < IKE_PAYLOAD_HEADER_LEN || (is_sk && is_encrypted))
			return -IKE_WIRE_E_SYNTAX;
		body = read_bytes(r, len - (size_t)IKE_PAYLOAD_HEADER_LEN);
		if (r->failed)
			return -IKE_WIRE_E_SYNTAX;
		rc = payload_decode(m, type, body, flags & 0x80, is_encrypted);
		if (rc < 0)
			return rc;
		if (is_sk) {
			/* RFC 7296 3.14: SK is the last one; its next payload is inside. */
			m->payloads[m->n_payloads - 1].sk.first_payload = next;
			break;
		}
		type = next;
	}
	if (reader_left(r) != 0)
		return -IKE_WIRE_E_SYNTAX;
	return m->unsupported ? -IKE_WIRE_E_CRITICAL : 0;
}

static void message_clear(struct ike_message *m)
{
	m->raw = (struct bytes){NULL, 0};
	m->n_payloads = 0;
	m->n_skipped = 0;
	m->unsupported = 0;
	m->has_repeat = false;
	m->sa = m->ke = m->idi = m->idr = m->auth = m->nonce = NULL;
	m->tsi = m->tsr = m->cp = m->eap = m->sk = NULL;
	m->offer.n_proposals = m->offer.n_transforms = m->offer.n_skipped = 0;
	m->tsi_list.n = m->tsr_list.n = 0;
	m->tsi_list.has_unknown = m->tsr_list.has_unknown = false;
}

int ike_message_decode(const void *data, size_t len, struct ike_message *out)
{
	struct reader r = reader_init(data, len);
	int rc = ike_header_decode(data, len, &out->hdr);

	message_clear(out);
	if (rc < 0)
		return rc;
	/* RFC 7296 2.5: minor versions are accepted and ignored. */
	if (out->hdr.version >> 4 != IKE_VERSION_MAJOR)
		return -IKE_WIRE_E_VERSION;
	if (out->hdr.length != len || len > IKE_MESSAGE_MAX)
		return -IKE_WIRE_E_SHORT;
	out->raw = (struct bytes){data, len};
	read_bytes(&r, IKE_HEADER_LEN);
	return chain_decode(out, out->hdr.next_payload, &r, false);
}

int ike_message_decode_inner(
	struct ike_message *m, uint8_t first_payload, const void *plain, size_t len)
{
	struct reader r = reader_init(plain, len);

	return chain_decode(m, first_payload, &r, true);
}

const struct ike_payload *ike_message_next(
	const struct ike_message *m, const struct ike_payload *prev, uint8_t type)
{
	const struct ike_payload *p = prev ? prev + 1 : m->payloads;

	for (; p < m->payloads + m->n_payloads; p++)
		if (p->type == type)
			return p;
	return NULL;
}

const struct ike_notify *ike_message_notify(const struct ike_message *m, uint16_t type)
{
	const struct ike_payload *p = NULL;

	while ((p = ike_message_next(m, p, IKE_PAYLOAD_NOTIFY)))
		if (p->notify.type == type)
			return &p->notify;
	return NULL;
}

const struct ike_notify *ike_message_error(const struct ike_message *m)
{
	const struct ike_payload *p = NULL;

	while ((p = ike_message_next(m, p, IKE_PAYLOAD_NOTIFY)))
		if (p->notify.type <= IKE_N_ERROR_LAST)
			return &p->notify;
	return NULL;
}

uint8_t ike_message_wanted_keys(const struct ike_message *m)
{
	const struct ike_payload *p = NULL;
	uint8_t wanted = 0;

	while ((p = ike_message_next(m, p, IKE_PAYLOAD_CERTREQ))) {
		if (p->cert.encoding == IKE_CERT_RSA_KEY)
			wanted |= IKE_WANTS_RSA_KEY;
		if (p->cert.encoding == IKE_CERT_RAW_PUBLIC_KEY)
			wanted |= IKE_WANTS_RAW_KEY;
		if (p->cert.encoding == IKE_CERT_OPENIKED_ECDSA)
			wanted |= IKE_WANTS_OPENIKED_ECDSA;
	}
	return wanted;
}

static size_t payload_str(const struct ike_payload *p, char *out, size_t cap)
{
	const char *notify;
	int n;

	if (p->type != IKE_PAYLOAD_NOTIFY) {
		n = snprintf(out, cap, "%s ", ike_payload_str(p->type));
	} else {
		notify = ike_notify_str(p->notify.type);
		if (strcmp(notify, "UNKNOWN") == 0)
			n = snprintf(out, cap, "N(%u) ", p->notify.type);
		else
			n = snprintf(out, cap, "N(%s) ", notify);
	}
	return n > 0 && (size_t)n < cap ? (size_t)n : 0;
}

const char *ike_message_str(const struct ike_message *m, char buf[IKE_MESSAGE_STRLEN])
{
	const struct ike_header *h = &m->hdr;
	size_t at = (size_t)snprintf(buf, IKE_MESSAGE_STRLEN, "%s %s %u [ ",
		ike_exchange_str(h->exchange), ike_header_is_response(h) ? "response" : "request",
		h->message_id);

	for (uint8_t i = 0; i < m->n_payloads; i++) {
		size_t n = payload_str(&m->payloads[i], buf + at, IKE_MESSAGE_STRLEN - 8 - at);

		if (n == 0) {
			at += (size_t)snprintf(buf + at, IKE_MESSAGE_STRLEN - at, "... ");
			break;
		}
		at += n;
	}
	snprintf(buf + at, IKE_MESSAGE_STRLEN - at, "]");
	return buf;
}
