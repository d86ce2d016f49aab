#include "ipc/messages.h"

#include <stddef.h>

#include "ipc/error.h"

struct row {
	const char *name;
	int len;
};

static const struct row commands[] = {
	[IPC_CMD_SA_ADD] = {"sa-add", sizeof(struct ipc_sa_add)},
	[IPC_CMD_SA_SELECTORS] = {"sa-selectors", sizeof(struct ipc_sa_selectors)},
	[IPC_CMD_SA_UPDATE] = {"sa-update", sizeof(struct ipc_sa_update)},
	[IPC_CMD_SA_DELETE] = {"sa-delete", sizeof(struct ipc_ref)},
	[IPC_CMD_SA_QUERY] = {"sa-query", sizeof(struct ipc_ref)},
	[IPC_CMD_PATH_SET] = {"path-set", sizeof(struct ipc_path)},
	[IPC_CMD_PATH_DELETE] = {"path-delete", sizeof(struct ipc_ref)},
	[IPC_CMD_FLOW_ADD] = {"flow-add", sizeof(struct ipc_flow)},
	[IPC_CMD_FLOW_DELETE] = {"flow-delete", sizeof(struct ipc_ref)},
	[IPC_CMD_FLOW_BIND] = {"flow-bind", sizeof(struct ipc_flow_bind)},
	[IPC_CMD_RESYNC_BEGIN] = {"resync-begin", 0},
	[IPC_CMD_RESYNC_END] = {"resync-end", 0},
	[IPC_CMD_SPI_LEASE] = {"spi-lease", sizeof(struct ipc_spi_lease)},
	[IPC_CMD_SPI_RELEASE] = {"spi-release", sizeof(struct ipc_spi_lease)},
	[IPC_CMD_PUNT_REGISTER] = {"punt-register", sizeof(struct ipc_punt_register)},
	[IPC_CMD_ROUTE_QUERY] = {"route-query", sizeof(struct ipc_route_query)},
	[IPC_CMD_HELD_QUERY] = {"held-query", 0},
	[IPC_CMD_FLUSH] = {"flush", sizeof(struct ipc_flush)},
	[IPC_CMD_STEER] = {"steer", sizeof(struct ipc_steer)},
};

static const struct row events[] = {
	[IPC_EVENT_ACK] = {"ack", sizeof(struct ipc_ack)},
	[IPC_EVENT_ACQUIRE] = {"acquire", sizeof(struct ipc_acquire)},
	[IPC_EVENT_SA_STATE] = {"sa-state", sizeof(struct ipc_sa_state)},
	[IPC_EVENT_NAT_CHANGE] = {"nat-change", sizeof(struct ipc_nat_change)},
	[IPC_EVENT_SPI_LEASE] = {"spi-lease", sizeof(struct ipc_spi_lease)},
	[IPC_EVENT_ROUTE] = {"route", sizeof(struct ipc_route)},
	[IPC_EVENT_ADDR] = {"addr", sizeof(struct ipc_addr_event)},
	[IPC_EVENT_ROUTE_CHANGED] = {"route-changed", 0},
	[IPC_EVENT_LINK] = {"link", sizeof(struct ipc_link_event)},
	[IPC_EVENT_HELD] = {"held", sizeof(struct ipc_held)},
	[IPC_EVENT_HELD_FLOW] = {"held-flow", sizeof(struct ipc_held_flow)},
	[IPC_EVENT_HELD_END] = {"held-end", 0},
	[IPC_EVENT_FLUSHED] = {"flushed", 0},
	[IPC_EVENT_PMTU] = {"pmtu", sizeof(struct ipc_pmtu_event)},
};

static const char *const errors[] = {
	[IPC_OK] = "done",
	[IPC_E_INVALID] = "a field is out of range",
	[IPC_E_NO_SUCH] = "no such object",
	[IPC_E_STALE] = "another generation of the object",
	[IPC_E_EXISTS] = "already in use",
	[IPC_E_FULL] = "table full",
	[IPC_E_UNSUPPORTED] = "not supported by this build",
	[IPC_E_REKEY] = "no sequence record: must be rekeyed",
	[IPC_E_BOUND] = "the flows would exceed the look-up bound",
	[IPC_E_BUSY] = "busy, try again",
};

static const char *const local_errors[] = {
	[0] = "done",
	[IPC_ERR_FULL] = "full",
	[IPC_ERR_AGAIN] = "not now",
	[IPC_ERR_BROKEN] = "the other side broke the shared memory",
	[IPC_ERR_CLOSED] = "not connected",
	[IPC_ERR_NOMEM] = "out of memory",
	[IPC_ERR_SYS] = "system call failed",
	[IPC_ERR_INVALID] = "invalid",
	[IPC_ERR_REFUSED] = "refused",
	[IPC_ERR_VERSION] = "another version",
	[IPC_ERR_PERM] = "wrong owner, mode or credentials",
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct row *row_find(const struct row *rows, size_t n, uint32_t type)
{
	return type < n && rows[type].name ? &rows[type] : NULL;
}

int ipc_cmd_len(uint32_t type)
{
	const struct row *row = row_find(commands, COUNT(commands), type);

	return row ? row->len : -1;
}

int ipc_event_len(uint32_t type)
{
	const struct row *row = row_find(events, COUNT(events), type);

	return row ? row->len : -1;
}

const char *ipc_cmd_str(uint32_t type)
{
	const struct row *row = row_find(commands, COUNT(commands), type);

	return row ? row->name : "unknown";
}

const char *ipc_event_str(uint32_t type)
{
	const struct row *row = row_find(events, COUNT(events), type);

	return row ? row->name : "unknown";
}

const char *ipc_error_str(uint32_t error)
{
	return error < COUNT(errors) ? errors[error] : "unknown error";
}

const char *ipc_strerror(int code)
{
	unsigned int n = code < 0 ? 0u - (unsigned int)code : (unsigned int)code;

	return n < COUNT(local_errors) ? local_errors[n] : "unknown error";
}
