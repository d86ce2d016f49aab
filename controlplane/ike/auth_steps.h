#pragma once

#include "controlplane/ike/engine_private.h"
#include "controlplane/ike/ike_sa.h"

/* Between exchange_auth.c (the messages) and auth_answers.c (the key process). */

/* Asks the key process for our AUTH value; its answer leads to auth_send_request or _answer. */
void auth_ask_own(struct ike_sa *sa);
/* Checks the method of the peer's AUTH, then asks for what it is verified with. */
void auth_check_peer(struct ike_sa *sa, const struct ike_message *m);
/* Keeps a decrypted message until the answer is there; 0 or -1. */
int auth_park(struct ike_sa *sa, const struct ike_message *m);
/* Decodes it again into engine->msg. */
int auth_unpark(struct ike_sa *sa);
/* AUTHENTICATION_FAILED to the peer, as either side, and the end of the SA. */
void auth_refuse(struct ike_sa *sa, const char *reason);
/* The peer is authenticated: its other SAs may go, before the new child takes their flows. */
void auth_replace_others(struct ike_sa *sa);
void auth_finish(struct ike_sa *sa);

void auth_send_request(struct ike_sa *sa, const struct ike_auth_answer *own);
void auth_send_answer(struct ike_sa *sa, const struct ike_auth_answer *own);
void auth_complete_initiator(struct ike_sa *sa);
