#include "controlplane/ike/fragment.h"

#include <stdlib.h>
#include <string.h>

#include "shared/wipe.h"

struct bytes ike_datagrams_at(const struct ike_datagrams *d, uint16_t i)
{
	uint32_t start = i > 0 ? d->end[i - 1] : 0;

	return (struct bytes){d->data + start, d->end[i] - start};
}

/* One allocation: the offsets, then the bytes. */
static int datagrams_alloc(struct ike_datagrams *d, size_t n, size_t bytes)
{
	*d = (struct ike_datagrams){.end = malloc(n * sizeof(*d->end) + bytes)};
	if (!d->end)
		return -IKE_WIRE_E_MEMORY;
	d->data = (uint8_t *)(d->end + n);
	return 0;
}

int ike_datagrams_single(struct ike_datagrams *d, const void *data, size_t len)
{
	int rc = datagrams_alloc(d, 1, len);

	if (rc < 0)
		return rc;
	memcpy(d->data, data, len);
	d->end[0] = (uint32_t)len;
	d->n = 1;
	return 0;
}

void ike_datagrams_fini(struct ike_datagrams *d)
{
	free(d->end);
	*d = (struct ike_datagrams){0};
}

/* The most bytes of payloads that a fragment of max_len holds, or 0. */
static size_t fragment_room(const struct ike_cipher *c, size_t max_len)
{
	size_t room = max_len;

	while (room > 0 && ike_sk_message_len(c, room, true) > max_len)
		room--;
	return room;
}

int ike_seal(struct ike_cipher *c, const struct ike_random *rng, const struct ike_header *hdr,
	uint8_t first_payload, struct bytes payloads, size_t max_len, struct ike_datagrams *out)
{
	size_t whole = ike_sk_message_len(c, payloads.len, false), room = payloads.len, n = 1;
	bool is_split = max_len > 0 && whole > max_len;
	size_t at = 0, used = 0;
	int rc;

	*out = (struct ike_datagrams){0};
	if (is_split) {
		room = fragment_room(c, max_len);
		if (room == 0)
			return -IKE_WIRE_E_LIMIT;
		n = (payloads.len + room - 1) / room;
	}
	if (n > IKE_FRAGMENTS_MAX || whole > IKE_MESSAGE_MAX)
		return -IKE_WIRE_E_LIMIT;
	rc = datagrams_alloc(out, n, is_split ? n * max_len : whole);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		size_t take = payloads.len - at < room ? payloads.len - at : room, len;
		struct ike_sk_plain plain = {.first_payload = first_payload,
			.fragment = is_split ? (uint16_t)(i + 1) : 0,
			.n_fragments = is_split ? (uint16_t)n : 0,
			.payloads = {take ? payloads.data + at : NULL, take}};

		rc = ike_sk_seal(c, rng, hdr, &plain, out->data + used,
			ike_sk_message_len(c, take, is_split), &len);
		if (rc < 0) {
			ike_datagrams_fini(out);
			return rc;
		}
		at += take;
		used += len;
		out->end[i] = (uint32_t)used;
	}
	out->n = (uint16_t)n;
	return 0;
}

/* Pieces are kept in the order of arrival in one buffer; complete ones are put in order. */
struct piece {
	uint32_t at;
	uint16_t len;
	bool is_there;
};

struct ike_reassembly {
	uint32_t message_id;
	uint16_t n_total, n_have;
	uint8_t first_payload;
	uint8_t *data;
	size_t len, cap;
	struct piece pieces[]; /* n_total */
};

void ike_reassembly_destroy(struct ike_reassembly **r)
{
	if (!*r)
		return;
	if ((*r)->data)
		wipe((*r)->data, (*r)->cap);
	free((*r)->data);
	free(*r);
	*r = NULL;
}

static int reassembly_create(struct ike_reassembly **r, uint32_t message_id, uint16_t n_total)
{
	ike_reassembly_destroy(r);
	*r = calloc(1, sizeof(**r) + n_total * sizeof((*r)->pieces[0]));
	if (!*r)
		return -IKE_WIRE_E_MEMORY;
	(*r)->message_id = message_id;
	(*r)->n_total = n_total;
	return 0;
}

/* Grows to at most 64 KiB; the old copy is wiped. */
static int room_make(struct ike_reassembly *r, size_t more)
{
	size_t cap = r->cap ? r->cap : 4096;
	uint8_t *data;

	if (r->len + more > IKE_MESSAGE_MAX)
		return -IKE_WIRE_E_LIMIT;
	while (cap < r->len + more)
		cap *= 2;
	if (r->data && cap == r->cap)
		return 0;
	data = malloc(cap);
	if (!data)
		return -IKE_WIRE_E_MEMORY;
	if (r->data) {
		memcpy(data, r->data, r->len);
		wipe(r->data, r->cap);
		free(r->data);
	}
	r->data = data;
	r->cap = cap;
	return 0;
}

static int pieces_join(struct ike_reassembly *r)
{
	uint8_t *data = malloc(r->cap);
	size_t at = 0;

	if (!data)
		return -IKE_WIRE_E_MEMORY;
	for (uint16_t i = 0; i < r->n_total; i++) {
		memcpy(data + at, r->data + r->pieces[i].at, r->pieces[i].len);
		at += r->pieces[i].len;
	}
	wipe(r->data, r->cap);
	free(r->data);
	r->data = data;
	return 1;
}

int ike_reassembly_add(struct ike_reassembly **r, uint32_t message_id, const struct ike_sk *sk,
	const uint8_t *plain, size_t plain_len)
{
	struct piece *piece;
	int rc;

	if (sk->n_fragments > IKE_FRAGMENTS_MAX)
		return -IKE_WIRE_E_LIMIT;
	if (sk->fragment == 0 || sk->fragment > sk->n_fragments)
		return -IKE_WIRE_E_FRAGMENT;
	/* RFC 7383 2.6: a larger total means that the peer found a smaller MTU and began anew. */
	if (!*r || (*r)->message_id != message_id || (*r)->n_total < sk->n_fragments) {
		rc = reassembly_create(r, message_id, sk->n_fragments);
		if (rc < 0)
			return rc;
	}
	if ((*r)->n_total != sk->n_fragments)
		return -IKE_WIRE_E_FRAGMENT;
	piece = &(*r)->pieces[sk->fragment - 1];
	if (piece->is_there)
		return 0;
	rc = room_make(*r, plain_len);
	if (rc < 0)
		return rc;
	*piece = (struct piece){(uint32_t)(*r)->len, (uint16_t)plain_len, true};
	if (plain_len > 0)
		memcpy((*r)->data + (*r)->len, plain, plain_len);
	(*r)->len += plain_len;
	if (sk->fragment == 1)
		(*r)->first_payload = sk->first_payload;
	if (++(*r)->n_have < (*r)->n_total)
		return 0;
	return pieces_join(*r);
}

struct bytes ike_reassembly_take(struct ike_reassembly *r, uint8_t *first_payload)
{
	*first_payload = r->first_payload;
	return (struct bytes){r->data, r->len};
}
