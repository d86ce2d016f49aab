#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "controlplane/iked/parent.h"

/* The part of ikectl's requests that needs files or the other processes; ike has the rest. */
static void ctl_reply(
	struct parent *p, uint64_t serial, enum ctl_type type, const void *body, size_t len)
{
	uint8_t record[sizeof(struct msg_ctl) + CTL_BODY_MAX];
	const struct msg_ctl head = {.type = type};

	if (len > CTL_BODY_MAX)
		len = CTL_BODY_MAX;
	memcpy(record, &head, sizeof(head));
	memcpy(record + sizeof(head), body, len);
	parent_send(p, IKED_CONTROL, MSG_CTL_REPLY, serial, record, sizeof(head) + len, -1);
}

void parent_ctl_error(struct parent *p, uint64_t serial, const char *text)
{
	ctl_reply(p, serial, CTL_ERROR, text, strlen(text));
}

void parent_ctl_done(struct parent *p, uint64_t serial, int status)
{
	const struct ctl_done done = {status};

	ctl_reply(p, serial, CTL_DONE, &done, sizeof(done));
}

void parent_ctl_event(struct parent *p, const char *name, uint32_t type)
{
	struct ctl_event event = {
		.type = type, .pid = (uint32_t)getpid(), .timestamp_s = (int64_t)time(NULL)};

	snprintf(event.name, sizeof(event.name), "%s", name);
	parent_send(p, IKED_CONTROL, MSG_CTL_EVENT, 0, &event, sizeof(event), -1);
}

static void log_level_set(struct parent *p, enum log_level level)
{
	const uint32_t number = (uint32_t)level;

	p->log.level = level;
	parent_send(p, IKED_KEY, MSG_LOG_LEVEL, 0, &number, sizeof(number), -1);
	parent_send(p, IKED_CONTROL, MSG_LOG_LEVEL, 0, &number, sizeof(number), -1);
	parent_send_engines(p, MSG_LOG_LEVEL, &number, sizeof(number));
}

void parent_ctl_request(struct parent *p, const struct imsg *msg)
{
	char path[PATH_MAX];
	struct msg_ctl head;
	size_t len = msg->len - sizeof(head);

	memcpy(&head, msg->body, sizeof(head));
	parent_ctl_event(p, ctl_type_str((enum ctl_type)head.type), head.type);
	switch (head.type) {
	case CTL_LOAD:
		if (len == 0 || len >= sizeof(path) || msg->body[sizeof(head)] != '/') {
			parent_ctl_error(p, msg->serial, "the file's name must be absolute");
			parent_ctl_done(p, msg->serial, 1);
			return;
		}
		memcpy(path, msg->body + sizeof(head), len);
		path[len] = '\0';
		parent_reload(p, path, true, msg->serial);
		return;
	case CTL_RELOAD:
	case CTL_RESET_CA:
		/* Keys and public keys are read again with the file. */
		parent_reload(p, p->conf_path, true, msg->serial);
		return;
	case CTL_LOG_VERBOSE:
		log_level_set(p, LOG_LVL_DEBUG);
		break;
	case CTL_LOG_BRIEF:
		log_level_set(p, LOG_LVL_INFO);
		break;
	case CTL_RESET_USER:
	case CTL_SHOW_CERTSTORE:
		/* No users and no certificates are loaded by this version. */
		break;
	default:
		parent_ctl_error(p, msg->serial, "not a request for the parent process");
		parent_ctl_done(p, msg->serial, 1);
		return;
	}
	parent_ctl_done(p, msg->serial, 0);
}
