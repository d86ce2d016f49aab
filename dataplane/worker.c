#include "dataplane/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_prefetch.h>
#include <rte_random.h>
#include <rte_rcu_qsbr.h>
#include <rte_ring.h>

#include "dataplane/crypto_mb.h"
#include "dataplane/drop_memory.h"
#include "dataplane/known.h"
#include "dataplane/pipeline.h"

static struct rte_ring *ring_create(const char *what, unsigned int a, unsigned int b)
{
	char name[RTE_RING_NAMESIZE];

	snprintf(name, sizeof(name), "%s-%u-%u", what, a, b);
	return rte_ring_create(
		name, WORKER_RING_SIZE, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
}

static int rings_create(struct worker *w, unsigned int n_workers)
{
	w->to_main = ring_create("to-main", w->id, 0);
	w->from_main = ring_create("from-main", w->id, 0);
	if (!w->to_main || !w->from_main)
		return -1;
	for (unsigned int from = 0; from < n_workers; from++) {
		if (from == w->id)
			continue;
		w->handoff[from] = ring_create("handoff", from, w->id);
		if (!w->handoff[from])
			return -1;
	}
	return 0;
}

struct worker *worker_create(struct dataplane *dp, uint16_t id)
{
	struct worker *w = aligned_alloc(64, RTE_ALIGN_CEIL(sizeof(*w), 64));
	const char *error = NULL;

	if (!w)
		return NULL;
	memset(w, 0, sizeof(*w));
	w->dp = dp;
	w->id = id;
	w->lcore = id + 1u;
	w->idle.intr_fd = -1;
	w->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	w->ctx = (struct worker_ctx){
		.id = id,
		.n_workers = dp->n_workers,
		.ip_id = id,
		.tsc_hz = rte_get_tsc_hz(),
		.sad = dp->sad,
		.spd = dp->spd,
		.config = &dp->config,
		.pool = dp->pool,
	};
	for (int i = 0; i < 4; i++)
		w->ctx.rng[i] = rte_rand() | 1;
	w->ctx.crypto = crypto_mb_create(CRYPTO_ARCH_AUTO, &error);
	w->ctx.sa_events = ring_create("sa-events", id, 0);
	w->drop_memory = drop_memory_create();
	w->known = known_create(rte_rand());
	if (w->wake_fd < 0 || !w->ctx.crypto || !w->ctx.sa_events || !w->drop_memory || !w->known ||
		rings_create(w, dp->n_workers) < 0 || pipeline_init(w) < 0 ||
		worker_idle_init(w) < 0) {
		worker_destroy(w);
		return NULL;
	}
	return w;
}

static void ring_free(struct rte_ring *r, bool has_mbufs)
{
	void *m;

	while (r && has_mbufs && rte_ring_dequeue(r, &m) == 0)
		rte_pktmbuf_free(m);
	rte_ring_free(r);
}

void worker_destroy(struct worker *w)
{
	if (!w)
		return;
	worker_idle_fini(w);
	pipeline_fini(w);
	ring_free(w->to_main, true);
	ring_free(w->from_main, true);
	for (unsigned int i = 0; i < WORKERS_MAX; i++)
		ring_free(w->handoff[i], true);
	ring_free(w->ctx.sa_events, false);
	crypto_mb_destroy(w->ctx.crypto);
	free(w->drop_memory);
	known_destroy(w->known);
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	free(w);
}

static void fd_kick(int fd)
{
	uint64_t one = 1;

	/* The counter is not empty when this fails: the sleeper wakes up all the same. */
	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

bool worker_to_main(struct worker *w, struct rte_mbuf *m)
{
	if (rte_ring_sp_enqueue(w->to_main, m) != 0) {
		rte_pktmbuf_free(m);
		return false;
	}
	w->wake_main = true;
	return true;
}

bool worker_handoff(struct worker *w, uint16_t to, struct rte_mbuf *m)
{
	if (rte_ring_sp_enqueue(w->dp->workers[to]->handoff[w->id], m) != 0) {
		rte_pktmbuf_free(m);
		return false;
	}
	w->handed_over++;
	w->wake_workers |= 1u << to;
	return true;
}

void worker_wake(struct worker *w)
{
	atomic_thread_fence(memory_order_seq_cst); /* what was enqueued, before the flag is read */
	if (atomic_exchange(&w->is_asleep, false))
		fd_kick(w->wake_fd);
}

bool worker_from_main(struct worker *w, struct rte_mbuf *m)
{
	if (rte_ring_sp_enqueue(w->from_main, m) != 0)
		return false;
	worker_wake(w);
	return true;
}

static void port_flush(struct worker *w, uint16_t p)
{
	struct port *port = &w->dp->ports[p];
	uint16_t q = w->id % port->n_txq, n = w->n_tx[p], sent;
	bool shared = port->n_txq < w->dp->n_workers;
	uint64_t bytes = 0;

	for (uint16_t i = 0; i < n; i++)
		bytes += w->tx[p][i]->pkt_len;
	if (shared)
		rte_spinlock_lock(&port->tx_lock[q]);
	sent = rte_eth_tx_burst(port->id, q, w->tx[p], n);
	if (sent < n) /* a virtual device's reader may be just late: one more chance */
		sent += rte_eth_tx_burst(port->id, q, w->tx[p] + sent, n - sent);
	if (shared)
		rte_spinlock_unlock(&port->tx_lock[q]);
	for (uint16_t i = sent; i < n; i++) {
		bytes -= w->tx[p][i]->pkt_len;
		rte_pktmbuf_free(w->tx[p][i]);
	}
	w->ctx.drops[DROP_TX_FULL] += n - sent;
	w->tx_full[p] += n - sent;
	w->tx_packets[p] += sent;
	w->tx_bytes[p] += bytes;
	w->n_tx[p] = 0;
}

void worker_tx(struct worker *w, uint16_t port, struct rte_mbuf *m)
{
	w->tx[port][w->n_tx[port]++] = m;
	if (w->n_tx[port] == BURST_MAX)
		port_flush(w, port);
}

void worker_tx_flush(struct worker *w)
{
	for (uint16_t p = 0; p < w->dp->n_ports; p++) {
		if (w->n_tx[p])
			port_flush(w, p);
	}
}

static unsigned int ports_receive(struct worker *w)
{
	unsigned int total = 0;

	for (uint16_t p = 0; p < w->dp->n_ports; p++) {
		struct burst *b = &w->burst;
		uint64_t bytes = 0;

		if (w->id >= w->dp->ports[p].n_rxq)
			continue;
		b->n = rte_eth_rx_burst(w->dp->ports[p].id, w->id, b->m, WORKER_RX_BURST);
		if (b->n == 0)
			continue;
		if (__builtin_expect(atomic_load_explicit(
					     &w->dp->ports[p].is_disabled, memory_order_relaxed),
			    0)) {
			rte_pktmbuf_free_bulk(b->m, b->n);
			w->ctx.drops[DROP_PORT_DOWN] += b->n;
			continue;
		}
		for (uint16_t i = 0; i < b->n; i++) {
			b->next[i] = NEXT_PARSE;
			b->port[i] = p;
			bytes += b->m[i]->pkt_len;
			rte_prefetch0(rte_pktmbuf_mtod(b->m[i], void *));
		}
		w->rx_bytes[p] += bytes;
		w->rx_packets[p] += b->n;
		total += b->n;
		pipeline_from_port(w, b);
	}
	return total;
}

static unsigned int handed_receive(struct worker *w)
{
	unsigned int total = 0;

	for (unsigned int from = 0; from < w->dp->n_workers; from++) {
		struct rte_mbuf *m[WORKER_RX_BURST];
		unsigned int n;

		if (!w->handoff[from])
			continue;
		n = rte_ring_sc_dequeue_burst(w->handoff[from], (void **)m, WORKER_RX_BURST, NULL);
		if (n)
			pipeline_from_worker(w, m, n);
		total += n;
	}
	w->taken_over += total;
	return total;
}

static unsigned int main_receive(struct worker *w)
{
	struct rte_mbuf *m[WORKER_RX_BURST];
	unsigned int n = rte_ring_sc_dequeue_burst(w->from_main, (void **)m, WORKER_RX_BURST, NULL);

	if (n)
		pipeline_from_main(w, m, n);
	return n;
}

static void others_wake(struct worker *w)
{
	if (w->wake_main) {
		w->wake_main = false;
		atomic_thread_fence(memory_order_seq_cst);
		if (atomic_exchange(&w->dp->is_main_asleep, false))
			fd_kick(w->dp->main_fd);
	}
	while (w->wake_workers) {
		unsigned int to = (unsigned int)__builtin_ctz(w->wake_workers);

		w->wake_workers &= w->wake_workers - 1;
		worker_wake(w->dp->workers[to]);
	}
}

static void clock_update(struct worker *w)
{
	struct timespec ts;

	w->ctx.now_tsc = rte_rdtsc();
	w->ctx.tick++;
	w->ctx.is_ready = atomic_load_explicit(&w->dp->is_ready, memory_order_acquire);
	if (w->ctx.now_tsc < w->next_second_tsc)
		return;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	w->ctx.now_s = (uint32_t)ts.tv_sec;
	w->next_second_tsc = w->ctx.now_tsc + w->ctx.tsc_hz / 10;
}

unsigned int worker_turn(struct worker *w)
{
	unsigned int n;

	clock_update(w);
	n = handed_receive(w);
	n += main_receive(w);
	n += ports_receive(w);
	n += pipeline_tick(w);
	worker_tx_flush(w);
	others_wake(w);
	/* Nothing is in the crypto manager between turns, and no pointer is kept. */
	rte_rcu_qsbr_quiescent(w->dp->qsbr, w->id);
	w->turns++;
	return n;
}

int worker_run(void *worker)
{
	struct worker *w = worker;

	prctl(PR_SET_TIMERSLACK, 1000UL); /* nanoseconds; short sleeps shall be short */
	rte_rcu_qsbr_thread_register(w->dp->qsbr, w->id);
	rte_rcu_qsbr_thread_online(w->dp->qsbr, w->id);
	while (!atomic_load_explicit(&w->dp->stop, memory_order_relaxed)) {
		if (worker_turn(w))
			worker_idle_end(&w->idle);
		else
			worker_idle_wait(w);
	}
	rte_rcu_qsbr_thread_offline(w->dp->qsbr, w->id);
	rte_rcu_qsbr_thread_unregister(w->dp->qsbr, w->id);
	return 0;
}
