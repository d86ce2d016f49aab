#include "dataplane/port_link.h"

#include <unistd.h>

#include <rte_ethdev.h>

#include "dataplane/port.h"

bool port_link_set(struct port *p, bool is_up, const struct logger *log)
{
	if (p->is_up == is_up)
		return false;
	p->is_up = is_up;
	p->link_changes++;
	(void)tap_carrier_set(&p->tap, is_up);
	log_info(log, "port %s: link %s", p->name, is_up ? "up" : "down");
	return true;
}

/* In EAL's interrupt thread. */
static int link_interrupt(
	uint16_t id, enum rte_eth_event_type type, void *port, void *ret __attribute__((unused)))
{
	struct port *p = port;
	uint64_t one = 1;

	(void)id;
	(void)type;
	atomic_store(&p->has_link_event, true);
	/* The counter is not empty when this fails: main wakes up all the same. */
	return write(p->link_wake_fd, &one, sizeof(one)) < 0 ? -1 : 0;
}

void port_link_watch(struct port *p, int wake_fd)
{
	p->link_wake_fd = wake_fd;
	if (!p->netdev_ifindex)
		(void)rte_eth_dev_callback_register(
			p->id, RTE_ETH_EVENT_INTR_LSC, link_interrupt, p);
}

void port_link_read(struct port *p, const struct logger *log)
{
	struct rte_eth_link link;

	if (p->netdev_ifindex || rte_eth_link_get_nowait(p->id, &link) < 0)
		return;
	p->speed_mbps = link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed;
	(void)port_link_set(p, link.link_status == RTE_ETH_LINK_UP, log);
}

void port_link_read_changed(struct port *p, const struct logger *log)
{
	if (atomic_load_explicit(&p->has_link_event, memory_order_relaxed) &&
		atomic_exchange(&p->has_link_event, false))
		port_link_read(p, log);
}
