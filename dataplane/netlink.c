#include "dataplane/netlink.h"
#include "dataplane/netlink_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENT_BUFFER (4 * 1024 * 1024) /* bytes the kernel queues before it reports a loss */

static const unsigned int event_groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
	RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_NEIGH};

static int event_cb(const struct nlmsghdr *nlh, void *ctx);

static int events_open(struct netlink *nl)
{
	int size = EVENT_BUFFER, fd;

	nl->events = mnl_socket_open2(NETLINK_ROUTE, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (!nl->events || mnl_socket_bind(nl->events, 0, MNL_SOCKET_AUTOPID) < 0)
		return -1;
	fd = mnl_socket_get_fd(nl->events);
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	for (size_t i = 0; i < sizeof(event_groups) / sizeof(event_groups[0]); i++) {
		unsigned int group = event_groups[i];

		if (mnl_socket_setsockopt(
			    nl->events, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0)
			return -1;
	}
	return 0;
}

static int requests_open(struct netlink *nl)
{
	nl->requests = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	return nl->requests ? mnl_socket_bind(nl->requests, 0, MNL_SOCKET_AUTOPID) : -1;
}

struct netlink *netlink_create(const struct netlink_ops *ops)
{
	struct netlink *nl = calloc(1, sizeof(*nl));
	int saved;

	if (!nl)
		return NULL;
	nl->ops = *ops;
	if (events_open(nl) < 0)
		goto fail;
	if (requests_open(nl) < 0)
		goto fail;
	return nl;
fail:
	saved = errno;
	netlink_destroy(nl);
	errno = saved;
	return NULL;
}

struct netlink *netlink_create_requests(void)
{
	struct netlink *nl = calloc(1, sizeof(*nl));

	if (nl && requests_open(nl) < 0) {
		netlink_destroy(nl);
		return NULL;
	}
	return nl;
}

void netlink_destroy(struct netlink *nl)
{
	if (!nl)
		return;
	if (nl->events)
		mnl_socket_close(nl->events);
	if (nl->requests)
		mnl_socket_close(nl->requests);
	free(nl);
}

int netlink_fd(const struct netlink *nl)
{
	return mnl_socket_get_fd(nl->events);
}

int netlink_request(struct netlink *nl, struct nlmsghdr *nlh, mnl_cb_t cb, void *ctx)
{
	char buf[NETLINK_READ_LEN];
	unsigned int port = mnl_socket_get_portid(nl->requests);
	ssize_t n;
	int rc;

	nlh->nlmsg_seq = ++nl->seq;
	if (mnl_socket_sendto(nl->requests, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	do {
		n = mnl_socket_recvfrom(nl->requests, buf, sizeof(buf));
		if (n < 0)
			return -errno;
		rc = mnl_cb_run(buf, (size_t)n, nl->seq, port, cb, ctx);
		if (rc < 0)
			return errno ? -errno : -EIO;
	} while (rc > MNL_CB_STOP);
	return 0;
}

static int dump(struct netlink *nl, int type)
{
	char buf[NETLINK_REQUEST_LEN];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	/* Exactly the family header of the type: the kernel takes more for an attribute. */
	size_t len = type == RTM_GETLINK    ? sizeof(struct ifinfomsg)
		     : type == RTM_GETADDR  ? sizeof(struct ifaddrmsg)
		     : type == RTM_GETROUTE ? sizeof(struct rtmsg)
					    : sizeof(struct ndmsg);

	nlh->nlmsg_type = (uint16_t)type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	memset(mnl_nlmsg_put_extra_header(nlh, len), 0, len);
	return netlink_request(nl, nlh, event_cb, nl);
}

int netlink_dump(struct netlink *nl)
{
	static const int types[] = {RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE, RTM_GETNEIGH};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		int rc = dump(nl, types[i]);

		if (rc < 0)
			return rc;
	}
	return 0;
}

void netlink_read(struct netlink *nl)
{
	char buf[NETLINK_READ_LEN];

	for (;;) {
		ssize_t n = mnl_socket_recvfrom(nl->events, buf, sizeof(buf));

		if (n < 0 && errno == ENOBUFS) {
			nl->ops.restart(nl->ops.ctx);
			(void)netlink_dump(nl);
			continue;
		}
		if (n <= 0)
			return;
		mnl_cb_run(buf, (size_t)n, 0, 0, event_cb, nl);
	}
}

/* Attributes of one message by type; those beyond the table are skipped. */
struct attr_table {
	const struct nlattr *at[64];
};

static int attr_cb(const struct nlattr *attr, void *ctx)
{
	struct attr_table *t = ctx;
	uint16_t type = mnl_attr_get_type(attr);

	if (type < 64)
		t->at[type] = attr;
	return MNL_CB_OK;
}

static bool attr_addr(const struct nlattr *a, uint8_t family, struct ip_addr *out)
{
	uint8_t version = family == AF_INET ? 4 : 6;

	return a && addr_from_bytes(version, mnl_attr_get_payload(a), mnl_attr_get_payload_len(a),
			    out) == 0;
}

static void addr_event(struct netlink *nl, const struct nlmsghdr *nlh)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
	struct attr_table t = {0};
	struct ip_prefix prefix = {0};
	struct ip_addr addr;

	if (ifa->ifa_family != AF_INET && ifa->ifa_family != AF_INET6)
		return;
	mnl_attr_parse(nlh, sizeof(*ifa), attr_cb, &t);
	/* IFA_LOCAL differs from IFA_ADDRESS on point-to-point links. */
	if (!attr_addr(
		    t.at[IFA_LOCAL] ? t.at[IFA_LOCAL] : t.at[IFA_ADDRESS], ifa->ifa_family, &addr))
		return;
	prefix.addr = addr;
	prefix.len = ifa->ifa_prefixlen;
	prefix_mask(&prefix);
	nl->ops.addr(nl->ops.ctx, &prefix, &addr, ifa->ifa_index, nlh->nlmsg_type == RTM_NEWADDR);
}

static void multipath_first(const struct nlattr *a, uint8_t family, struct netlink_route *r)
{
	const struct rtnexthop *nh = mnl_attr_get_payload(a);
	struct nlattr *attr;

	if (mnl_attr_get_payload_len(a) < sizeof(*nh) || nh->rtnh_len < sizeof(*nh) ||
		nh->rtnh_len > mnl_attr_get_payload_len(a))
		return;
	r->ifindex = (uint32_t)nh->rtnh_ifindex;
	mnl_attr_for_each_payload((struct nlattr *)RTNH_DATA(nh), nh->rtnh_len - sizeof(*nh))
	{
		if (mnl_attr_get_type(attr) == RTA_GATEWAY)
			(void)attr_addr(attr, family, &r->gateway);
	}
}

static uint32_t metrics_mtu(const struct nlattr *metrics)
{
	const struct nlattr *a;

	if (!metrics)
		return 0;
	mnl_attr_for_each_nested(a, metrics)
	{
		if (mnl_attr_get_type(a) == RTAX_MTU && mnl_attr_get_payload_len(a) == 4)
			return mnl_attr_get_u32(a);
	}
	return 0;
}

static bool route_decode(const struct nlmsghdr *nlh, struct netlink_route *r)
{
	const struct rtmsg *rt = mnl_nlmsg_get_payload(nlh);
	struct attr_table t = {0};
	uint32_t table = rt->rtm_table;

	memset(r, 0, sizeof(*r));
	if ((rt->rtm_family != AF_INET && rt->rtm_family != AF_INET6) ||
		(rt->rtm_flags & RTM_F_CLONED))
		return false;
	mnl_attr_parse(nlh, sizeof(*rt), attr_cb, &t);
	if (t.at[RTA_TABLE])
		table = mnl_attr_get_u32(t.at[RTA_TABLE]);
	if (table != RT_TABLE_MAIN)
		return false;
	if (rt->rtm_type == RTN_UNICAST)
		r->kind = NETLINK_ROUTE_UNICAST;
	else if (rt->rtm_type == RTN_BLACKHOLE)
		r->kind = NETLINK_ROUTE_BLACKHOLE;
	else if (rt->rtm_type == RTN_UNREACHABLE || rt->rtm_type == RTN_PROHIBIT)
		r->kind = NETLINK_ROUTE_UNREACH;
	else
		return false;
	r->dst.addr.family = rt->rtm_family == AF_INET ? 4 : 6;
	r->dst.len = rt->rtm_dst_len;
	if (t.at[RTA_DST] && !attr_addr(t.at[RTA_DST], rt->rtm_family, &r->dst.addr))
		return false;
	(void)attr_addr(t.at[RTA_GATEWAY], rt->rtm_family, &r->gateway);
	if (t.at[RTA_OIF])
		r->ifindex = mnl_attr_get_u32(t.at[RTA_OIF]);
	else if (t.at[RTA_MULTIPATH])
		multipath_first(t.at[RTA_MULTIPATH], rt->rtm_family, r);
	if (t.at[RTA_PRIORITY])
		r->metric = mnl_attr_get_u32(t.at[RTA_PRIORITY]);
	r->mtu = metrics_mtu(t.at[RTA_METRICS]);
	return true;
}

static void neigh_event(struct netlink *nl, const struct nlmsghdr *nlh)
{
	const struct ndmsg *nd = mnl_nlmsg_get_payload(nlh);
	const uint16_t usable = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT |
				NUD_NOARP;
	struct attr_table t = {0};
	const uint8_t *mac = NULL;
	struct ip_addr addr;

	mnl_attr_parse(nlh, sizeof(*nd), attr_cb, &t);
	if ((nd->ndm_family != AF_INET && nd->ndm_family != AF_INET6) ||
		!attr_addr(t.at[NDA_DST], nd->ndm_family, &addr))
		return;
	if (nlh->nlmsg_type == RTM_NEWNEIGH && (nd->ndm_state & usable) && t.at[NDA_LLADDR] &&
		mnl_attr_get_payload_len(t.at[NDA_LLADDR]) == 6)
		mac = mnl_attr_get_payload(t.at[NDA_LLADDR]);
	nl->ops.neigh(nl->ops.ctx, (uint32_t)nd->ndm_ifindex, &addr, mac,
		(nd->ndm_state & NUD_FAILED) != 0);
}

/* What the kernel says of an interface of a certain kind: only VLANs over others matter. */
static void link_info(
	const struct nlattr *info, const struct nlattr *parent, struct netlink_link *l)
{
	const struct nlattr *data = NULL, *a;
	uint16_t protocol = 0, vlan = 0;
	bool is_vlan = false;

	if (!info || !parent)
		return;
	mnl_attr_for_each_nested(a, info)
	{
		if (mnl_attr_get_type(a) == IFLA_INFO_KIND)
			is_vlan = strcmp(mnl_attr_get_str(a), "vlan") == 0;
		else if (mnl_attr_get_type(a) == IFLA_INFO_DATA)
			data = a;
	}
	if (!is_vlan || !data)
		return;
	mnl_attr_for_each_nested(a, data)
	{
		if (mnl_attr_get_type(a) == IFLA_VLAN_ID)
			vlan = mnl_attr_get_u16(a);
		else if (mnl_attr_get_type(a) == IFLA_VLAN_PROTOCOL)
			protocol = ntohs(mnl_attr_get_u16(a));
	}
	if (protocol != ETH_P_8021Q || vlan == 0 || vlan > 4094)
		return;
	l->vlan_parent = mnl_attr_get_u32(parent);
	l->vlan = vlan;
}

static void link_event(struct netlink *nl, const struct nlmsghdr *nlh)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	struct netlink_link l = {0};
	struct attr_table t = {0};

	if (ifi->ifi_family != AF_UNSPEC)
		return;
	mnl_attr_parse(nlh, sizeof(*ifi), attr_cb, &t);
	l.ifindex = (uint32_t)ifi->ifi_index;
	l.is_up = (ifi->ifi_flags & IFF_UP) != 0;
	l.has_carrier = (ifi->ifi_flags & IFF_LOWER_UP) != 0;
	l.is_gone = nlh->nlmsg_type == RTM_DELLINK;
	if (t.at[IFLA_IFNAME])
		snprintf(l.name, sizeof(l.name), "%s", mnl_attr_get_str(t.at[IFLA_IFNAME]));
	if (t.at[IFLA_MTU])
		l.mtu = mnl_attr_get_u32(t.at[IFLA_MTU]);
	if (t.at[IFLA_ADDRESS] && mnl_attr_get_payload_len(t.at[IFLA_ADDRESS]) == 6)
		memcpy(l.mac, mnl_attr_get_payload(t.at[IFLA_ADDRESS]), 6);
	link_info(t.at[IFLA_LINKINFO], t.at[IFLA_LINK], &l);
	nl->ops.link(nl->ops.ctx, &l);
}

static int event_cb(const struct nlmsghdr *nlh, void *ctx)
{
	struct netlink *nl = ctx;
	struct netlink_route r;

	switch (nlh->nlmsg_type) {
	case RTM_NEWADDR:
	case RTM_DELADDR:
		addr_event(nl, nlh);
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		if (route_decode(nlh, &r))
			nl->ops.route(nl->ops.ctx, &r, nlh->nlmsg_type == RTM_NEWROUTE);
		break;
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		neigh_event(nl, nlh);
		break;
	case RTM_NEWLINK:
	case RTM_DELLINK:
		link_event(nl, nlh);
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

int netlink_neigh_probe(struct netlink *nl, uint32_t ifindex, const struct ip_addr *a)
{
	char buf[NETLINK_REQUEST_LEN];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ndmsg *nd;

	nlh->nlmsg_type = RTM_NEWNEIGH;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
	nd = mnl_nlmsg_put_extra_header(nlh, sizeof(*nd));
	memset(nd, 0, sizeof(*nd));
	nd->ndm_family = a->family == 4 ? AF_INET : AF_INET6;
	nd->ndm_ifindex = (int)ifindex;
	nd->ndm_state = NUD_NONE;
	nd->ndm_flags = NTF_USE; /* as if the kernel itself had a packet for it */
	mnl_attr_put(nlh, NDA_DST, addr_len(a->family), a->b);
	return netlink_request(nl, nlh, NULL, NULL);
}

static int route_answer_cb(const struct nlmsghdr *nlh, void *ctx)
{
	struct netlink_route_answer *out = ctx;
	const struct rtmsg *rt = mnl_nlmsg_get_payload(nlh);
	struct attr_table t = {0};

	if (nlh->nlmsg_type != RTM_NEWROUTE)
		return MNL_CB_OK;
	mnl_attr_parse(nlh, sizeof(*rt), attr_cb, &t);
	if (rt->rtm_type != RTN_UNICAST && rt->rtm_type != RTN_LOCAL)
		return MNL_CB_OK;
	(void)attr_addr(t.at[RTA_PREFSRC], rt->rtm_family, &out->src);
	if (t.at[RTA_OIF])
		out->ifindex = mnl_attr_get_u32(t.at[RTA_OIF]);
	out->mtu = metrics_mtu(t.at[RTA_METRICS]);
	return MNL_CB_OK;
}

int netlink_route_get(struct netlink *nl, const struct ip_addr *dst, const struct ip_addr *src,
	struct netlink_route_answer *out)
{
	char buf[NETLINK_REQUEST_LEN];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct rtmsg *rt;
	int rc;

	memset(out, 0, sizeof(*out));
	nlh->nlmsg_type = RTM_GETROUTE;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	rt = mnl_nlmsg_put_extra_header(nlh, sizeof(*rt));
	memset(rt, 0, sizeof(*rt));
	rt->rtm_family = dst->family == 4 ? AF_INET : AF_INET6;
	rt->rtm_dst_len = addr_bits(dst->family);
	mnl_attr_put(nlh, RTA_DST, addr_len(dst->family), dst->b);
	if (src && src->family == dst->family) {
		rt->rtm_src_len = addr_bits(src->family);
		mnl_attr_put(nlh, RTA_SRC, addr_len(src->family), src->b);
	}
	rc = netlink_request(nl, nlh, route_answer_cb, out);
	if (rc == 0 && out->src.family == 0 && src)
		out->src = *src;
	return rc;
}
