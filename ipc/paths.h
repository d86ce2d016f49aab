#pragma once

/* Names in espd's run directory (espd.conf's run-dir); the default directory. */
#define ESPD_RUN_DIR "/run/penstock"
#define ESPD_SOCKET "espd.sock"        /* attach.h: owners */
#define ESPD_KEYS_SOCKET "keys.sock"   /* keys.h: ipsecctl -k */
#define ESPD_DEBUG_SOCKET "debug.sock" /* debug.h: penstockctl */
#define ESPD_VIEW "view"               /* view.h */
#define ESPD_SEQUENCE_STORE "sequence" /* store.h */
#define ESPD_MANUAL_STORE "manual"     /* manual_store.h */
