/*
 * Open-loop load and one-way latency between two network namespaces of one machine.
 *
 *   probe [-b] FROM-NETNS TO-NETNS FROM-ADDRESS TO-ADDRESS RATE SECONDS SIZE
 *
 * One thread sends UDP in IP packets of SIZE bytes at RATE a second out of one namespace, by
 * schedule: a datagram carries the time at which it was due, not the time at which the sender
 * came to it, so that a stall of the sender or the gateway counts for every packet that it held
 * up. A sender that cannot keep up ends after SECONDS all the same: compare `sent`. The other
 * thread receives in the other namespace; the kernel stamps the arrival, so that the receiver's own
 * delay does not count. Ends half a second after the last arrival.
 *
 * -b: RATE packets back to back, once; SECONDS is not looked at.
 *
 * Prints one line of JSON: packets sent and received, seconds of sending, latencies in
 * microseconds by percentile. Namespaces are paths (/proc/PID/ns/net, /run/netns/NAME).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "shared/addr.h"

#define BATCH 32
#define PORT 7001
#define MAX_DATAGRAM 9000
#define QUIET_NS 500000000ULL
#define HEADERS_V4 28
#define HEADERS_V6 48

/* 64 steps for each doubling: an error of 1.6 % at most. */
#define SUB_BITS 6
#define BUCKETS (64u << SUB_BITS)

struct stamp {
	uint64_t due_ns;
};

struct probe {
	int tx, rx;
	double rate, seconds;
	bool is_back_to_back;
	size_t len;
	uint64_t sent, refused, received, last_rx_ns;
	double sending_s;
	_Atomic bool is_sent;
	uint64_t histogram[BUCKETS];
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static unsigned int bucket_of(uint64_t ns)
{
	unsigned int shift;

	if (ns < 1u << SUB_BITS)
		return (unsigned int)ns;
	shift = 63 - (unsigned int)__builtin_clzll(ns) - SUB_BITS;
	return ((shift + 1) << SUB_BITS) + (unsigned int)((ns >> shift) - (1u << SUB_BITS));
}

static double bucket_us(unsigned int bucket)
{
	unsigned int shift = bucket >> SUB_BITS, low = bucket & ((1u << SUB_BITS) - 1);

	if (shift == 0)
		return bucket / 1e3;
	return ((double)(low + (1u << SUB_BITS)) + 0.5) * (double)(1ULL << (shift - 1)) / 1e3;
}

static double percentile_us(const struct probe *p, double share)
{
	uint64_t want = (uint64_t)(share * (double)p->received + 0.5), seen = 0;

	for (unsigned int b = 0; b < BUCKETS; b++) {
		seen += p->histogram[b];
		if (seen && seen >= want)
			return bucket_us(b);
	}
	return 0;
}

/* Sends up to BATCH datagrams due at start + number / rate. Returns how many went. */
static unsigned int batch_send(struct probe *p, uint64_t start, uint64_t count)
{
	static uint8_t out[BATCH][MAX_DATAGRAM];
	struct mmsghdr msgs[BATCH] = {0};
	struct iovec iov[BATCH];
	int n;

	for (unsigned int i = 0; i < count; i++) {
		struct stamp s = {start + (uint64_t)((double)(p->sent + i) * 1e9 / p->rate)};

		if (p->is_back_to_back)
			s.due_ns = start;
		memcpy(out[i], &s, sizeof(s));
		iov[i] = (struct iovec){out[i], p->len};
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
	}
	n = sendmmsg(p->tx, msgs, (unsigned int)count, 0);
	if (n < 0) {
		p->refused++;
		return 0;
	}
	p->sent += (uint64_t)n;
	return (unsigned int)n;
}

static void send_all(struct probe *p)
{
	uint64_t start = now_ns();
	uint64_t total = (uint64_t)(p->is_back_to_back ? p->rate : p->rate * p->seconds);

	while (p->sent < total) {
		uint64_t now = now_ns(), due = total;

		if (!p->is_back_to_back) {
			if ((double)(now - start) > p->seconds * 1e9)
				break;
			due = (uint64_t)((double)(now - start) * p->rate / 1e9) + 1;
			if (due > total)
				due = total;
		}
		if (due > p->sent) {
			batch_send(p, start, due - p->sent > BATCH ? BATCH : due - p->sent);
		} else if (p->rate < 100000) {
			struct timespec rest = {.tv_nsec = 2000};

			nanosleep(&rest, NULL);
		}
	}
	p->sending_s = (double)(now_ns() - start) / 1e9;
}

static uint64_t arrival_ns(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		struct timespec t;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_TIMESTAMPNS)
			continue;
		memcpy(&t, CMSG_DATA(c), sizeof(t));
		return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
	}
	return now_ns();
}

static unsigned int batch_receive(struct probe *p)
{
	static uint8_t in[BATCH][MAX_DATAGRAM];
	static char control[BATCH][64];
	struct mmsghdr msgs[BATCH] = {0};
	struct iovec iov[BATCH];
	int n;

	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){in[i], sizeof(in[i])};
		msgs[i].msg_hdr.msg_iov = &iov[i];
		msgs[i].msg_hdr.msg_iovlen = 1;
		msgs[i].msg_hdr.msg_control = control[i];
		msgs[i].msg_hdr.msg_controllen = sizeof(control[i]);
	}
	n = recvmmsg(p->rx, msgs, BATCH, MSG_WAITFORONE, NULL);
	for (int i = 0; i < n; i++) {
		uint64_t at = arrival_ns(&msgs[i].msg_hdr);
		struct stamp s;

		if (msgs[i].msg_len != p->len)
			continue;
		memcpy(&s, in[i], sizeof(s));
		p->received++;
		p->histogram[bucket_of(at > s.due_ns ? at - s.due_ns : 0)]++;
	}
	return n > 0 ? (unsigned int)n : 0;
}

static void *receive_all(void *probe)
{
	struct probe *p = probe;

	p->last_rx_ns = now_ns();
	for (;;) {
		if (batch_receive(p) > 0)
			p->last_rx_ns = now_ns();
		else if (!atomic_load(&p->is_sent))
			p->last_rx_ns = now_ns();
		else if (now_ns() - p->last_rx_ns > QUIET_NS)
			return NULL;
	}
}

static int socket_in(const char *netns, const struct endpoint *local, const struct endpoint *peer)
{
	struct timeval wait = {.tv_usec = 100000};
	struct sockaddr_storage sa;
	int ns = open(netns, O_RDONLY | O_CLOEXEC), on = 1, size = 64 << 20, fd;

	if (ns < 0 || setns(ns, CLONE_NEWNET) < 0)
		return -1;
	close(ns);
	fd = socket(local->addr.family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0)
		return -1;
	if (bind(fd, (struct sockaddr *)&sa, endpoint_to_sockaddr(local, &sa)) < 0)
		return -1;
	return connect(fd, (struct sockaddr *)&sa, endpoint_to_sockaddr(peer, &sa)) < 0 ? -1 : fd;
}

static void print(const struct probe *p)
{
	printf("{\"sent\": %" PRIu64 ", \"received\": %" PRIu64 ", \"refused\": %" PRIu64
	       ", \"sending_s\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
	       "\"max_us\": %.1f}\n",
		p->sent, p->received, p->refused, p->sending_s, percentile_us(p, 0.5),
		percentile_us(p, 0.99), percentile_us(p, 0.999), percentile_us(p, 1));
}

int main(int argc, char **argv)
{
	static struct probe p;
	struct endpoint from = {.port = PORT}, to = {.port = PORT};
	pthread_t receiver;
	long size;

	if (argc > 1 && strcmp(argv[1], "-b") == 0) {
		p.is_back_to_back = true;
		argc--;
		argv++;
	}
	if (argc != 8 || addr_parse(argv[3], &from.addr) < 0 || addr_parse(argv[4], &to.addr) < 0) {
		fprintf(stderr,
			"usage: probe [-b] FROM-NETNS TO-NETNS FROM TO RATE SECONDS SIZE\n");
		return 2;
	}
	p.rate = atof(argv[5]);
	p.seconds = atof(argv[6]);
	size = atol(argv[7]) - (from.addr.family == 4 ? HEADERS_V4 : HEADERS_V6);
	if (p.rate < 1 || size < (long)sizeof(struct stamp) || size > MAX_DATAGRAM) {
		fprintf(stderr, "probe: RATE is at least 1, SIZE 56 to 9000\n");
		return 2;
	}
	p.len = (size_t)size;
	p.rx = socket_in(argv[2], &to, &from);
	p.tx = p.rx < 0 ? -1 : socket_in(argv[1], &from, &to);
	if (p.tx < 0 || pthread_create(&receiver, NULL, receive_all, &p) != 0) {
		fprintf(stderr, "probe: %s\n", strerror(errno));
		return 1;
	}
	send_all(&p);
	atomic_store(&p.is_sent, true);
	pthread_join(receiver, NULL);
	print(&p);
	return 0;
}
