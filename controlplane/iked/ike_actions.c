#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "controlplane/iked/ike_process.h"
#include "shared/wipe.h"

void ike_process_answer_later(struct ike_process *p, enum ike_input_type type,
	const struct ike_request_ref *ref, const char *text)
{
	struct local_answer *answer = malloc(sizeof(*answer));

	if (!answer)
		return; /* as if it were lost: the request's deadline ends the exchange */
	*answer = (struct local_answer){NULL, type, *ref, text};
	*p->last_answer = answer;
	p->last_answer = &answer->next;
	event_active(p->answers_event, EV_TIMEOUT, 0);
}

static void auth_request(struct ike_process *p, const struct ike_auth_request *request)
{
	struct imsg_channel *key = child_peer(&p->child, IKED_KEY, 0);
	uint8_t body[IMSG_BODY_MAX];
	struct msg_auth_request m = {
		.ref = request->ref,
		.kind = request->kind,
		.config_version = request->config_version,
		.policy_number = request->policy_number,
		.auth = request->auth,
		.peer_hashes = request->peer_hashes,
		.prf_id = request->prf_id,
		.allow_sha1 = request->allow_sha1,
		.peer_used_pss = request->peer_used_pss,
		.wanted_keys = request->wanted_keys,
		.octets_len = (uint32_t)request->octets_len,
		.local = request->local,
		.peer = request->peer,
	};

	if (!key) {
		ike_process_answer_later(
			p, IKE_IN_AUTH, &request->ref, "the key process is not running");
		return;
	}
	if (request->octets_len > sizeof(body) - sizeof(m)) {
		ike_process_answer_later(p, IKE_IN_AUTH, &request->ref, "too much to sign");
		return;
	}
	memcpy(body, &m, sizeof(m));
	memcpy(body + sizeof(m), request->octets, request->octets_len);
	imsg_send(key, MSG_AUTH_REQUEST, request->ref.serial, body, sizeof(m) + request->octets_len,
		-1);
}

static void pubkey_request(struct ike_process *p, const struct ike_pubkey_request *request)
{
	const struct msg_pubkey_request m = {
		.ref = request->ref, .peer = request->peer, .auth = request->auth};

	imsg_send(p->child.parent, MSG_PUBKEY_REQUEST, request->ref.serial, &m, sizeof(m), -1);
}

static void engines_tell(struct ike_process *p, enum msg_type type, const void *body, size_t len)
{
	for (uint32_t i = 0; i < p->setup.n_engines; i++) {
		struct imsg_channel *to = child_peer(&p->child, IKED_IKE, i);

		if (to)
			imsg_send(to, type, 0, body, len, -1);
	}
}

static void session_acquire(struct ike_process *p, const struct ike_session_acquire *acquire)
{
	struct imsg_channel *to = child_peer(&p->child, IKED_IKE, acquire->engine);

	if (to)
		imsg_send(to, MSG_SESSION_ACQUIRE, 0, acquire, sizeof(*acquire), -1);
}

/* For `ikectl monitor`. */
static void monitor_event(struct ike_process *p, const struct ike_event *event)
{
	static const char *const names[] = {
		[IKE_EVENT_SA_STATE] = "sa state",
		[IKE_EVENT_CHILD_UP] = "child sa up",
		[IKE_EVENT_CHILD_DOWN] = "child sa down",
		[IKE_EVENT_AUTH_FAILED] = "authentication failed",
		[IKE_EVENT_CONFIG] = "configuration",
	};
	struct imsg_channel *control = child_peer(&p->child, IKED_CONTROL, 0);
	struct ctl_event out = {
		.type = (uint32_t)event->type,
		.len = (uint32_t)strlen(event->text),
		.peer_id = (uint32_t)event->sa,
		.pid = (uint32_t)getpid(),
		.timestamp_s = (int64_t)time(NULL),
	};

	if (!control || event->type > IKE_EVENT_CONFIG || !names[event->type])
		return;
	snprintf(out.name, sizeof(out.name), "%s", names[event->type]);
	imsg_send(control, MSG_CTL_EVENT, 0, &out, sizeof(out), -1);
}

void ike_process_act(struct ike_process *p, const struct ike_action *action)
{
	switch (action->type) {
	case IKE_ACT_SEND:
		p->transport->ops->send(p->transport, &action->send);
		break;
	case IKE_ACT_COMMAND:
		p->transport->ops->command(p->transport, &action->command);
		break;
	case IKE_ACT_AUTH_REQUEST:
		auth_request(p, &action->auth);
		break;
	case IKE_ACT_PUBKEY_REQUEST:
		pubkey_request(p, &action->pubkey);
		break;
	case IKE_ACT_CHECKPOINT:
		/* Records are kept once another engine can take SAs over; until then an engine
		 * that starts finds its predecessor's SAs in espd and replaces them. */
		break;
	case IKE_ACT_SESSION:
		engines_tell(p, MSG_SESSION, &action->session, sizeof(action->session));
		break;
	case IKE_ACT_SESSION_QUERY:
		engines_tell(p, MSG_SESSION_QUERY, NULL, 0);
		break;
	case IKE_ACT_SESSION_ACQUIRE:
		session_acquire(p, &action->session_acquire);
		break;
	case IKE_ACT_EVENT:
		monitor_event(p, &action->event);
		break;
	}
}

void ike_process_auth_answer(struct ike_process *p, const struct imsg *msg)
{
	struct ike_input in = {.type = IKE_IN_AUTH};
	struct reader r = reader_init(msg->body, msg->len);
	struct bytes data, cert, rest;
	struct msg_auth m;
	char text[128];

	read_copy(&r, &m, sizeof(m));
	data = read_bytes(&r, m.auth_len);
	cert = read_bytes(&r, m.cert_len);
	rest = read_bytes(&r, reader_left(&r));
	if (r.failed || m.auth_len > IKE_AUTH_DATA_MAX || m.cert_len > IKE_PUBKEY_MAX) {
		log_error(&p->child.log, "malformed answer of the key process");
		return;
	}
	snprintf(text, sizeof(text), "%.*s", (int)(rest.len < 127 ? rest.len : 127),
		rest.len > 0 ? (const char *)rest.data : "");
	in.auth = (struct ike_auth_answer){
		.ref = m.ref,
		.error = m.error,
		.method = m.method,
		.data = data.data,
		.len = data.len,
		.cert_encoding = m.cert_encoding,
		.cert = cert.data,
		.cert_len = cert.len,
		.text = text,
	};
	ike_process_input(p, &in);
}

void ike_process_pubkey_answer(struct ike_process *p, const struct imsg *msg)
{
	struct ike_input in = {.type = IKE_IN_PUBKEY};
	struct reader r = reader_init(msg->body, msg->len);
	struct bytes spki, rest;
	struct msg_pubkey m;
	char text[512];

	read_copy(&r, &m, sizeof(m));
	spki = read_bytes(&r, m.spki_len);
	rest = read_bytes(&r, reader_left(&r));
	if (r.failed)
		return;
	snprintf(text, sizeof(text), "%.*s", (int)(rest.len < 511 ? rest.len : 511),
		rest.len > 0 ? (const char *)rest.data : "");
	in.pubkey = (struct ike_pubkey_answer){
		.ref = m.ref,
		.error = m.error,
		.spki = spki.data,
		.spki_len = spki.len,
		.text = text,
	};
	ike_process_input(p, &in);
}
