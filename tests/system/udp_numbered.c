/*
 * Numbered UDP datagrams both ways between two hosts, counted exactly.
 *
 *   udp_numbered LOCAL PEER PORT RATE SECONDS LENGTH
 *
 * Sends RATE datagrams a second to PEER:PORT for SECONDS and takes what comes to LOCAL:PORT.
 * Starts to send when the peer was heard, so that both ends overlap; ends two seconds after the
 * last datagram arrived. Prints one line of JSON: sent, received, lost numbers, duplicates,
 * reordered, corrupt, the longest gap, and the first numbers below the highest that are missing.
 * LENGTH is the payload's. SIGTERM ends sending early.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "shared/addr.h"

#define MAGIC 0x50656e73746f636bULL
#define HELLO UINT64_MAX
#define MAX_NUMBERS (1u << 26)
#define BATCH 32

struct datagram {
	uint64_t magic, number, check;
};

struct count {
	uint64_t sent, received, unique, duplicates, reordered, corrupt, highest;
	uint64_t refused; /* send(2) failed for a while: no buffer, no route yet */
	double longest_gap_s, last_rx_s;
	bool heard;
};

static volatile sig_atomic_t stopping;

static void on_signal(int number)
{
	(void)number;
	stopping = 1;
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void fill(uint8_t *out, size_t len, uint64_t number)
{
	struct datagram d = {MAGIC, number, number * 0x9e3779b97f4a7c15ULL ^ MAGIC};

	memset(out, (int)(number & 0xff), len);
	memcpy(out, &d, sizeof(d));
}

static bool intact(const uint8_t *in, size_t len, size_t want)
{
	struct datagram d;

	if (len != want)
		return false;
	memcpy(&d, in, sizeof(d));
	if (d.magic != MAGIC || d.check != (d.number * 0x9e3779b97f4a7c15ULL ^ MAGIC))
		return false;
	for (size_t i = sizeof(d); i < len; i++)
		if (in[i] != (uint8_t)(d.number & 0xff))
			return false;
	return true;
}

static void take(struct count *c, uint8_t *seen, const uint8_t *in, size_t len, size_t want)
{
	uint64_t number;
	double now = now_s();

	if (!intact(in, len, want)) {
		c->corrupt++;
		return;
	}
	memcpy(&number, in + offsetof(struct datagram, number), sizeof(number));
	c->heard = true;
	if (number == HELLO)
		return;
	if (c->received++ > 0 && now - c->last_rx_s > c->longest_gap_s)
		c->longest_gap_s = now - c->last_rx_s;
	c->last_rx_s = now;
	if (number >= MAX_NUMBERS) {
		c->corrupt++;
		return;
	}
	if (seen[number / 8] & 1 << number % 8) {
		c->duplicates++;
		return;
	}
	seen[number / 8] |= (uint8_t)(1 << number % 8);
	c->unique++;
	if (number + 1 < c->highest)
		c->reordered++;
	else
		c->highest = number + 1;
}

static void drain(int fd, struct count *c, uint8_t *seen, size_t want)
{
	static uint8_t buffers[BATCH][2048];
	struct iovec iov[BATCH];
	struct mmsghdr msgs[BATCH];
	int n;

	do {
		memset(msgs, 0, sizeof(msgs));
		for (int i = 0; i < BATCH; i++) {
			iov[i] = (struct iovec){buffers[i], sizeof(buffers[i])};
			msgs[i].msg_hdr.msg_iov = &iov[i];
			msgs[i].msg_hdr.msg_iovlen = 1;
		}
		n = recvmmsg(fd, msgs, BATCH, MSG_DONTWAIT, NULL);
		for (int i = 0; i < n; i++)
			take(c, seen, buffers[i], msgs[i].msg_len, want);
	} while (n == BATCH);
}

static void run(int fd, struct count *c, uint8_t *seen, double rate, double seconds, size_t len)
{
	uint8_t out[2048];
	double start = 0, begun = now_s(), last_hello = 0, ended = 0;

	for (;;) {
		double now = now_s();

		drain(fd, c, seen, len);
		if (start == 0 && c->heard)
			start = now;
		if (now - last_hello > 0.1 && ended == 0) {
			fill(out, len, HELLO);
			(void)!send(fd, out, len, MSG_DONTWAIT);
			last_hello = now;
		}
		if (start > 0 && ended == 0) {
			double due = (now - start) * rate;

			for (int i = 0; i < 256 && (double)c->sent < due; i++) {
				fill(out, len, c->sent);
				if (send(fd, out, len, MSG_DONTWAIT) < 0) {
					c->refused++;
					break;
				}
				c->sent++;
			}
			if (now - start >= seconds || stopping)
				ended = now;
		}
		if (ended > 0 && now - ended > 2 && now - c->last_rx_s > 2)
			return;
		if ((start == 0 && now - begun > 30) || (stopping && start == 0))
			return;
		struct pollfd p = {.fd = fd, .events = POLLIN};

		poll(&p, 1, ended > 0 || start == 0 ? 50 : 1);
	}
}

static int open_socket(const struct endpoint *local, const struct endpoint *peer)
{
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(local, &sa);
	int size = 16 << 20;
	int fd = socket(sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0 ||
		bind(fd, (struct sockaddr *)&sa, len) < 0)
		return -1;
	len = endpoint_to_sockaddr(peer, &sa);
	return connect(fd, (struct sockaddr *)&sa, len) < 0 ? -1 : fd;
}

static void print_missing(const struct count *c, const uint8_t *seen)
{
	const char *separator = "";

	printf(", \"missing\": [");
	for (uint64_t number = 0, n = 0; number < c->highest && n < 8; number++) {
		if (seen[number / 8] & 1 << number % 8)
			continue;
		printf("%s%" PRIu64, separator, number);
		separator = ", ";
		n++;
	}
	printf("]}\n");
}

int main(int argc, char **argv)
{
	struct endpoint local = {0}, peer = {0};
	struct count c = {0};
	uint8_t *seen;
	size_t len;
	int fd;

	if (argc != 7 || addr_parse(argv[1], &local.addr) < 0 ||
		addr_parse(argv[2], &peer.addr) < 0) {
		fprintf(stderr, "usage: udp_numbered LOCAL PEER PORT RATE SECONDS LENGTH\n");
		return 2;
	}
	local.port = peer.port = (uint16_t)atoi(argv[3]);
	len = (size_t)atoi(argv[6]);
	if (len < sizeof(struct datagram) || len > 1900) {
		fprintf(stderr, "udp_numbered: LENGTH is 24 to 1900\n");
		return 2;
	}
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	seen = calloc(MAX_NUMBERS / 8, 1);
	fd = open_socket(&local, &peer);
	if (!seen || fd < 0) {
		perror("udp_numbered");
		return 1;
	}
	run(fd, &c, seen, atof(argv[4]), atof(argv[5]), len);
	printf("{\"sent\": %" PRIu64 ", \"received\": %" PRIu64 ", \"unique\": %" PRIu64
	       ", \"duplicates\": %" PRIu64 ", \"reordered\": %" PRIu64 ", \"corrupt\": %" PRIu64
	       ", \"refused\": %" PRIu64 ", \"longest_gap_ms\": %.1f",
		c.sent, c.received, c.unique, c.duplicates, c.reordered, c.corrupt, c.refused,
		c.longest_gap_s * 1e3);
	print_missing(&c, seen);
	free(seen);
	close(fd);
	return c.corrupt == 0 && c.heard ? 0 : 1;
}
