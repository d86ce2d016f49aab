#pragma once

#include "controlplane/ike/engine.h"
#include "controlplane/iked/child.h"
#include "controlplane/iked/transport.h"
#include "ipc/steer.h"

/*
 * The ike process: the engine, the clock, the transport, and messages to its neighbours. It has
 * no files, and no sockets but those that it was given.
 */

/* An answer that no other process will give; goes to the engine after the present step. */
struct local_answer {
	struct local_answer *next;
	enum ike_input_type type; /* IKE_IN_AUTH or IKE_IN_PUBKEY */
	struct ike_request_ref ref;
	const char *text;
};

struct ike_process {
	struct child child;
	struct msg_setup setup;
	struct ipc_steer steer;
	bool is_set_up, is_started, is_stopping, has_stopped;
	struct ike_engine *engine;
	struct transport *transport;
	struct event *timer;
	struct ike_actions actions;
	struct local_answer *first_answer, **last_answer;
	struct event *answers_event;

	struct ike_config *config; /* the engine's */
	uint32_t version;
	/* A configuration that arrives in pieces. */
	uint8_t *incoming;
	size_t incoming_len, incoming_total;
	uint32_t incoming_version;
};

/* Fills in the time, steps the engine, carries out what follows. */
void ike_process_input(struct ike_process *p, struct ike_input *in);

/* ike_actions.c */
void ike_process_act(struct ike_process *p, const struct ike_action *action);
void ike_process_answer_later(struct ike_process *p, enum ike_input_type type,
	const struct ike_request_ref *ref, const char *text);
void ike_process_auth_answer(struct ike_process *p, const struct imsg *msg);
void ike_process_pubkey_answer(struct ike_process *p, const struct imsg *msg);

/* ike_ctl.c: requests of ikectl and penstockctl. */
void ike_process_ctl(struct ike_process *p, const struct imsg *msg);
void ike_process_ctl_line(
	struct ike_process *p, uint64_t serial, enum ctl_type type, const char *text);
void ike_process_ctl_counter(
	struct ike_process *p, uint64_t serial, const struct ctl_counter *counter);

/* ike_show.c */
/* part: one of CTL_SHOW_SA_PARTS. */
void ike_process_show_sa(struct ike_process *p, uint64_t serial, uint32_t part);
void ike_process_show_stats(struct ike_process *p, uint64_t serial);
/* The request's exit status. */
int ike_process_why_policy(struct ike_process *p, uint64_t serial, const char *question);
