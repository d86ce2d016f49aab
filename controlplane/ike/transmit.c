#include <stdlib.h>
#include <string.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"

/*
 * RFC 7296 2.1: a request is repeated with the same bytes until its answer comes or we give up;
 * an answer is kept and repeated for each repeat of its request.
 */

struct ike_builder *ike_builder_begin(struct ike_engine *engine)
{
	ike_builder_init_inner(&engine->builder, engine->scratch, IKE_MESSAGE_MAX);
	return &engine->builder;
}

void ike_transmit(struct ike_sa *sa, const struct ike_datagrams *d, uint64_t after_command)
{
	struct ike_engine *engine = sa->engine;

	if (!engine->is_transport_up) {
		engine->stats.msg_send_failed++;
		return;
	}
	for (uint16_t i = 0; i < d->n; i++) {
		struct bytes b = ike_datagrams_at(d, i);
		struct ike_action *action = ike_action_add(engine->out, IKE_ACT_SEND);

		if (!action)
			return;
		action->send.data = malloc(b.len);
		if (!action->send.data) {
			engine->out->no_memory = true;
			engine->stats.msg_send_failed++;
			return;
		}
		memcpy(action->send.data, b.data, b.len);
		action->send.len = b.len;
		action->send.local = sa->local;
		action->send.remote = sa->remote;
		action->send.marker = sa->uses_marker;
		action->send.after_command = after_command;
		if (d->n > 1)
			engine->stats.frag_sent++;
	}
	engine->stats.msg_sent++;
}

/* RFC 7383 2.5.1: bytes of one IKE message that keep its packet within what surely passes. */
static size_t fragment_limit(const struct ike_sa *sa)
{
	const struct ike_config *config = sa->engine->config;
	bool is_v6 = sa->remote.addr.family == 6;
	size_t least = is_v6 ? 1280 : 576;
	enum ike_fragmentation how = config ? config->fragmentation : IKE_FRAGMENTS_OF_LONG;
	size_t packet = how == IKE_FRAGMENTS_OF_ALL ? least : 1280;

	if (!sa->peer_does_fragments || how == IKE_FRAGMENTS_NONE)
		return 0;
	if (sa->pmtu && sa->pmtu < packet)
		packet = sa->pmtu > least ? sa->pmtu : least;
	return packet - (is_v6 ? 40 : 20) - 8 - IKE_NATT_MARKER_LEN;
}

static size_t datagrams_len(const struct ike_datagrams *d)
{
	return d->n ? d->end[d->n - 1] : 0;
}

static int seal(struct ike_sa *sa, const struct ike_header *h, struct ike_builder *b,
	struct ike_datagrams *out)
{
	size_t len;

	if (ike_builder_finish(b, &len) < 0)
		return -1;
	struct bytes payloads = {sa->engine->scratch, len};

	return ike_seal(
		&sa->out, &sa->engine->rng, h, b->first_payload, payloads, fragment_limit(sa), out);
}

int ike_request_send(
	struct ike_sa *sa, enum ike_task_type type, uint8_t exchange, struct ike_builder *b)
{
	struct ike_engine *engine = sa->engine;
	struct ike_header h = {.spi_i = sa->spi_i,
		.spi_r = sa->spi_r,
		.version = IKE_VERSION,
		.exchange = exchange,
		.flags = sa->is_initiator ? IKE_FLAG_INITIATOR : 0,
		.message_id = sa->next_request_id};

	ike_datagrams_fini(&sa->request.bytes);
	if (seal(sa, &h, b, &sa->request.bytes) < 0) {
		ike_sa_close(sa, "message could not be built");
		return -1;
	}
	sa->next_request_id++;
	sa->request.type = type;
	sa->request.exchange = exchange;
	sa->request.message_id = h.message_id;
	sa->request.attempts = 0;
	sa->request.after_command = 0;
	sa->request.deadline_ms = engine->now_ms +
				  (engine->is_stopping ? STOP_RETRANSMIT_MS : RETRANSMIT_MS);
	ike_log_send(sa, &h, datagrams_len(&sa->request.bytes));
	ike_checkpoint_emit(sa);
	ike_transmit(sa, &sa->request.bytes, 0);
	return 0;
}

void ike_request_done(struct ike_sa *sa)
{
	ike_datagrams_fini(&sa->request.bytes);
	ike_attempt_destroy(sa->engine, sa->request.attempt);
	sa->request = (struct ike_request){0};
}

void ike_request_timeout(struct ike_sa *sa)
{
	struct ike_engine *engine = sa->engine;

	if (sa->request.attempts >= (engine->is_stopping ? STOP_RETRANSMITS : RETRANSMITS)) {
		engine->stats.requests_timed_out++;
		sa_log(sa, LOG_LVL_INFO, "retransmit limit reached for %s req %u",
			ike_exchange_str(sa->request.exchange), sa->request.message_id);
		ike_sa_close(sa, "retransmit limit reached");
		return;
	}
	sa->request.attempts++;
	sa->request.deadline_ms = engine->now_ms +
				  (engine->is_stopping ? STOP_RETRANSMIT_MS
						       : (uint64_t)RETRANSMIT_MS
								 << sa->request.attempts);
	engine->stats.requests_retransmitted++;
	char peer[ENDPOINT_STRLEN], local[ENDPOINT_STRLEN];

	sa_log(sa, LOG_LVL_INFO, "retransmit %u %s req %u peer %s local %s", sa->request.attempts,
		ike_exchange_str(sa->request.exchange), sa->request.message_id,
		endpoint_str(&sa->remote, peer), endpoint_str(&sa->local, local));
	ike_transmit(sa, &sa->request.bytes, 0);
}

void ike_request_hurry(struct ike_sa *sa)
{
	if (sa->state == IKE_SA_CLOSED || sa->request.type == IKE_TASK_NONE)
		return;
	sa->request.attempts = 0;
	if (sa->request.type == IKE_TASK_DELETE_IKE)
		sa->request.deadline_ms = sa->engine->now_ms + STOP_RETRANSMIT_MS;
	else
		sa->request.deadline_ms = sa->engine->now_ms;
	ike_sa_update_timer(sa);
}

void ike_response_send(struct ike_sa *sa, uint8_t exchange, uint32_t message_id,
	struct ike_builder *b, uint64_t after_command)
{
	struct ike_engine *engine = sa->engine;
	struct ike_header h = {.spi_i = sa->spi_i,
		.spi_r = sa->spi_r,
		.version = IKE_VERSION,
		.exchange = exchange,
		.flags = IKE_FLAG_RESPONSE | (sa->is_initiator ? IKE_FLAG_INITIATOR : 0),
		.message_id = message_id};

	ike_datagrams_fini(&sa->response);
	if (seal(sa, &h, b, &sa->response) < 0) {
		ike_sa_close(sa, "message could not be built");
		return;
	}
	sa->expected_id = message_id + 1;
	sa->response_until_ms = engine->now_ms + RESPONSE_KEEP_MS;
	ike_log_send(sa, &h, datagrams_len(&sa->response));
	ike_checkpoint_emit(sa);
	ike_transmit(sa, &sa->response, after_command);
}

void ike_response_error(struct ike_sa *sa, uint8_t exchange, uint32_t message_id, uint16_t type,
	const void *data, size_t len)
{
	struct ike_builder *b = ike_builder_begin(sa->engine);

	sa_log(sa, LOG_LVL_INFO, "answering %s req %u with %s", ike_exchange_str(exchange),
		message_id, ike_notify_str(type));
	ike_put_notify(b, type, data, len);
	ike_response_send(sa, exchange, message_id, b, 0);
}

void ike_response_repeat(struct ike_sa *sa)
{
	if (!sa->response.n || sa->engine->now_ms > sa->response_until_ms)
		return;
	sa->engine->stats.responses_retransmitted++;
	ike_transmit(sa, &sa->response, 0);
}
