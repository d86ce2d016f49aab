#pragma once

#include <stddef.h>
#include <stdint.h>

#include "ipc/attach.h"

/*
 * penstockctl and espd: a SEQPACKET socket, root-only because captures show clear text. One
 * request, then any number of replies, then END. A frame is struct ipc_debug_frame and len
 * bytes, one frame a packet of the socket. Closing the socket cancels the request.
 *
 *   request          body                          replies
 *   TRACE_START      ipc_debug_trace               TEXT (one a packet: each step a line), END
 *   CAPTURE_START    ipc_debug_capture             PACKET (ipc_debug_packet and bytes), END
 *   SHOW             NUL-terminated words          TEXT or JSON, END
 *   WHY              NUL-terminated words          TEXT or JSON, END
 */
#define IPC_DEBUG_MAGIC 0x504e4447u /* "PNDG" */
#define IPC_DEBUG_DATA_MAX 65000

enum ipc_debug_type {
	IPC_DEBUG_TRACE_START = 1,
	IPC_DEBUG_CAPTURE_START,
	IPC_DEBUG_SHOW, /* "pipeline", "port", "spd", "worker", "stats" ...; "--json" as a word */
	IPC_DEBUG_WHY,
	IPC_DEBUG_TEXT = 16,
	IPC_DEBUG_JSON,
	IPC_DEBUG_PACKET,
	IPC_DEBUG_END, /* struct ipc_debug_end, then a text for people (may be empty) */
};

struct ipc_debug_frame {
	uint32_t magic;
	uint16_t version; /* IPC_VERSION */
	uint16_t type;
	uint32_t len; /* bytes that follow */
	uint32_t reserved;
};

struct ipc_debug_trace {
	uint32_t count;   /* packets; 0: until cancelled */
	char filter[252]; /* words, e.g. "host 10.0.1.2 proto udp"; "": every packet */
};

struct ipc_debug_capture {
	uint32_t spi; /* 0: every SA */
	uint32_t snaplen;
	uint32_t count; /* packets; 0: until cancelled */
	uint32_t reserved;
};

/* Before a captured packet: what OpenBSD's enc0 header says (DLT_ENC). */
struct ipc_debug_packet {
	uint64_t time_ns; /* since 1970 */
	uint32_t spi;
	uint32_t flags; /* IPC_DEBUG_P_ */
	uint32_t orig_len;
	uint32_t cap_len; /* bytes that follow: an IP packet */
	uint8_t family;   /* 4 or 6 */
	uint8_t direction;
	uint8_t reserved[6];
};
enum { IPC_DEBUG_P_AUTH = 1 << 0, IPC_DEBUG_P_CONF = 1 << 1 };

struct ipc_debug_end {
	uint32_t error; /* enum ipc_error, 0: well done */
	uint32_t lost;  /* replies that were left out because the reader was too slow */
};

/*
 * Sends one frame whose data is a and then b (either may be empty). 0, -IPC_ERR_AGAIN (not sent),
 * -IPC_ERR_CLOSED, -IPC_ERR_INVALID (too long).
 */
int ipc_debug_send(int fd, uint16_t type, const void *a, size_t a_len, const void *b, size_t b_len)
	__attribute__((warn_unused_result));
int ipc_debug_send_text(int fd, const char *text) __attribute__((warn_unused_result));
int ipc_debug_send_end(int fd, uint32_t error, uint32_t lost, const char *text)
	__attribute__((warn_unused_result));
/*
 * Receives one frame; its data goes to buf (cap at least IPC_DEBUG_DATA_MAX + 1 for any frame) and
 * is followed by a NUL that *len does not count. 0, -IPC_ERR_AGAIN (non-blocking sockets),
 * -IPC_ERR_CLOSED, -IPC_ERR_INVALID (magic, version, length, or longer than cap - 1).
 */
int ipc_debug_recv(int fd, uint16_t *type, void *buf, size_t cap, size_t *len)
	__attribute__((warn_unused_result));

/* A blocking socket for penstockctl, or -IPC_ERR_SYS. Requests are sent by ipc_debug_send. */
int ipc_debug_connect(const char *path) __attribute__((warn_unused_result));
