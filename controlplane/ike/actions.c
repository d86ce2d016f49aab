#include "controlplane/ike/actions.h"

#include <stdlib.h>

#include "shared/wipe.h"

struct ike_action *ike_action_add(struct ike_actions *actions, enum ike_action_type type)
{
	if (actions->n == actions->cap) {
		size_t cap = actions->cap ? actions->cap * 2 : 16;
		struct ike_action **list = realloc(actions->list, cap * sizeof(*list));

		if (!list) {
			actions->no_memory = true;
			return NULL;
		}
		actions->list = list;
		actions->cap = cap;
	}
	struct ike_action *action = calloc(1, sizeof(*action));

	if (!action) {
		actions->no_memory = true;
		return NULL;
	}
	action->type = type;
	actions->list[actions->n++] = action;
	return action;
}

static void action_destroy(struct ike_action *action)
{
	switch (action->type) {
	case IKE_ACT_SEND:
		free(action->send.data);
		break;
	case IKE_ACT_AUTH_REQUEST:
		/* The octets hold prf(SK_p, ID): not a secret by itself, yet derived from one. */
		if (action->auth.octets)
			wipe(action->auth.octets, action->auth.octets_len);
		free(action->auth.octets);
		break;
	case IKE_ACT_PUBKEY_REQUEST:
		free(action->pubkey.cert);
		break;
	case IKE_ACT_COMMAND:
	case IKE_ACT_CHECKPOINT:
	case IKE_ACT_EVENT:
	case IKE_ACT_SESSION:
	case IKE_ACT_SESSION_QUERY:
	case IKE_ACT_SESSION_ACQUIRE:
		break;
	}
	wipe(action, sizeof(*action));
	free(action);
}

void ike_actions_reset(struct ike_actions *actions)
{
	for (size_t i = 0; i < actions->n; i++)
		action_destroy(actions->list[i]);
	actions->n = 0;
	actions->no_memory = false;
}

void ike_actions_fini(struct ike_actions *actions)
{
	ike_actions_reset(actions);
	free(actions->list);
	*actions = (struct ike_actions){0};
}
