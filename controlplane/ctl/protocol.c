#include "controlplane/ctl/protocol.h"

#include <stdbool.h>
#include <string.h>

/* What a type's body must be. */
enum body_kind { BODY_NONE, BODY_TEXT, BODY_COUNTER, BODY_EVENT, BODY_DONE };

struct type_row {
	enum ctl_type type;
	bool is_request;
	enum body_kind body;
	const char *name;
};

static const struct type_row rows[] = {
	{CTL_ACTIVE, true, BODY_NONE, "active"},
	{CTL_PASSIVE, true, BODY_NONE, "passive"},
	{CTL_COUPLE, true, BODY_NONE, "couple"},
	{CTL_DECOUPLE, true, BODY_NONE, "decouple"},
	{CTL_RELOAD, true, BODY_NONE, "reload"},
	{CTL_LOG_VERBOSE, true, BODY_NONE, "log verbose"},
	{CTL_LOG_BRIEF, true, BODY_NONE, "log brief"},
	{CTL_RESET_ALL, true, BODY_NONE, "reset all"},
	{CTL_RESET_CA, true, BODY_NONE, "reset ca"},
	{CTL_RESET_POLICY, true, BODY_NONE, "reset policy"},
	{CTL_RESET_SA, true, BODY_NONE, "reset sa"},
	{CTL_RESET_USER, true, BODY_NONE, "reset user"},
	{CTL_MONITOR, true, BODY_NONE, "monitor"},
	{CTL_SHOW_SA, true, BODY_NONE, "show sa"},
	{CTL_SHOW_CERTSTORE, true, BODY_NONE, "show certstore"},
	{CTL_SHOW_STATS, true, BODY_NONE, "show stats"},
	{CTL_LOAD, true, BODY_TEXT, "load"},
	{CTL_RESET_ID, true, BODY_TEXT, "reset id"},
	{CTL_WHY_POLICY, true, BODY_TEXT, "why-policy"},
	{CTL_TEXT, false, BODY_TEXT, "text"},
	{CTL_ERROR, false, BODY_TEXT, "error"},
	{CTL_COUNTER, false, BODY_COUNTER, "counter"},
	{CTL_EVENT, false, BODY_EVENT, "event"},
	{CTL_DONE, false, BODY_DONE, "done"},
};

const char *ctl_error_str(int error)
{
	switch (error) {
	case CTL_OK:
		return "no error";
	case CTL_E_SHORT:
		return "message cut short or of a wrong length";
	case CTL_E_MAGIC:
		return "not the control protocol";
	case CTL_E_VERSION:
		return "another version of the control protocol";
	case CTL_E_TYPE:
		return "unknown kind of message";
	case CTL_E_BODY:
		return "malformed message";
	default:
		return "unknown error";
	}
}

static const struct type_row *row_find(uint16_t type)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].type == type)
			return &rows[i];
	}
	return NULL;
}

const char *ctl_type_str(enum ctl_type type)
{
	const struct type_row *row = row_find((uint16_t)type);

	return row ? row->name : "unknown";
}

static bool has_nul(const void *text, size_t cap)
{
	return memchr(text, '\0', cap) != NULL;
}

static bool body_is_right(enum body_kind kind, const uint8_t *body, size_t len)
{
	struct ctl_counter counter;
	struct ctl_event event;

	switch (kind) {
	case BODY_NONE:
		return len == 0;
	case BODY_TEXT:
		return !has_nul(body, len);
	case BODY_COUNTER:
		if (len != sizeof(counter))
			return false;
		memcpy(&counter, body, sizeof(counter));
		return has_nul(counter.singular, sizeof(counter.singular)) &&
		       has_nul(counter.plural, sizeof(counter.plural));
	case BODY_EVENT:
		if (len != sizeof(event))
			return false;
		memcpy(&event, body, sizeof(event));
		return has_nul(event.name, sizeof(event.name));
	case BODY_DONE:
		return len == sizeof(struct ctl_done);
	}
	return false;
}

static int message_parse(const void *data, size_t len, bool is_request, struct ctl_message *out)
{
	struct ctl_header header;
	const struct type_row *row;

	if (len < sizeof(header))
		return CTL_E_SHORT;
	memcpy(&header, data, sizeof(header));
	/* The order lets an answer be given to a client of another version. */
	if (header.magic != CTL_MAGIC)
		return CTL_E_MAGIC;
	out->serial = header.serial;
	if (header.version != CTL_VERSION)
		return CTL_E_VERSION;
	if (header.len != len - sizeof(header) || header.len > CTL_BODY_MAX)
		return CTL_E_SHORT;
	row = row_find(header.type);
	if (!row || row->is_request != is_request)
		return CTL_E_TYPE;
	out->type = row->type;
	out->body = (const uint8_t *)data + sizeof(header);
	out->body_len = header.len;
	return body_is_right(row->body, out->body, out->body_len) ? CTL_OK : CTL_E_BODY;
}

int ctl_request_parse(const void *data, size_t len, struct ctl_message *out)
{
	return message_parse(data, len, true, out);
}

int ctl_reply_parse(const void *data, size_t len, struct ctl_message *out)
{
	return message_parse(data, len, false, out);
}

size_t ctl_message_build(void *buf, size_t cap, enum ctl_type type, uint32_t serial,
	const void *body, size_t body_len)
{
	struct ctl_header header = {
		.magic = CTL_MAGIC,
		.version = CTL_VERSION,
		.type = (uint16_t)type,
		.len = (uint32_t)body_len,
		.serial = serial,
	};

	if (body_len > CTL_BODY_MAX || sizeof(header) + body_len > cap)
		return 0;
	memcpy(buf, &header, sizeof(header));
	if (body_len > 0)
		memcpy((uint8_t *)buf + sizeof(header), body, body_len);
	return sizeof(header) + body_len;
}
