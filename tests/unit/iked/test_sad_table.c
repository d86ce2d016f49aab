#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "controlplane/iked/sad_table.h"

struct said {
	struct ike_input in[8];
	size_t n;
};

static void hear(void *ctx, const struct ike_input *in)
{
	struct said *said = ctx;

	assert_true(said->n < 8);
	said->in[said->n++] = *in;
}

static uint32_t ack_of(struct sad_table *table, struct said *said,
	const struct ike_command *command, uint64_t now_ms)
{
	said->n = 0;
	sad_table_command(table, command, now_ms);
	assert_true(said->n > 0);
	/* Acknowledged once, at the end. */
	assert_int_equal(said->in[said->n - 1].type, IKE_IN_ACK);
	assert_int_equal(said->in[said->n - 1].event.ack.number, command->header.number);
	assert_int_equal(said->in[said->n - 1].event.ack.type, command->header.type);
	return said->in[said->n - 1].event.ack.error;
}

static struct ike_command add(
	uint64_t handle, uint32_t generation, uint32_t soft_s, uint32_t hard_s)
{
	struct ike_command c = {.header = {IPC_CMD_SA_ADD, 0, 100 + handle}};

	c.body.sa_add.sa = (struct ipc_ref){handle, generation, 0};
	c.body.sa_add.soft_s = soft_s;
	c.body.sa_add.hard_s = hard_s;
	return c;
}

static struct ike_command ref(uint32_t type, uint64_t handle, uint32_t generation)
{
	struct ike_command c = {.header = {type, 0, 200 + handle}};

	c.body.ref = (struct ipc_ref){handle, generation, 0};
	return c;
}

static void commands_are_answered_as_espd_does(void **state)
{
	struct said said = {0};
	struct sad_table table = {.out = hear, .ctx = &said};
	struct ike_command c;

	(void)state;
	c = add(7, 1, 10, 20);
	assert_int_equal(ack_of(&table, &said, &c, 0), IPC_OK);
	assert_int_equal(ack_of(&table, &said, &c, 0), IPC_E_EXISTS);
	c = ref(IPC_CMD_SA_QUERY, 7, 1);
	assert_int_equal(ack_of(&table, &said, &c, 0), IPC_OK);
	assert_int_equal(said.in[0].type, IKE_IN_SA_STATE);
	assert_int_equal(said.in[0].event.sa_state.why, IPC_SA_WHY_QUERY);
	assert_int_equal(said.in[0].event.sa_state.token, c.header.number);
	c = ref(IPC_CMD_SA_DELETE, 7, 2);
	assert_int_equal(ack_of(&table, &said, &c, 0), IPC_E_STALE);
	c = ref(IPC_CMD_SA_DELETE, 8, 1);
	assert_int_equal(ack_of(&table, &said, &c, 0), IPC_E_NO_SUCH);
	c = ref(IPC_CMD_SA_DELETE, 7, 1);
	assert_int_equal(ack_of(&table, &said, &c, 0), IPC_OK);
	c = ref(IPC_CMD_HELD_QUERY, 0, 0);
	assert_int_equal(ack_of(&table, &said, &c, 0), IPC_OK);
	assert_int_equal(said.in[0].type, IKE_IN_HELD_END);
	c = ref(IPC_CMD_FLOW_ADD, 9, 1);
	assert_int_equal(ack_of(&table, &said, &c, 0), IPC_OK);
	sad_table_fini(&table);
}

static void leases_do_not_overlap(void **state)
{
	struct said said = {0};
	struct sad_table table = {.out = hear, .ctx = &said};
	struct ike_command c = {.header = {IPC_CMD_SPI_LEASE, 0, 1}};
	uint32_t next = 0;

	(void)state;
	c.body.spi_lease.count = 64;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ack_of(&table, &said, &c, 0), IPC_OK);
		assert_int_equal(said.in[0].event.spi_lease.count, 64);
		assert_true(said.in[0].event.spi_lease.first >= next);
		next = said.in[0].event.spi_lease.first + 64;
	}
	c.body.spi_lease.count = UINT32_MAX;
	assert_int_equal(ack_of(&table, &said, &c, 0), IPC_E_FULL);
	sad_table_fini(&table);
}

static void lifetimes_are_told_once(void **state)
{
	struct said said = {0};
	struct sad_table table = {.out = hear, .ctx = &said};
	struct ike_command c = add(7, 1, 10, 20);

	(void)state;
	assert_int_equal(sad_table_next_deadline(&table), UINT64_MAX);
	assert_int_equal(ack_of(&table, &said, &c, 1000), IPC_OK);
	assert_int_equal(sad_table_next_deadline(&table), 11000);
	said.n = 0;
	sad_table_tick(&table, 10999);
	assert_int_equal(said.n, 0);
	sad_table_tick(&table, 11000);
	assert_int_equal(said.n, 1);
	assert_int_equal(said.in[0].event.sa_state.why, IPC_SA_WHY_SOFT);
	assert_int_equal(sad_table_next_deadline(&table), 21000);
	sad_table_tick(&table, 30000);
	assert_int_equal(said.n, 2);
	assert_int_equal(said.in[1].event.sa_state.why, IPC_SA_WHY_HARD);
	sad_table_tick(&table, 40000);
	assert_int_equal(said.n, 2);
	assert_int_equal(sad_table_next_deadline(&table), UINT64_MAX);
	/* New lifetimes by an update. */
	c = (struct ike_command){.header = {IPC_CMD_SA_UPDATE, 0, 3}};
	c.body.sa_update = (struct ipc_sa_update){
		.sa = {7, 1, 0}, .what = IPC_SA_SET_LIFE, .soft_s = 1, .hard_s = 0};
	assert_int_equal(ack_of(&table, &said, &c, 50000), IPC_OK);
	assert_int_equal(sad_table_next_deadline(&table), 51000);
	sad_table_fini(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_are_answered_as_espd_does),
		cmocka_unit_test(leases_do_not_overlap),
		cmocka_unit_test(lifetimes_are_told_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
