#include "dataplane/netlink_private.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <arpa/inet.h>
#include <string.h>

/*
 * The filter is one instruction of classic BPF, "return TC_ACT_SHOT", in direct-action mode: it
 * needs no action module, so it works on small kernels too. Packet sockets and XDP see a frame
 * before this filter does.
 */
static const struct sock_filter drop_program[] = {BPF_STMT(BPF_RET | BPF_K, TC_ACT_SHOT)};

static struct nlmsghdr *tc_request(char *buf, int type, int flags, uint32_t ifindex,
	uint32_t parent, uint32_t handle, uint32_t info)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct tcmsg *tc;

	nlh->nlmsg_type = (uint16_t)type;
	nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	tc = mnl_nlmsg_put_extra_header(nlh, sizeof(*tc));
	memset(tc, 0, sizeof(*tc));
	tc->tcm_family = AF_UNSPEC;
	tc->tcm_ifindex = (int)ifindex;
	tc->tcm_parent = parent;
	tc->tcm_handle = handle;
	tc->tcm_info = info;
	return nlh;
}

static int filter_add(struct netlink *nl, uint32_t ifindex, uint32_t parent)
{
	char buf[NETLINK_REQUEST_LEN];
	struct nlattr *options;
	struct nlmsghdr *nlh;

	nlh = tc_request(buf, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE, ifindex, parent, 1,
		TC_H_MAKE(1u << 16, htons(ETH_P_ALL)));
	mnl_attr_put_strz(nlh, TCA_KIND, "bpf");
	options = mnl_attr_nest_start(nlh, TCA_OPTIONS);
	mnl_attr_put_u16(nlh, TCA_BPF_OPS_LEN, 1);
	mnl_attr_put(nlh, TCA_BPF_OPS, sizeof(drop_program), drop_program);
	mnl_attr_put_u32(nlh, TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
	mnl_attr_nest_end(nlh, options);
	return netlink_request(nl, nlh, NULL, NULL);
}

int netlink_drop_all(struct netlink *nl, uint32_t ifindex, bool is_egress)
{
	char buf[NETLINK_REQUEST_LEN];
	struct nlmsghdr *nlh;
	int rc;

	nlh = tc_request(buf, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, ifindex, TC_H_CLSACT,
		TC_H_MAKE(TC_H_CLSACT, 0), 0);
	mnl_attr_put_strz(nlh, TCA_KIND, "clsact");
	rc = netlink_request(nl, nlh, NULL, NULL);
	if (rc < 0 && rc != -EEXIST)
		return rc;
	rc = filter_add(nl, ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS));
	if (rc == 0 && is_egress)
		rc = filter_add(nl, ifindex, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS));
	return rc;
}

int netlink_drop_all_remove(struct netlink *nl, uint32_t ifindex)
{
	char buf[NETLINK_REQUEST_LEN];
	struct nlmsghdr *nlh = tc_request(
		buf, RTM_DELQDISC, 0, ifindex, TC_H_CLSACT, TC_H_MAKE(TC_H_CLSACT, 0), 0);

	mnl_attr_put_strz(nlh, TCA_KIND, "clsact");
	return netlink_request(nl, nlh, NULL, NULL);
}

int netlink_link_set_up(struct netlink *nl, uint32_t ifindex)
{
	char buf[NETLINK_REQUEST_LEN];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;

	nlh->nlmsg_type = RTM_NEWLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	memset(ifi, 0, sizeof(*ifi));
	ifi->ifi_index = (int)ifindex;
	ifi->ifi_flags = IFF_UP;
	ifi->ifi_change = IFF_UP;
	return netlink_request(nl, nlh, NULL, NULL);
}

int netlink_xdp_detach(struct netlink *nl, uint32_t ifindex)
{
	char buf[NETLINK_REQUEST_LEN];
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;
	struct nlattr *xdp;

	nlh->nlmsg_type = RTM_SETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
	memset(ifi, 0, sizeof(*ifi));
	ifi->ifi_index = (int)ifindex;
	xdp = mnl_attr_nest_start(nlh, IFLA_XDP);
	mnl_attr_put_u32(nlh, IFLA_XDP_FD, (uint32_t)-1);
	mnl_attr_nest_end(nlh, xdp);
	return netlink_request(nl, nlh, NULL, NULL);
}
