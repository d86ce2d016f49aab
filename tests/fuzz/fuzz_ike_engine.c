#include <stdlib.h>
#include <string.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"
#include "tests/unit/engine/sim.h"

/*
 * A peer of an engine that may say anything: clear datagrams, and messages that it protects with
 * the right keys. The first byte chooses how far the two have come; then come records of
 * an operation, a length and its bytes. The other end is a real engine, so its answers count too.
 */

#define CONF_A \
	"ikev2 passive esp from 10.0.1.0/24 to 10.0.2.0/24 peer any local 192.0.2.1 psk 'x'\n"
#define CONF_B "ikev2 active esp from 10.0.2.0/24 to 10.0.1.0/24 peer 192.0.2.1 psk 'x'\n"

static bool hold_auth(struct sim *sim, int from, const struct ike_send *send)
{
	(void)sim;
	return from != 1 || send->data[18] == IKE_EXCHANGE_SA_INIT;
}

static void clear(struct sim *sim, struct bytes data)
{
	struct endpoint from = {sim->node[1].outside, 500};

	if (data.len)
		sim_datagram(&sim->node[0], &from, 500, false, data.data, data.len);
}

/* exchange, flags, message ID relative to what is expected, first payload, payloads */
static void sealed(struct sim *sim, struct bytes data)
{
	struct ike_sa *peer = sim->node[1].engine->sas, *ours = sim->node[0].engine->sas;
	struct ike_datagrams out = {0};
	struct endpoint from = {sim->node[1].outside, 500};

	if (!peer || !ours || !peer->has_keys || data.len < 4)
		return;
	bool is_response = data.data[1] & 1;
	struct ike_header h = {.spi_i = peer->spi_i,
		.spi_r = peer->spi_r,
		.version = IKE_VERSION,
		.exchange = (uint8_t)(IKE_EXCHANGE_SA_INIT + data.data[0] % 5),
		.flags = (uint8_t)((peer->is_initiator ? IKE_FLAG_INITIATOR : 0) |
				   (is_response ? IKE_FLAG_RESPONSE : 0)),
		.message_id = (is_response ? ours->request.message_id : ours->expected_id) +
			      data.data[2] % 3 - (data.data[2] % 3 == 2 ? 3u : 0u)};
	struct bytes payloads = {data.data + 4, data.len - 4};
	size_t max_len = data.data[1] & 2 ? 300 : 0;

	if (ike_seal(&peer->out, NULL, &h, data.data[3], payloads, max_len, &out) < 0)
		return;
	for (uint16_t i = 0; i < out.n; i++) {
		struct bytes d = ike_datagrams_at(&out, i);

		sim_datagram(&sim->node[0], &from, 500, false, d.data, d.len);
	}
	ike_datagrams_fini(&out);
}

static void one(struct sim *sim, uint8_t op, struct bytes data)
{
	switch (op % 6) {
	case 0:
		clear(sim, data);
		break;
	case 1:
	case 2:
		sealed(sim, data);
		break;
	case 3:
		sim_run(sim, data.len ? data.data[0] * 100u : 10);
		break;
	case 4:
		sim_soft_expire(&sim->node[data.len ? data.data[0] & 1 : 0]);
		break;
	case 5:
		sim_simple(&sim->node[0],
			data.len && data.data[0] & 1 ? IKE_IN_TRANSPORT_DOWN : IKE_IN_TRANSPORT_UP);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_init(data, size);
	uint8_t stage = read_u8(&r) % 3;
	struct sim *sim = sim_create(1, CONF_A, CONF_B);

	if (stage == 1)
		sim->filter = hold_auth;
	sim_start(sim);
	sim_run(sim, stage ? 6000 : 100);
	for (unsigned int i = 0; i < 32 && reader_left(&r) >= 3; i++) {
		uint8_t op = read_u8(&r);
		size_t len = read_u16(&r);

		if (len > reader_left(&r))
			len = reader_left(&r);
		one(sim, op, read_bytes(&r, len));
	}
	sim_run(sim, 1000);
	sim_destroy(sim);
	return 0;
}
