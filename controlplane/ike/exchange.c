#include <stdlib.h>
#include <string.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"
#include "controlplane/ike/message_rules.h"

/*
 * What arrives: header, SA, window, decryption, payloads, rules; then one handler for each
 * exchange and direction. Whatever does not pass is counted and dropped.
 */

static bool stray_allowed(struct ike_engine *engine)
{
	uint64_t second = engine->now_ms / 1000;

	if (second != engine->stray_second) {
		engine->stray_second = second;
		engine->stray_count = 0;
	}
	if (engine->stray_count >= engine->p.limits.stray_answers_per_s ||
		!engine->is_transport_up) {
		engine->stats.stray_suppressed++;
		return false;
	}
	engine->stray_count++;
	engine->stats.stray_answered++;
	return true;
}

/* An answer outside any SA; never longer than the shortest request it can answer. */
static void answer_stray(struct ike_engine *engine, const struct ike_datagram *in,
	const struct ike_header *h, uint16_t notify)
{
	uint8_t buf[64];
	struct ike_builder b;
	size_t len;
	struct ike_header answer = {.spi_i = h->spi_i,
		.spi_r = h->spi_r,
		.version = IKE_VERSION,
		.exchange = h->exchange,
		.flags = IKE_FLAG_RESPONSE |
			 (ike_header_from_initiator(h) ? 0 : IKE_FLAG_INITIATOR),
		.message_id = h->message_id};

	if (!stray_allowed(engine))
		return;
	ike_builder_init(&b, buf, sizeof(buf), &answer);
	ike_put_notify(&b, notify, NULL, 0);
	if (ike_builder_finish(&b, &len) < 0 || len > in->len)
		return;
	struct ike_action *action = ike_action_add(engine->out, IKE_ACT_SEND);

	if (!action)
		return;
	action->send.data = malloc(len);
	if (!action->send.data)
		return;
	memcpy(action->send.data, buf, len);
	action->send.len = len;
	action->send.local = in->local;
	action->send.remote = in->remote;
	action->send.marker = in->has_marker;
}

static void log_drop(struct ike_engine *engine, const struct ike_datagram *in, const char *why)
{
	char peer[ENDPOINT_STRLEN];

	engine->stats.msg_dropped++;
	if (log_limit_ok(&engine->drop_log, engine->now_ms))
		log_debug(engine->p.log, "dropped %zu bytes from %s: %s", in->len,
			endpoint_str(&in->remote, peer), why);
}

/* The two sides' SPIs must be those of the SA; SPIr is not known before the first answer. */
static struct ike_sa *find_sa(struct ike_engine *engine, const struct ike_header *h)
{
	bool from_initiator = ike_header_from_initiator(h);
	struct ike_sa *sa = ike_sa_by_spi(engine, from_initiator ? h->spi_r : h->spi_i);

	if (!sa || sa->is_initiator == from_initiator)
		return NULL;
	if (sa->spi_i != h->spi_i || (sa->spi_r && sa->spi_r != h->spi_r))
		return NULL;
	return sa;
}

static void unknown_spi(
	struct ike_engine *engine, const struct ike_datagram *in, const struct ike_header *h)
{
	engine->stats.dropped_unknown_spi++;
	log_drop(engine, in, "no such IKE SA");
	/* RFC 7296 2.21.4: a request may be answered, never an answer. */
	if (!ike_header_is_response(h) && h->spi_r)
		answer_stray(engine, in, h, IKE_N_INVALID_IKE_SPI);
}

/* RFC 7296 2.3, window of one. True if the message is to be worked on. */
static bool window_accepts(struct ike_sa *sa, const struct ike_header *h)
{
	struct ike_stats *stats = &sa->engine->stats;

	if (ike_header_is_response(h)) {
		if (sa->request.type != IKE_TASK_NONE && h->message_id == sa->request.message_id &&
			h->exchange == sa->request.exchange && sa->wait == IKE_WAIT_NONE)
			return true;
		stats->dropped_window++;
		return false;
	}
	if (h->message_id == sa->expected_id) {
		/* Its first copy is being worked on: the answer follows. */
		if (sa->wait != IKE_WAIT_NONE && !sa->is_initiator) {
			stats->requests_dropped_busy++;
			return false;
		}
		return true;
	}
	if (h->message_id + 1 == sa->expected_id)
		return true; /* a repeat: answered again once it proves authentic */
	stats->dropped_window++;
	return false;
}

static bool open_fragment(struct ike_sa *sa, struct ike_message *m, size_t plain_len,
	struct bytes *payloads, uint8_t *first)
{
	struct ike_stats *stats = &sa->engine->stats;

	stats->frag_received++;
	int rc = ike_reassembly_add(
		&sa->reassembly, m->hdr.message_id, &m->sk->sk, sa->engine->plain, plain_len);

	if (rc < 0)
		stats->frag_dropped++;
	if (rc <= 0)
		return false;
	stats->frag_reassembled++;
	*payloads = ike_reassembly_take(sa->reassembly, first);
	if (payloads->len > sa->engine->p.limits.max_message_len) {
		stats->frag_reassembly_failed++;
		ike_reassembly_destroy(&sa->reassembly);
		return false;
	}
	return true;
}

/* RFC 7296 2.21.2, 2.21.3: an authentic answer that is malformed is the same when asked for again.
 * The peer holds the SA for valid, so it is told. */
static void refuse_answer(struct ike_sa *sa)
{
	struct ike_builder *b;

	if (sa->state >= IKE_SA_CLOSING) {
		ike_sa_close(sa, "malformed answer");
		return;
	}
	ike_request_done(sa);
	if (sa->state >= IKE_SA_ESTABLISHED)
		ike_sa_wind_down(sa);
	ike_task_remove_all(sa);
	b = ike_builder_begin(sa->engine);
	ike_put_notify(b, IKE_N_INVALID_SYNTAX, NULL, 0);
	ike_put_delete_ike(b);
	sa->close_reason = "malformed answer";
	ike_sa_set_state(sa, IKE_SA_CLOSING);
	ike_request_send(sa, IKE_TASK_DELETE_IKE, IKE_EXCHANGE_INFORMATIONAL, b);
}

/* A request that is authentic but wrong is answered (RFC 7296 2.21.2, 2.21.3). */
static void answer_malformed(struct ike_sa *sa, const struct ike_message *m, int rc)
{
	struct ike_engine *engine = sa->engine;

	engine->stats.dropped_malformed++;
	if (ike_header_is_response(&m->hdr)) {
		refuse_answer(sa);
		return;
	}
	if (rc == -IKE_WIRE_E_CRITICAL)
		ike_response_error(sa, m->hdr.exchange, m->hdr.message_id,
			IKE_N_UNSUPPORTED_CRITICAL_PAYLOAD, &m->unsupported, 1);
	else
		ike_response_error(
			sa, m->hdr.exchange, m->hdr.message_id, IKE_N_INVALID_SYNTAX, NULL, 0);
	/* RFC 7296 2.21.2: IKE_AUTH that fails so leaves no SA; later ones close it. */
	if (sa->state != IKE_SA_CLOSED &&
		(sa->state < IKE_SA_ESTABLISHED || rc != -IKE_WIRE_E_CRITICAL))
		ike_sa_close(sa, "malformed message");
}

static void dispatch(struct ike_sa *sa)
{
	const struct ike_header *h = &sa->engine->msg->hdr;
	bool is_response = ike_header_is_response(h);

	/* A further request: the peer has our answer to the one before (RFC 7296 2.3). */
	if (!is_response)
		child_confirm_all(sa);
	if (sa->state < IKE_SA_ESTABLISHED) {
		if (h->exchange == IKE_EXCHANGE_AUTH && is_response == sa->is_initiator)
			(is_response ? auth_response_input : auth_request_input)(sa);
		else
			sa->engine->stats.dropped_state++;
		return;
	}
	switch (h->exchange) {
	case IKE_EXCHANGE_CREATE_CHILD_SA:
		(is_response ? child_response_input : child_request_input)(sa);
		break;
	case IKE_EXCHANGE_INFORMATIONAL:
		(is_response ? informational_response_input : informational_request_input)(sa);
		break;
	default:
		sa->engine->stats.dropped_state++;
		if (!is_response)
			ike_response_error(
				sa, h->exchange, h->message_id, IKE_N_INVALID_SYNTAX, NULL, 0);
		break;
	}
}

static bool is_repeat(const struct ike_sa *sa, const struct ike_header *h)
{
	return !ike_header_is_response(h) && h->message_id + 1 == sa->expected_id;
}

static void protected_input(struct ike_sa *sa, const struct ike_datagram *in)
{
	struct ike_engine *engine = sa->engine;
	struct ike_message *m = engine->msg;
	size_t plain_len;

	if (!sa->has_keys || !m->sk) {
		engine->stats.dropped_state++;
		log_drop(engine, in, "not protected");
		return;
	}
	if (!window_accepts(sa, &m->hdr)) {
		log_drop(engine, in, "message ID outside the window, or being worked on");
		return;
	}
	if (ike_sk_open(&sa->in, m, engine->plain, IKE_MESSAGE_MAX, &plain_len) < 0) {
		engine->stats.dropped_auth++;
		log_drop(engine, in, "integrity check failed");
		return;
	}
	sa->last_received_ms = engine->now_ms;
	bool is_fragment = m->sk->sk.n_fragments != 0;

	if (is_repeat(sa, &m->hdr)) {
		nat_follow(sa, in);
		/* RFC 7383 2.6.1: only the first fragment brings the answer again. */
		if (!is_fragment || m->sk->sk.fragment == 1)
			ike_response_repeat(sa);
		return;
	}
	struct bytes payloads = {engine->plain, plain_len};
	uint8_t first = m->sk->sk.first_payload;

	if (is_fragment && !open_fragment(sa, m, plain_len, &payloads, &first))
		return;
	const char *why = NULL;

	engine->inner = payloads;
	engine->inner_first = first;
	int rc = ike_message_decode_inner(m, first, payloads.data, payloads.len);

	if (rc == 0)
		rc = ike_message_check(m, &why);
	nat_follow(sa, in);
	ike_log_recv(sa, &m->hdr, in->len, sa->policy);
	if (rc < 0) {
		sa_log(sa, LOG_LVL_INFO, "malformed %s: %s", ike_exchange_str(m->hdr.exchange),
			why ? why : ike_wire_error_str(rc));
		answer_malformed(sa, m, rc);
	} else {
		dispatch(sa);
	}
	ike_reassembly_destroy(&sa->reassembly);
}

static void known_input(struct ike_sa *sa, const struct ike_datagram *in)
{
	struct ike_engine *engine = sa->engine;
	int rc;

	if (engine->msg->hdr.exchange == IKE_EXCHANGE_SA_INIT) {
		sa_init_response_input(sa, in);
		return;
	}
	rc = ike_message_decode(in->data, in->len, engine->msg);
	if (rc < 0 && rc != -IKE_WIRE_E_CRITICAL) {
		engine->stats.dropped_malformed++;
		log_drop(engine, in, ike_wire_error_str(rc));
		return;
	}
	protected_input(sa, in);
	if (sa->state != IKE_SA_CLOSED) {
		ike_tasks_run(sa);
		ike_sa_update_timer(sa);
	}
}

void ike_datagram_input(struct ike_engine *engine, const struct ike_datagram *in)
{
	struct ike_header h;

	engine->stats.msg_received++;
	if (!engine->is_transport_up) {
		engine->stats.dropped_transport_down++;
		engine->stats.msg_dropped++;
		return;
	}
	if (ike_header_decode(in->data, in->len, &h) < 0 || h.length != in->len) {
		engine->stats.dropped_short++;
		log_drop(engine, in, "shorter than a header, or of another length");
		return;
	}
	if (h.version >> 4 != IKE_VERSION_MAJOR) {
		engine->stats.dropped_version++;
		log_drop(engine, in, "version");
		/* RFC 7296 2.5: a higher major version is answered; IKEv1 would not understand. */
		if (h.version >> 4 > IKE_VERSION_MAJOR && !ike_header_is_response(&h))
			answer_stray(engine, in, &h, IKE_N_INVALID_MAJOR_VERSION);
		return;
	}
	engine->msg->hdr = h;
	if (h.exchange == IKE_EXCHANGE_SA_INIT && !ike_header_is_response(&h)) {
		if (!h.spi_r && h.spi_i && !h.message_id && ike_header_from_initiator(&h)) {
			sa_init_request_input(engine, in);
		} else {
			engine->stats.dropped_malformed++;
			log_drop(engine, in, "IKE_SA_INIT with a wrong header");
		}
		return;
	}
	struct ike_sa *sa = find_sa(engine, &h);

	if (sa)
		known_input(sa, in);
	else
		unknown_spi(engine, in, &h);
}
