#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * DPDK's af_packet driver puts its sockets, even a single one, into a fanout group that has the
 * kernel reassemble IPv4 fragments (PACKET_FANOUT_FLAG_DEFRAG); no argument of the driver turns
 * that off. What is then longer than a slot of its ring, 2 KiB, is cut off and lost: IKE in IP
 * fragments, and each larger datagram that a host sends through the gateway. Slots for whole
 * datagrams would cost 64 MiB of locked memory a queue and packet buffers of 64 KiB. Fragments are
 * this program's own affair (reassembly.h), so the flag is taken out on its way to the kernel.
 *
 * The driver finds this function before the C library's, be it linked or loaded. All fragments
 * of a datagram hash alike, by their addresses: without the flag too they come by one queue.
 */
int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	const unsigned int defrag = (unsigned int)PACKET_FANOUT_FLAG_DEFRAG << 16;
	unsigned int fanout;

	if (level == SOL_PACKET && name == PACKET_FANOUT && len == sizeof(fanout)) {
		memcpy(&fanout, value, sizeof(fanout));
		fanout &= ~defrag;
		value = &fanout;
	}
	return (int)syscall(SYS_setsockopt, fd, level, name, value, len);
}
