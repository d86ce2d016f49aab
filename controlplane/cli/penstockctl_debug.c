#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "controlplane/cli/penstockctl.h"
#include "ipc/debug.h"
#include "ipc/paths.h"
#include "shared/addr.h"

#define DLT_ENC 109 /* pcap's number for OpenBSD's enc0 */
#define SNAPLEN 65535

static int connect_espd(const struct penstockctl *p)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", p->run_dir, ESPD_DEBUG_SOCKET);
	fd = ipc_debug_connect(path);
	if (fd < 0)
		fprintf(stderr, "penstockctl: %s: %s\n", path, strerror(errno));
	return fd;
}

/* pcap's file header: the reader learns our byte order from the magic number. */
static void write_pcap_header(void)
{
	const struct {
		uint32_t magic;
		uint16_t major, minor;
		uint32_t zone, accuracy, snaplen, linktype;
	} header = {0xa1b23c4d /* nanoseconds */, 2, 4, 0, 0, SNAPLEN + 12, DLT_ENC};

	fwrite(&header, sizeof(header), 1, stdout);
	fflush(stdout);
}

/* enc0's own header: address family, SPI, flags; the first and last in host order. */
static int write_packet(const uint8_t *data, size_t len)
{
	struct ipc_debug_packet packet;

	if (len < sizeof(packet))
		return -1;
	memcpy(&packet, data, sizeof(packet));
	if (packet.cap_len != len - sizeof(packet))
		return -1;
	const struct {
		uint32_t family, spi_be, flags;
	} enc = {packet.family == 6 ? 24 /* OpenBSD's AF_INET6 */ : 2, htonl(packet.spi),
		(packet.flags & IPC_DEBUG_P_AUTH ? 0x0800u : 0) |
			(packet.flags & IPC_DEBUG_P_CONF ? 0x0400u : 0)};
	const struct {
		uint32_t sec, nsec, caplen, len;
	} record = {(uint32_t)(packet.time_ns / 1000000000u),
		(uint32_t)(packet.time_ns % 1000000000u), packet.cap_len + (uint32_t)sizeof(enc),
		packet.orig_len + (uint32_t)sizeof(enc)};

	fwrite(&record, sizeof(record), 1, stdout);
	fwrite(&enc, sizeof(enc), 1, stdout);
	fwrite(data + sizeof(packet), packet.cap_len, 1, stdout);
	fflush(stdout);
	return ferror(stdout) ? -1 : 0;
}

static int finish(const uint8_t *data, size_t len)
{
	struct ipc_debug_end end;

	if (len < sizeof(end))
		return 1;
	memcpy(&end, data, sizeof(end));
	if (end.lost > 0)
		fprintf(stderr, "penstockctl: %u packets were left out: the reader was too slow\n",
			end.lost);
	if (len > sizeof(end))
		fprintf(stderr, "penstockctl: %s\n", (const char *)data + sizeof(end));
	return end.error == 0 ? 0 : 1;
}

/* Prints replies as they come until END; has_gaps: an empty line behind each. */
static int relay(int fd, bool has_gaps)
{
	uint8_t *buf = malloc(IPC_DEBUG_DATA_MAX + 1);
	uint16_t type;
	size_t len;
	int rc = -IPC_ERR_NOMEM, status = 1;

	while (buf && (rc = ipc_debug_recv(fd, &type, buf, IPC_DEBUG_DATA_MAX + 1, &len)) == 0) {
		if (type == IPC_DEBUG_END) {
			status = finish(buf, len);
			break;
		}
		if (type == IPC_DEBUG_PACKET && write_packet(buf, len) < 0)
			break;
		if (type == IPC_DEBUG_TEXT || type == IPC_DEBUG_JSON) {
			printf("%s%s%s", (const char *)buf,
				len > 0 && buf[len - 1] == '\n' ? "" : "\n", has_gaps ? "\n" : "");
			fflush(stdout);
		}
	}
	if (rc < 0)
		fprintf(stderr, "penstockctl: %s\n", ipc_strerror(rc));
	free(buf);
	close(fd);
	return status;
}

static int request(const struct penstockctl *p, uint16_t type, const void *body, size_t len)
{
	int fd = connect_espd(p);
	int rc;

	if (fd < 0)
		return 1;
	rc = ipc_debug_send(fd, type, body, len, NULL, 0);
	if (rc < 0) {
		fprintf(stderr, "penstockctl: %s\n", ipc_strerror(rc));
		close(fd);
		return 1;
	}
	return relay(fd, type == IPC_DEBUG_TRACE_START);
}

int penstockctl_ask_espd(const struct penstockctl *p, const char *words)
{
	char text[256];

	snprintf(text, sizeof(text), "%s%s", words, p->json ? " --json" : "");
	return request(p, IPC_DEBUG_SHOW, text, strlen(text) + 1);
}

int penstockctl_explain(const struct penstockctl *p, char **words)
{
	char text[200] = "explain";

	for (size_t i = 0; words[i]; i++) {
		size_t len = strlen(text);

		if (len + strlen(words[i]) + 2 > sizeof(text)) {
			fprintf(stderr, "penstockctl: explain: too long\n");
			return 1;
		}
		snprintf(text + len, sizeof(text) - len, " %s", words[i]);
	}
	return penstockctl_ask_espd(p, text);
}

int penstockctl_trace(const struct penstockctl *p, char **words)
{
	struct ipc_debug_trace trace = {.count = p->count};

	for (size_t i = 0; words[i]; i++) {
		size_t len = strlen(trace.filter);

		if (len + strlen(words[i]) + 2 > sizeof(trace.filter)) {
			fprintf(stderr, "penstockctl: the filter is too long\n");
			return 1;
		}
		snprintf(trace.filter + len, sizeof(trace.filter) - len, "%s%s", i ? " " : "",
			words[i]);
	}
	return request(p, IPC_DEBUG_TRACE_START, &trace, sizeof(trace));
}

int penstockctl_capture(const struct penstockctl *p, char **words)
{
	struct ipc_debug_capture capture = {.snaplen = SNAPLEN, .count = p->count};

	if (words[0] && (strcmp(words[0], "spi") != 0 || !words[1])) {
		fprintf(stderr, "usage: penstockctl capture [spi 0xSPI]\n");
		return 1;
	}
	if (words[0]) {
		unsigned long long spi;
		char *end;

		errno = 0;
		spi = strtoull(words[1], &end, 0);
		if (*words[1] < '0' || *words[1] > '9' || *end != '\0' || errno || spi == 0 ||
			spi > UINT32_MAX) {
			fprintf(stderr, "penstockctl: %s: not an SPI\n", words[1]);
			return 1;
		}
		capture.spi = (uint32_t)spi;
	}
	if (isatty(STDOUT_FILENO)) {
		fprintf(stderr,
			"penstockctl: capture writes pcap: penstockctl capture | tcpdump -nr -\n");
		return 1;
	}
	write_pcap_header();
	return request(p, IPC_DEBUG_CAPTURE_START, &capture, sizeof(capture));
}
