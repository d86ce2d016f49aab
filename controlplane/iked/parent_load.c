#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "controlplane/auth/keydir.h"
#include "controlplane/iked/conf_serial.h"
#include "controlplane/iked/parent.h"
#include "shared/notify.h"
#include "shared/wipe.h"

/*
 * How a configuration gets into force:
 *
 * 1. the parent reads and checks the file; an error ends here and nothing has changed
 * 2. key gets the private key and the pre-shared keys under a new version, next to those it has
 * 3. key answers with the public half: local.pub must be the same, or is written
 * 4. every engine gets the configuration without secrets, adds the new flows and moves its SAs to
 *    the new policies; what has gone stays in force
 * 5. when all have answered they are told so, and take out what the new one has not: a flow that
 *    another engine has now is there before it goes. key forgets the old version, whoever asked
 *    is told
 *
 * Until 5 the old configuration is the one that counts. A failure on the way makes key forget the
 * new version, and the engines get the old one again.
 */
static bool uses_public_key(const struct ike_policy *policy)
{
	switch (policy->auth) {
	case IKE_AUTH_PSK:
	case IKE_AUTH_EAP_MSCHAPV2:
	case IKE_AUTH_EAP_RADIUS:
		return false;
	default:
		return true;
	}
}

/*
 * The FAQ's server2 has a dstid that is its own name; with a public key that can never be the
 * peer's identity, and the FAQ's listing shows the peer's. So it is taken for a slip.
 */
static void policy_fix_ids(
	struct ike_policy *policy, const struct ike_id *local_id, struct conf_diags *diags)
{
	char text[IKE_ID_STRLEN];

	if (!policy->has_srcid)
		policy->srcid = *local_id;
	if (!policy->has_dstid || !uses_public_key(policy) ||
		!ike_id_equal(&policy->srcid, &policy->dstid))
		return;
	conf_warning(diags, &policy->dstid_pos,
		"dstid %s is this host's own identity; it is ignored, any peer whose key is known "
		"may answer",
		ike_id_str(&policy->dstid, text));
	policy->has_dstid = false;
	memset(&policy->dstid, 0, sizeof(policy->dstid));
}

struct ike_config *parent_config_read(const struct iked_options *options, const char *path,
	const struct ike_id *local_id, bool for_loading, struct conf_diags *diags)
{
	const struct conf_options conf = {
		.check_permissions = true,
		.macros = options->macros,
		.n_macros = options->n_macros,
	};
	struct ike_config *config = NULL;

	if (iked_conf_parse(path, &conf, &config, diags) < 0)
		return NULL;
	/* With -n for its warning: printed is what was written. */
	for (size_t i = 0; i < config->n_policies; i++)
		policy_fix_ids(&config->policies[i], local_id, diags);
	if (for_loading && iked_conf_check_loadable(config, diags) < 0) {
		iked_conf_free(config);
		return NULL;
	}
	return config;
}

struct serialised {
	uint32_t version;
	uint8_t *data;
	size_t len;
};

static void load_clear(struct parent *p)
{
	iked_conf_free(p->load.config);
	memset(&p->load, 0, sizeof(p->load));
}

static void config_send(struct parent *p, uint32_t engine, const struct serialised *config);
static int serialise(const struct ike_config *config, uint32_t version, struct serialised *out);

/* Engines may have the configuration that failed. */
static void roll_back(struct parent *p)
{
	struct serialised old;

	if (!p->config || serialise(p->config, p->version, &old) < 0)
		return;
	for (uint32_t n = 0; n < p->options->n_engines; n++)
		config_send(p, n, &old);
	free(old.data);
}

void parent_load_abort(struct parent *p, const char *why)
{
	const uint32_t version = p->load.version;
	const bool engines_have_it = p->load.stage == LOAD_ENGINE;

	if (p->load.stage == LOAD_IDLE)
		return;
	log_error(&p->log, "%s: not loaded: %s", p->load.path, why);
	parent_send(p, IKED_KEY, MSG_KEY_FORGET, 0, &version, sizeof(version), -1);
	if (p->load.has_client) {
		parent_ctl_error(p, p->load.ctl_serial, why);
		parent_ctl_done(p, p->load.ctl_serial, 1);
	}
	load_clear(p);
	if (engines_have_it)
		roll_back(p);
	if (p->is_first_load)
		parent_stop(p, 1);
}

static void psk_send(struct parent *p, const struct ike_policy *policy)
{
	uint8_t body[sizeof(struct msg_psk) + 2048];
	const struct msg_psk psk = {policy->number, (uint32_t)policy->psk_len};

	if (!policy->psk || policy->psk_len > sizeof(body) - sizeof(psk))
		return;
	memcpy(body, &psk, sizeof(psk));
	memcpy(body + sizeof(psk), policy->psk, policy->psk_len);
	parent_send(p, IKED_KEY, MSG_KEY_PSK, 0, body, sizeof(psk) + policy->psk_len, -1);
	wipe(body, sizeof(body));
}

/* From here on the secrets are in `key` alone. */
static void psk_forget(struct ike_policy *policy)
{
	if (policy->psk)
		wipe(policy->psk, policy->psk_len);
	policy->psk_len = 0;
}

/* 0, or -1: a private key is there that cannot be used. */
static int private_key_send(struct parent *p)
{
	static const char path[] = KEYDIR_DEFAULT "/private/local.key";
	uint8_t pem[KEYDIR_FILE_MAX];
	size_t len;
	int result = keydir_read(path, true, pem, sizeof(pem), &len);

	if (result == KEYDIR_OK) {
		parent_send(p, IKED_KEY, MSG_KEY_PRIVATE, 0, pem, len, -1);
		wipe(pem, len);
		return 0;
	}
	if (result == KEYDIR_E_NONE) {
		log_warn(&p->log, "%s: no private key: no policy can sign", path);
		return 0;
	}
	log_error(&p->log, "%s: %s", path, keydir_error_str(result));
	return -1;
}

void parent_load_begin(struct parent *p, struct ike_config *config, const char *path,
	bool has_client, uint64_t ctl_serial)
{
	int sent;

	p->load = (struct parent_load){
		.stage = LOAD_KEYS,
		.has_client = has_client,
		.ctl_serial = ctl_serial,
		.version = ++p->last_version,
		.config = config,
	};
	snprintf(p->load.path, sizeof(p->load.path), "%s", path);
	parent_send(p, IKED_KEY, MSG_KEY_BEGIN, 0, &p->load.version, sizeof(p->load.version), -1);
	sent = private_key_send(p);
	wipe_stack(); /* libraries leave pieces of what they read */
	if (sent < 0) {
		parent_load_abort(p, "private/local.key cannot be used");
		return;
	}
	for (size_t i = 0; i < config->n_policies; i++) {
		psk_send(p, &config->policies[i]);
		psk_forget(&config->policies[i]);
	}
	parent_send(p, IKED_KEY, MSG_KEY_COMMIT, 0, NULL, 0, -1);
}

static int serialise(const struct ike_config *config, uint32_t version, struct serialised *out)
{
	out->version = version;
	out->data = conf_serial_write(config, &out->len);
	return out->data ? 0 : -1;
}

static void config_send(struct parent *p, uint32_t engine, const struct serialised *config)
{
	const struct msg_config_begin begin = {config->version, (uint32_t)config->len};

	parent_send_engine(p, engine, MSG_CONFIG_BEGIN, 0, &begin, sizeof(begin), -1);
	for (size_t at = 0; at < config->len; at += IMSG_BODY_MAX) {
		size_t n = config->len - at < IMSG_BODY_MAX ? config->len - at : IMSG_BODY_MAX;

		parent_send_engine(p, engine, MSG_CONFIG_CHUNK, 0, config->data + at, n, -1);
	}
	parent_send_engine(p, engine, MSG_CONFIG_END, 0, NULL, 0, -1);
}

void parent_config_resend(struct parent *p, uint32_t engine)
{
	const bool is_new = p->load.stage == LOAD_ENGINE;
	const struct ike_config *which = is_new ? p->load.config : p->config;
	struct serialised config;

	/* While the others get a new one it has no need of the old. */
	if (!which || serialise(which, is_new ? p->load.version : p->version, &config) < 0)
		return;
	config_send(p, engine, &config);
	free(config.data);
}

/* The private key's public half against local.pub. 0 or -1 after parent_load_abort. */
static int local_pub_check(struct parent *p, const uint8_t *spki, size_t len)
{
	char why[160];
	int result;

	if (len == 0)
		return 0;
	result = keydir_local_pub_check(KEYDIR_DEFAULT, spki, len);
	if (result == 1)
		log_info(&p->log, "wrote %s/local.pub", KEYDIR_DEFAULT);
	if (result >= 0)
		return 0;
	snprintf(why, sizeof(why), "%s/local.pub: %s", KEYDIR_DEFAULT, keydir_error_str(result));
	parent_load_abort(p, why);
	return -1;
}

void parent_load_keys_done(struct parent *p, const struct imsg *msg)
{
	struct msg_key_loaded loaded;
	struct serialised config;
	const uint8_t *rest = msg->body + sizeof(loaded);
	const size_t rest_len = msg->len - sizeof(loaded);

	memcpy(&loaded, msg->body, sizeof(loaded));
	if (p->load.stage != LOAD_KEYS || loaded.version != p->load.version)
		return;
	if (loaded.status != 0) {
		char why[160];

		snprintf(why, sizeof(why), "%.*s", (int)(rest_len < 128 ? rest_len : 128),
			(const char *)rest);
		parent_load_abort(p, why);
		return;
	}
	if (local_pub_check(p, rest, rest_len) < 0)
		return;
	if (serialise(p->load.config, p->load.version, &config) < 0) {
		parent_load_abort(p, "the configuration is too large");
		return;
	}
	p->load.stage = LOAD_ENGINE;
	for (uint32_t n = 0; n < p->options->n_engines; n++)
		config_send(p, n, &config);
	free(config.data);
}

static void load_finish(struct parent *p)
{
	const uint32_t old_version = p->version;

	parent_send_engines(p, MSG_CONFIG_COMMIT, &p->load.version, sizeof(p->load.version));
	parent_send(p, IKED_KEY, MSG_KEY_FORGET, 0, &old_version, sizeof(old_version), -1);
	iked_conf_free(p->config);
	p->config = p->load.config;
	p->version = p->load.version;
	p->load.config = NULL;
	memcpy(p->conf_path, p->load.path, sizeof(p->conf_path));
	wipe_stack(); /* registers held pieces too, and were saved there meanwhile */
	log_debug(&p->log, "%s: loaded, %zu policies", p->conf_path, p->config->n_policies);
	if (p->load.has_client)
		parent_ctl_done(p, p->load.ctl_serial, 0);
	load_clear(p);
	if (p->is_first_load && notify_send("READY=1") < 0)
		log_warn(&p->log, "NOTIFY_SOCKET: %s", strerror(errno));
	p->is_first_load = false;
}

void parent_load_engine_done(struct parent *p, uint32_t engine, const struct imsg *msg)
{
	const uint32_t all = (1u << p->options->n_engines) - 1;
	struct msg_config_done done;

	memcpy(&done, msg->body, sizeof(done));
	/* One that started meanwhile, or was given the old one back. */
	if (done.status == 0 && p->config && done.version == p->version)
		parent_send_engine(
			p, engine, MSG_CONFIG_COMMIT, 0, &done.version, sizeof(done.version), -1);
	if (p->load.stage != LOAD_ENGINE || done.version != p->load.version)
		return;
	if (done.status != 0) {
		parent_load_abort(p, "an engine refused the configuration");
		return;
	}
	p->load.engines_done |= 1u << engine;
	if (p->load.engines_done == all)
		load_finish(p);
}

/* What a parser said, to the log and to who asked. */
static void diags_report(
	struct parent *p, const struct conf_diags *diags, bool has_client, uint64_t ctl_serial)
{
	for (size_t i = 0; i < diags->n; i++) {
		const struct conf_diag *d = &diags->v[i];
		char line[1024];

		if (d->line > 0)
			snprintf(line, sizeof(line), "%s:%u:%u: %s%s", d->file, d->line, d->column,
				d->severity == CONF_WARNING ? "warning: " : "", d->text);
		else
			snprintf(line, sizeof(line), "%s: %s%s", d->file,
				d->severity == CONF_WARNING ? "warning: " : "", d->text);
		log_line(&p->log, d->severity == CONF_WARNING ? LOG_LVL_WARN : LOG_LVL_ERROR, "%s",
			line);
		if (has_client)
			parent_ctl_error(p, ctl_serial, line);
	}
}

void parent_reload(struct parent *p, const char *path, bool has_client, uint64_t ctl_serial)
{
	struct conf_diags diags;
	struct ike_config *config;

	if (p->load.stage != LOAD_IDLE) {
		log_warn(&p->log, "%s: another load is under way", path);
		if (has_client) {
			parent_ctl_error(p, ctl_serial, "another load is under way");
			parent_ctl_done(p, ctl_serial, 1);
		}
		return;
	}
	conf_diags_init(&diags);
	config = parent_config_read(p->options, path, &p->setup.local_id, true, &diags);
	diags_report(p, &diags, has_client, ctl_serial);
	conf_diags_fini(&diags);
	if (config) {
		parent_load_begin(p, config, path, has_client, ctl_serial);
		return;
	}
	log_error(&p->log, "%s: not loaded; the running configuration stays", path);
	if (has_client)
		parent_ctl_done(p, ctl_serial, 1);
}
