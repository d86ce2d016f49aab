#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/engine/sim.h"

/* IKE_SA_INIT and IKE_AUTH between two engines. */

#define FAQ_A                                                              \
	"ikev2 'server1_rsa' passive esp from 10.0.1.0/24 to 10.0.2.0/24 " \
	"local 192.0.2.1 peer 198.51.100.1 srcid server1.domain "
#define FAQ_B                                                             \
	"ikev2 'server2_rsa' active esp from 10.0.2.0/24 to 10.0.1.0/24 " \
	"peer 192.0.2.1 dstid server2.domain "

/* The FAQ's own rules: RSA, dstid that is its own name. */
static void test_faq(void **state)
{
	struct sim *sim = sim_create(1, FAQ_A "rsa\n", FAQ_B "\n");

	(void)state;
	sim_use_rsa(sim);
	sim_start(sim);
	sim_run(sim, 10000);
	sim_check_tunnel(sim, 1, 1);
	/* HDR, SAi1, KEi, Ni  -->   <--  HDR, SAr1, KEr, Nr */
	assert_true(sim_logged(sim, "b: ikev2_msg_send: IKE_SA_INIT request from 0.0.0.0:500 to "
				    "192.0.2.1:500 msgid 0,"));
	assert_true(sim_logged(sim,
		"a: ikev2_recv: IKE_SA_INIT request from initiator 198.51.100.1:500 to "
		"192.0.2.1:500 policy 'server1_rsa' id 0,"));
	assert_true(sim_logged(sim,
		"a: sa_state: VALID -> ESTABLISHED from 198.51.100.1:500 to 192.0.2.1:500 "
		"policy 'server1_rsa'"));
	assert_true(sim_logged(sim, "dstid FQDN/server2.domain is our own srcid: ignored"));
	assert_true(sim_logged(sim, "a: spi="));
	/* What ipsecctl shows: auth hmac-sha2-256 enc aes-256. */
	const struct sim_espd *espd = &sim->node[0].espd;
	bool seen = false;

	for (size_t i = 0; i < SIM_SAS; i++)
		if (espd->sas[i].is_used) {
			const struct ipc_sa_add *add = &espd->sas[i].add;

			seen = true;
			assert_int_equal(add->encr_id, ENCR_AES_CBC);
			assert_int_equal(add->encr_key_len, 32);
			assert_int_equal(add->integ_id, INTEG_HMAC_SHA2_256_128);
			assert_string_equal(add->srcid, "FQDN/server1.domain");
			assert_string_equal(add->dstid, "FQDN/server2.domain");
		}
	assert_true(seen);
	/* in, out and the deny flow for ::/0 */
	assert_int_equal(sim_count(&sim->node[0]).flows, 3);
	sim_traffic(sim);
	assert_int_equal(sim->packets_lost, 0);
	sim_destroy(sim);
}

static void test_psk(void **state)
{
	struct sim *sim = sim_create(
		2, FAQ_A "psk 'mekmitasdigoat'\n", FAQ_B "psk 'mekmitasdigoat'\n");

	(void)state;
	/* dstid is strict with a PSK, even if it is our own name: the FAQ's rule does not apply */
	sim_start(sim);
	sim_run(sim, 10000);
	assert_int_equal(sim_count(&sim->node[0]).children, 0);
	sim_destroy(sim);

	sim = sim_create(3, FAQ_A "psk 'mekmitasdigoat'\n",
		"ikev2 active esp from 10.0.2.0/24 to 10.0.1.0/24 peer 192.0.2.1 "
		"dstid server1.domain psk 'mekmitasdigoat'\n");
	sim_start(sim);
	sim_run(sim, 10000);
	sim_check_tunnel(sim, 1, 1);
	sim_destroy(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faq),
		cmocka_unit_test(test_psk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
