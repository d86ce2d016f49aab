#include <string.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"
#include "shared/bytes.h"

/*
 * An opaque record of an IKE SA, given out before each message that depends on it, so that a
 * later engine could take the SA over. Its form is known to us alone; it begins with a version.
 */
enum { CHECKPOINT_VERSION = 1 };

static void write_addr(struct writer *w, const struct endpoint *e)
{
	write_u8(w, e->addr.family);
	write_bytes(w, e->addr.b, sizeof(e->addr.b));
	write_u16(w, e->port);
}

static void write_id(struct writer *w, const struct ike_id *id)
{
	write_u8(w, id->type);
	write_u16(w, id->len);
	write_bytes(w, id->data, id->len);
}

static void write_record(struct writer *w, const struct ike_sa *sa)
{
	const struct ike_sa_keys *k = &sa->keys;

	write_u8(w, CHECKPOINT_VERSION);
	write_u64(w, sa->tunnel);
	write_u64(w, sa->spi_i);
	write_u64(w, sa->spi_r);
	write_u8(w, (uint8_t)(sa->is_initiator | sa->uses_marker << 1 | sa->we_are_natted << 2 |
			      sa->peer_is_natted << 3 | sa->peer_does_fragments << 4));
	write_addr(w, &sa->local);
	write_addr(w, &sa->remote);
	write_u32(w, sa->next_request_id);
	write_u32(w, sa->expected_id);
	write_u64(w, sa->out.next_iv);
	write_u16(w, sa->suite.encr->id);
	write_u16(w, sa->suite.encr->key_len);
	write_u16(w, sa->suite.integ ? sa->suite.integ->id : INTEG_NONE);
	write_u16(w, sa->suite.prf->id);
	write_bytes(w, k->sk_d, k->prf_len);
	write_bytes(w, k->sk_ai, k->integ_len);
	write_bytes(w, k->sk_ar, k->integ_len);
	write_bytes(w, k->sk_ei, k->enc_len);
	write_bytes(w, k->sk_er, k->enc_len);
	write_id(w, &sa->local_id);
	write_id(w, &sa->peer_id);
}

void ike_checkpoint_emit(struct ike_sa *sa)
{
	if (sa->state != IKE_SA_VALID && sa->state != IKE_SA_ESTABLISHED)
		return;
	struct ike_action *action = ike_action_add(sa->engine->out, IKE_ACT_CHECKPOINT);

	if (!action)
		return;
	struct writer w = writer_init(action->checkpoint.record, IKE_CHECKPOINT_MAX);

	write_record(&w, sa);
	action->checkpoint.sa = sa->handle;
	/* Very long identities do not fit: such an SA is not taken over. */
	action->checkpoint.len = w.failed ? 0 : (uint16_t)w.len;
}

void ike_checkpoint_forget(struct ike_sa *sa)
{
	struct ike_action *action = ike_action_add(sa->engine->out, IKE_ACT_CHECKPOINT);

	if (action)
		action->checkpoint.sa = sa->handle;
}
