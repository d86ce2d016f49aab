#include "dataplane/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void ifreq_init(struct ifreq *ifr, const char *name)
{
	memset(ifr, 0, sizeof(*ifr));
	snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", name);
}

/* The settings that go through a socket: MAC, MTU, up. */
static int device_configure(
	const char *name, const uint8_t mac[6], uint16_t mtu, uint32_t *ifindex, const char **what)
{
	struct ifreq ifr;
	int rc = 0, s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	*what = "socket";
	if (s < 0)
		return -errno;
	ifreq_init(&ifr, name);
	*what = "SIOCSIFHWADDR";
	ifr.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(ifr.ifr_hwaddr.sa_data, mac, 6);
	if (ioctl(s, SIOCSIFHWADDR, &ifr) < 0)
		goto fail;
	ifreq_init(&ifr, name);
	*what = "SIOCSIFMTU";
	ifr.ifr_mtu = mtu;
	if (ioctl(s, SIOCSIFMTU, &ifr) < 0)
		goto fail;
	ifreq_init(&ifr, name);
	*what = "SIOCSIFFLAGS";
	if (ioctl(s, SIOCGIFFLAGS, &ifr) < 0)
		goto fail;
	ifr.ifr_flags |= IFF_UP;
	if (ioctl(s, SIOCSIFFLAGS, &ifr) < 0)
		goto fail;
	ifreq_init(&ifr, name);
	*what = "SIOCGIFINDEX";
	if (ioctl(s, SIOCGIFINDEX, &ifr) < 0)
		goto fail;
	*ifindex = (uint32_t)ifr.ifr_ifindex;
	goto out;
fail:
	rc = -errno;
out:
	close(s);
	return rc;
}

static int tun_attach(struct tap *t, const char *name, const char **what)
{
	struct ifreq ifr;

	*what = "/dev/net/tun";
	t->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (t->fd < 0)
		return -errno;
	ifreq_init(&ifr, name);
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI;
	*what = "TUNSETIFF";
	if (ioctl(t->fd, TUNSETIFF, &ifr) < 0)
		return -errno;
	*what = "TUNSETOFFLOAD";
	if (ioctl(t->fd, TUNSETOFFLOAD, 0UL) < 0)
		return -errno;
	*what = "TUNSETPERSIST";
	if (ioctl(t->fd, TUNSETPERSIST, 1UL) < 0)
		return -errno;
	snprintf(t->name, sizeof(t->name), "%s", ifr.ifr_name);
	return 0;
}

int tap_open(struct tap *t, const char *name, const uint8_t mac[6], uint16_t mtu, const char **what)
{
	int rc;

	memset(t, 0, sizeof(*t));
	rc = tun_attach(t, name, what);
	if (rc == 0)
		rc = device_configure(t->name, mac, mtu, &t->ifindex, what);
	if (rc < 0)
		tap_close(t);
	return rc;
}

void tap_close(struct tap *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

int tap_remove(const char *name)
{
	struct tap t = {.fd = -1};
	const char *what;
	int rc;

	if (if_nametoindex(name) == 0)
		return 0;
	rc = tun_attach(&t, name, &what);
	if (rc == 0 && ioctl(t.fd, TUNSETPERSIST, 0UL) < 0)
		rc = -errno;
	tap_close(&t);
	return rc;
}

int tap_carrier_set(struct tap *t, bool up)
{
#ifdef TUNSETCARRIER
	int carrier = up;

	return ioctl(t->fd, TUNSETCARRIER, &carrier) < 0 ? -errno : 0;
#else
	(void)t;
	(void)up;
	return -ENOTSUP;
#endif
}

int tap_write(struct tap *t, const void *frame, size_t len)
{
	ssize_t n = write(t->fd, frame, len);

	if (n == (ssize_t)len) {
		t->n_written++;
		return 0;
	}
	t->n_write_dropped++;
	return n < 0 ? -errno : -EIO;
}

int tap_read(struct tap *t, void *buf, size_t cap)
{
	ssize_t n = read(t->fd, buf, cap);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	t->n_read++;
	return (int)n;
}
