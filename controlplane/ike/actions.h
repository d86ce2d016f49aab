#pragma once

#include "controlplane/ike/engine.h"

/* The list of actions as the engine fills it. */

/* A zeroed action at the end of the list; NULL without memory (no_memory is set). */
struct ike_action *ike_action_add(struct ike_actions *actions, enum ike_action_type type);
