#include <string.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"

/*
 * NAT traversal (RFC 7296 2.23): each side tells hashes of the addresses and ports that it
 * uses; what differs on arrival was changed on the way.
 */

bool ike_sa_uses_udp_encap(const struct ike_sa *sa)
{
	return sa->we_are_natted || sa->peer_is_natted || sa->engine->p.only_nat_t ||
	       (sa->policy && sa->policy->is_natt);
}

void nat_put_notifies(const struct ike_sa *sa, struct ike_builder *b)
{
	uint8_t hash[IKE_NAT_HASH_LEN];

	if (ike_nat_hash(sa->spi_i, sa->spi_r, &sa->local, hash) == 0) {
		/* `natt`: a source that cannot match makes both sides encapsulate. */
		if (sa->policy && sa->policy->is_natt)
			hash[0] ^= 0xff;
		ike_put_notify(b, IKE_N_NAT_DETECTION_SOURCE_IP, hash, sizeof(hash));
	}
	if (ike_nat_hash(sa->spi_i, sa->spi_r, &sa->remote, hash) == 0)
		ike_put_notify(b, IKE_N_NAT_DETECTION_DESTINATION_IP, hash, sizeof(hash));
}

bool nat_detect(struct ike_sa *sa, const struct ike_message *m, uint64_t spi_i, uint64_t spi_r)
{
	uint8_t ours[IKE_NAT_HASH_LEN], theirs[IKE_NAT_HASH_LEN];
	bool source_matches = false, destination_matches = false, has_source = false,
	     has_destination = false;
	const struct ike_payload *p = NULL;

	if (ike_nat_hash(spi_i, spi_r, &sa->local, ours) < 0 ||
		ike_nat_hash(spi_i, spi_r, &sa->remote, theirs) < 0)
		return false;
	while ((p = ike_message_next(m, p, IKE_PAYLOAD_NOTIFY)) != NULL) {
		const struct ike_notify *n = &p->notify;

		if (n->data.len != IKE_NAT_HASH_LEN)
			continue;
		/* There may be several of the first kind: one that matches is enough. */
		if (n->type == IKE_N_NAT_DETECTION_SOURCE_IP) {
			has_source = true;
			source_matches |= memcmp(n->data.data, theirs, sizeof(theirs)) == 0;
		} else if (n->type == IKE_N_NAT_DETECTION_DESTINATION_IP) {
			has_destination = true;
			destination_matches |= memcmp(n->data.data, ours, sizeof(ours)) == 0;
		}
	}
	if (!has_source || !has_destination)
		return false;
	sa->peer_is_natted = !source_matches;
	sa->we_are_natted = !destination_matches;
	return true;
}

static void move_to(struct ike_sa *sa, const struct endpoint *remote)
{
	char was[ENDPOINT_STRLEN], now[ENDPOINT_STRLEN];

	sa_log(sa, LOG_LVL_INFO, "peer moved: old %s new %s", endpoint_str(&sa->remote, was),
		endpoint_str(remote, now));
	sa->engine->stats.nat_changes++;
	ike_sa_set_remote(sa, remote);
	if (sa->has_path)
		espd_path_set(sa->engine, sa);
}

/* The peer took another port, 4500 for 500 above all: our end moves with it. */
static void change_ports(struct ike_sa *sa, const struct ike_datagram *in)
{
	sa->local = in->local;
	ike_sa_set_remote(sa, &in->remote);
	sa->uses_marker = in->has_marker;
	if (sa->has_path)
		espd_path_set(sa->engine, sa);
}

void nat_follow(struct ike_sa *sa, const struct ike_datagram *in)
{
	bool same_peer = addr_equal(&sa->remote.addr, &in->remote.addr);

	if (endpoint_equal(&sa->remote, &in->remote) && endpoint_equal(&sa->local, &in->local) &&
		sa->uses_marker == in->has_marker)
		return;
	/* RFC 7296 2.23: the initiator floats with IKE_AUTH; through a NAT the address, too, may
	 * be another one on the new port. */
	if (!sa->is_initiator && sa->state < IKE_SA_ESTABLISHED) {
		change_ports(sa, in);
		return;
	}
	if (ike_header_is_response(&sa->engine->msg->hdr) || sa->we_are_natted)
		return;
	/* RFC 7296 2.23: a peer behind NAT is followed to where its authenticated message came
	 * from; another one only to another port of its address. */
	if (sa->peer_is_natted && in->has_marker) {
		sa->local = in->local;
		sa->uses_marker = true;
		move_to(sa, &in->remote);
	} else if (!sa->peer_is_natted && same_peer) {
		change_ports(sa, in);
	}
}

void nat_change_input(struct ike_engine *engine, const struct ipc_nat_change *change)
{
	struct ike_sa *sa = ike_sa_by_tunnel(engine, change->path);

	if (sa && sa->has_path && sa->peer_is_natted && !sa->we_are_natted &&
		!endpoint_equal(&sa->remote, &change->remote))
		move_to(sa, &change->remote);
}
