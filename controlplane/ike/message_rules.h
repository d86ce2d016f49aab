#pragma once

#include "controlplane/ike/message.h"

/*
 * Which payload may appear where and how often (RFC 7296 1.2, 1.3, appendix C) is a table, by
 * exchange and direction; order does not matter. Call it when all payloads are decoded (after
 * ike_message_decode_inner where there is SK), before any handler.
 *
 * A response that carries an error notify, COOKIE or REDIRECT need not have the payloads of
 * success. Payloads that are known but have no row are allowed and ignored (RFC 7296 appendix C).
 * After IKE_SA_INIT nothing may stand outside of SK: what arrives unprotected (a notify about an
 * unknown SPI, say) is for the engine to look at before it calls this.
 *
 * 0 or -IKE_WIRE_E_RULES; *why, if not NULL, is set to a static text for the log.
 */
int ike_message_check(const struct ike_message *m, const char **why)
	__attribute__((warn_unused_result));
