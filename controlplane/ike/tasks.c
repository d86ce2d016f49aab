#include <stdlib.h>

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"

bool ike_task_is_queued(const struct ike_sa *sa, enum ike_task_type type, uint64_t child)
{
	for (const struct ike_task *task = sa->tasks; task; task = task->next)
		if (task->type == type && task->child == child)
			return true;
	return false;
}

struct ike_task *ike_task_add(
	struct ike_sa *sa, enum ike_task_type type, uint64_t child, struct ts_pairs *wanted)
{
	struct ike_task *task = NULL, **at = &sa->tasks;

	if (type == IKE_TASK_CREATE_CHILD || !ike_task_is_queued(sa, type, child))
		task = calloc(1, sizeof(*task));
	if (!task) {
		free(wanted);
		return NULL;
	}
	task->type = type;
	task->child = child;
	task->wanted = wanted;
	while (*at && (*at)->type <= type)
		at = &(*at)->next;
	task->next = *at;
	*at = task;
	return task;
}

static void task_free(struct ike_task *task)
{
	free(task->wanted);
	free(task);
}

void ike_task_remove_all(struct ike_sa *sa)
{
	while (sa->tasks) {
		struct ike_task *task = sa->tasks;

		sa->tasks = task->next;
		task_free(task);
	}
}

static void perform(struct ike_sa *sa, struct ike_task *task)
{
	switch (task->type) {
	case IKE_TASK_DELETE_IKE:
		informational_send_delete_ike(sa);
		break;
	case IKE_TASK_DELETE_CHILD:
		informational_send_delete_child(sa, task);
		break;
	case IKE_TASK_REKEY_IKE:
		rekey_ike_request_send(sa, task);
		break;
	case IKE_TASK_REKEY_CHILD:
	case IKE_TASK_CREATE_CHILD:
		child_request_send(sa, task);
		break;
	case IKE_TASK_DPD:
		informational_send_dpd(sa);
		break;
	case IKE_TASK_NONE:
	case IKE_TASK_SA_INIT:
	case IKE_TASK_AUTH:
		break;
	}
}

/* What may still be asked of this SA: a replaced one is only deleted. */
static bool is_allowed(const struct ike_sa *sa, const struct ike_task *task)
{
	if (sa->state == IKE_SA_CLOSING || sa->is_replaced)
		return task->type == IKE_TASK_DELETE_IKE;
	return true;
}

void ike_tasks_run(struct ike_sa *sa)
{
	struct ike_engine *engine = sa->engine;

	/* A task may turn out to be void and send nothing: then the next one has its turn. */
	while (sa->state >= IKE_SA_ESTABLISHED && sa->state != IKE_SA_CLOSED &&
		sa->request.type == IKE_TASK_NONE && engine->is_transport_up) {
		struct ike_task **at = &sa->tasks;

		while (*at && ((*at)->not_before_ms > engine->now_ms || !is_allowed(sa, *at)))
			at = &(*at)->next;
		if (!*at)
			return;
		struct ike_task *task = *at;

		*at = task->next;
		task->next = NULL;
		perform(sa, task);
		task_free(task);
	}
}

uint64_t ike_tasks_deadline(const struct ike_sa *sa)
{
	uint64_t first = UINT64_MAX;

	if (sa->request.type != IKE_TASK_NONE || sa->state < IKE_SA_ESTABLISHED)
		return first;
	for (const struct ike_task *task = sa->tasks; task; task = task->next)
		if (is_allowed(sa, task) && task->not_before_ms < first)
			first = task->not_before_ms;
	return first;
}

bool ike_task_retry(struct ike_sa *sa, struct ike_task *task)
{
	if (task->attempts >= TEMPORARY_RETRIES)
		return false;
	struct ike_task *again = ike_task_add(sa, task->type, task->child, task->wanted);

	task->wanted = NULL; /* ike_task_add took it, or freed it */
	if (!again)
		return false;
	again->attempts = task->attempts + 1;
	again->group = task->group;
	/* RFC 7296 2.25: wait for some time, then try again; a spread keeps two peers apart. */
	again->not_before_ms = sa->engine->now_ms + engine_jitter(sa->engine, TEMPORARY_RETRY_MS);
	return true;
}

void ike_attempt_destroy(struct ike_engine *engine, struct ike_attempt *attempt)
{
	if (!attempt)
		return;
	if (attempt->spi_in)
		espd_spi_release(engine, attempt->spi_in);
	ike_dh_destroy(attempt->dh);
	free(attempt->pairs);
	free(attempt->task.wanted);
	free(attempt);
}
