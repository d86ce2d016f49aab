#include "controlplane/iked/sad_table.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_INDEX 16

void sad_table_fini(struct sad_table *table)
{
	free(table->entries);
	table->entries = NULL;
	table->n = table->cap = 0;
}

static struct sad_entry *entry_find(struct sad_table *table, uint64_t handle)
{
	for (size_t i = 0; i < table->n; i++) {
		if (table->entries[i].handle == handle)
			return &table->entries[i];
	}
	return NULL;
}

static void life_set(struct sad_entry *entry, uint32_t soft_s, uint32_t hard_s, uint64_t now_ms)
{
	entry->soft_ms = soft_s > 0 ? now_ms + (uint64_t)soft_s * 1000 : 0;
	entry->hard_ms = hard_s > 0 ? now_ms + (uint64_t)hard_s * 1000 : 0;
}

static uint32_t sa_add(struct sad_table *table, const struct ipc_sa_add *add, uint64_t now_ms)
{
	struct sad_entry *entry = entry_find(table, add->sa.handle);

	if (entry && entry->generation >= add->sa.generation)
		return IPC_E_EXISTS;
	if (!entry && table->n == table->cap) {
		size_t cap = table->cap > 0 ? table->cap * 2 : 64;
		struct sad_entry *entries = realloc(table->entries, cap * sizeof(*entries));

		if (!entries)
			return IPC_E_FULL;
		table->entries = entries;
		table->cap = cap;
	}
	if (!entry)
		entry = &table->entries[table->n++];
	*entry = (struct sad_entry){.handle = add->sa.handle, .generation = add->sa.generation};
	life_set(entry, add->soft_s, add->hard_s, now_ms);
	return IPC_OK;
}

static uint32_t sa_update(
	struct sad_table *table, const struct ipc_sa_update *update, uint64_t now_ms)
{
	struct sad_entry *entry = entry_find(table, update->sa.handle);

	if (!entry)
		return IPC_E_NO_SUCH;
	if (entry->generation != update->sa.generation)
		return IPC_E_STALE;
	if (update->what & IPC_SA_SET_LIFE)
		life_set(entry, update->soft_s, update->hard_s, now_ms);
	return IPC_OK;
}

static uint32_t sa_delete(struct sad_table *table, const struct ipc_ref *ref)
{
	struct sad_entry *entry = entry_find(table, ref->handle);

	if (!entry)
		return IPC_E_NO_SUCH;
	if (entry->generation != ref->generation)
		return IPC_E_STALE;
	*entry = table->entries[--table->n];
	return IPC_OK;
}

static void say(struct sad_table *table, const struct ike_input *in)
{
	table->out(table->ctx, in);
}

static void say_state(
	struct sad_table *table, const struct sad_entry *entry, uint32_t why, uint64_t token)
{
	struct ike_input in = {.type = IKE_IN_SA_STATE};

	in.event.sa_state = (struct ipc_sa_state){
		.handle = entry->handle,
		.generation = entry->generation,
		.why = why,
		.idle_s = UINT32_MAX,
		.token = token,
	};
	say(table, &in);
}

static uint32_t sa_query(struct sad_table *table, const struct ike_command *command)
{
	const struct sad_entry *entry = entry_find(table, command->body.ref.handle);

	if (!entry)
		return IPC_E_NO_SUCH;
	say_state(table, entry, IPC_SA_WHY_QUERY, command->header.number);
	return IPC_OK;
}

static uint32_t spi_lease(struct sad_table *table, const struct ipc_spi_lease *lease)
{
	struct ike_input in = {.type = IKE_IN_SPI_LEASE};

	if (table->next_index == 0)
		table->next_index = FIRST_INDEX +
				    table->engine * ((1u << SAD_INDEX_BITS) / IPC_ENGINES_MAX);
	if (lease->count > (1u << SAD_INDEX_BITS) - table->next_index)
		return IPC_E_FULL;
	in.event.spi_lease = (struct ipc_spi_lease){
		.first = table->next_index, .count = lease->count, .index_bits = SAD_INDEX_BITS};
	table->next_index += lease->count;
	say(table, &in);
	return IPC_OK;
}

static uint32_t held_query(struct sad_table *table)
{
	const struct ike_input in = {.type = IKE_IN_HELD_END};

	say(table, &in);
	return IPC_OK;
}

void sad_table_command(struct sad_table *table, const struct ike_command *command, uint64_t now_ms)
{
	struct ike_input in = {.type = IKE_IN_ACK};
	uint32_t error = IPC_OK;

	switch (command->header.type) {
	case IPC_CMD_SA_ADD:
		error = sa_add(table, &command->body.sa_add, now_ms);
		break;
	case IPC_CMD_SA_UPDATE:
		error = sa_update(table, &command->body.sa_update, now_ms);
		break;
	case IPC_CMD_SA_DELETE:
		error = sa_delete(table, &command->body.ref);
		break;
	case IPC_CMD_SA_QUERY:
		error = sa_query(table, command);
		break;
	case IPC_CMD_SPI_LEASE:
		error = spi_lease(table, &command->body.spi_lease);
		break;
	case IPC_CMD_HELD_QUERY:
		error = held_query(table);
		break;
	default:
		/* Flows and paths: nothing follows from them without packets. */
		break;
	}
	in.event.ack = (struct ipc_ack){
		.number = command->header.number, .error = error, .type = command->header.type};
	say(table, &in);
}

void sad_table_tick(struct sad_table *table, uint64_t now_ms)
{
	for (size_t i = 0; i < table->n; i++) {
		struct sad_entry *entry = &table->entries[i];
		uint32_t why = 0;

		if (entry->soft_ms != 0 && entry->soft_ms <= now_ms) {
			entry->soft_ms = 0;
			why |= IPC_SA_WHY_SOFT;
		}
		if (entry->hard_ms != 0 && entry->hard_ms <= now_ms) {
			entry->hard_ms = 0;
			why |= IPC_SA_WHY_HARD;
		}
		if (why != 0)
			say_state(table, entry, why, 0);
	}
}

uint64_t sad_table_next_deadline(const struct sad_table *table)
{
	uint64_t next = UINT64_MAX;

	for (size_t i = 0; i < table->n; i++) {
		const struct sad_entry *entry = &table->entries[i];

		if (entry->soft_ms != 0 && entry->soft_ms < next)
			next = entry->soft_ms;
		if (entry->hard_ms != 0 && entry->hard_ms < next)
			next = entry->hard_ms;
	}
	return next;
}
