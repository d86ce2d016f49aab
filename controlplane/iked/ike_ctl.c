#include <stdio.h>
#include <string.h>

#include "controlplane/iked/ike_process.h"

static void ctl_reply(
	struct ike_process *p, uint64_t serial, enum ctl_type type, const void *body, size_t len)
{
	uint8_t record[sizeof(struct msg_ctl) + CTL_BODY_MAX];
	const struct msg_ctl head = {.type = type};

	struct imsg_channel *to = child_peer(&p->child, IKED_CONTROL, 0);

	if (!to || serial == 0)
		return;
	if (len > CTL_BODY_MAX)
		len = CTL_BODY_MAX;
	memcpy(record, &head, sizeof(head));
	memcpy(record + sizeof(head), body, len);
	imsg_send(to, MSG_CTL_REPLY, serial, record, sizeof(head) + len, -1);
}

void ike_process_ctl_line(
	struct ike_process *p, uint64_t serial, enum ctl_type type, const char *text)
{
	ctl_reply(p, serial, type, text, strlen(text));
}

void ike_process_ctl_counter(
	struct ike_process *p, uint64_t serial, const struct ctl_counter *counter)
{
	ctl_reply(p, serial, CTL_COUNTER, counter, sizeof(*counter));
}

static void ctl_done(struct ike_process *p, uint64_t serial, int status)
{
	const struct ctl_done done = {status};

	ctl_reply(p, serial, CTL_DONE, &done, sizeof(done));
}

/* Requests that are one input of the engine. */
static const struct plain_row {
	enum ctl_type type;
	enum ike_input_type input;
	enum ike_reset_what what;
} plain_rows[] = {
	{CTL_ACTIVE, IKE_IN_ACTIVE, 0},
	{CTL_PASSIVE, IKE_IN_PASSIVE, 0},
	{CTL_COUPLE, IKE_IN_COUPLE, 0},
	{CTL_DECOUPLE, IKE_IN_DECOUPLE, 0},
	{CTL_RESET_ALL, IKE_IN_RESET, IKE_RESET_ALL},
	{CTL_RESET_SA, IKE_IN_RESET, IKE_RESET_SA},
	{CTL_RESET_POLICY, IKE_IN_RESET, IKE_RESET_POLICY},
	{CTL_RESET_ID, IKE_IN_RESET, IKE_RESET_ID},
};

static bool plain_request(struct ike_process *p, enum ctl_type type, const char *text)
{
	for (size_t i = 0; i < sizeof(plain_rows) / sizeof(plain_rows[0]); i++) {
		const struct plain_row *row = &plain_rows[i];
		struct ike_input in = {.type = row->input};

		if (row->type != type)
			continue;
		if (row->input == IKE_IN_RESET)
			in.reset = (struct ike_reset){row->what, text};
		ike_process_input(p, &in);
		return true;
	}
	return false;
}

void ike_process_ctl(struct ike_process *p, const struct imsg *msg)
{
	char text[CTL_BODY_MAX + 1];
	struct msg_ctl head;
	size_t len = msg->len - sizeof(head);
	int status = 0;

	memcpy(&head, msg->body, sizeof(head));
	memcpy(text, msg->body + sizeof(head), len);
	text[len] = '\0';
	if (!p->engine) {
		ike_process_ctl_line(p, msg->serial, CTL_ERROR, "the engine is not ready yet");
		status = 1;
	} else if (head.type == CTL_SHOW_SA) {
		ike_process_show_sa(p, msg->serial, head.part);
	} else if (head.type == CTL_SHOW_STATS) {
		ike_process_show_stats(p, msg->serial);
	} else if (head.type == CTL_WHY_POLICY) {
		status = ike_process_why_policy(p, msg->serial, text);
	} else if (!plain_request(p, (enum ctl_type)head.type, text)) {
		ike_process_ctl_line(
			p, msg->serial, CTL_ERROR, "not a request for the ike process");
		status = 1;
	}
	ctl_done(p, msg->serial, status);
}
