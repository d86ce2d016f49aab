#include "dataplane/eal.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <rte_memory.h>

#include "shared/secret.h"

#define ARGS_MAX (64 + 2 * EAL_VDEVS_MAX + 2 * EAL_PCI_MAX)

/* EAL keeps pointers into argv and permutes it: the strings live as long as it does. */
struct eal {
	char *argv[ARGS_MAX];
	int argc;
	char *strings[ARGS_MAX]; /* the same in their first order, to free them */
	bool failed;
};

static void eal_free(struct eal *eal)
{
	for (int i = 0; eal && i < eal->argc; i++)
		free(eal->strings[i]);
	free(eal);
}

static void arg_add(struct eal *a, const char *text)
{
	char *copy = strdup(text);

	if (!copy || a->argc >= ARGS_MAX - 1) {
		free(copy);
		a->failed = true;
		return;
	}
	a->strings[a->argc] = copy;
	a->argv[a->argc++] = copy;
	a->argv[a->argc] = NULL;
}

static void arg_add2(struct eal *a, const char *name, const char *value)
{
	arg_add(a, name);
	arg_add(a, value);
}

/* Free hugepages of the default size, in MiB; 0 if none or not mounted. */
static uint64_t hugepages_free_mb(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	char line[256];
	uint64_t n_free = 0, size_kb = 0;
	bool mounted = false;

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, "HugePages_Free: %lu", &n_free);
		sscanf(line, "Hugepagesize: %lu kB", &size_kb);
	}
	fclose(f);
	f = fopen("/proc/mounts", "re");
	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		if (strstr(line, " hugetlbfs "))
			mounted = true;
	}
	fclose(f);
	return mounted ? n_free * size_kb / 1024 : 0;
}

bool eal_has_hugepages(uint32_t memory_mb)
{
	return hugepages_free_mb() >= memory_mb;
}

/* "0@(0-1),1@3,2@(0-1)": which CPUs each lcore may run on. */
static int lcores_format(const struct eal_options *o, char *buf, size_t cap)
{
	char all[512] = "";
	size_t n = 0;
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return -1;
	for (int c = 0; c < CPU_SETSIZE && n < sizeof(all) - 8; c++) {
		if (CPU_ISSET(c, &set))
			n += (size_t)snprintf(all + n, sizeof(all) - n, "%s%d", n ? "," : "", c);
	}
	n = (size_t)snprintf(buf, cap, "0@(%s)", all);
	for (unsigned int i = 0; i < o->n_workers && n < cap; i++) {
		if (o->worker_cpu[i] < 0)
			n += (size_t)snprintf(buf + n, cap - n, ",%u@(%s)", i + 1, all);
		else
			n += (size_t)snprintf(buf + n, cap - n, ",%u@%d", i + 1, o->worker_cpu[i]);
	}
	return n < cap ? 0 : -1;
}

/* A file prefix may not hold slashes: the run directory's path with them replaced. */
static void prefix_format(const char *run_dir, char *buf, size_t cap)
{
	snprintf(buf, cap, "penstock%s", run_dir);
	for (char *p = buf; *p; p++) {
		if (*p == '/' || *p == ' ')
			*p = '-';
	}
}

static void args_extra(const char *text, struct eal *a)
{
	char *copy = text ? strdup(text) : NULL, *save = NULL;

	for (char *w = copy ? strtok_r(copy, " \t", &save) : NULL; w;
		w = strtok_r(NULL, " \t", &save))
		arg_add(a, w);
	free(copy);
}

static void args_build(const struct eal_options *o, struct eal *a)
{
	char lcores[4096], text[128];

	arg_add(a, "penstock-espd");
	if (lcores_format(o, lcores, sizeof(lcores)) < 0)
		a->failed = true;
	arg_add2(a, "--lcores", lcores);
	arg_add2(a, "--main-lcore", "0");
	arg_add(a, "--iova-mode=va");
	if (!o->has_telemetry)
		arg_add(a, "--no-telemetry");
	prefix_format(o->run_dir, text, sizeof(text));
	arg_add2(a, "--file-prefix", text);
	snprintf(text, sizeof(text), "%u", o->memory_mb);
	arg_add2(a, "-m", text);
	if (o->no_huge || !eal_has_hugepages(o->memory_mb)) {
		/* EAL refuses --in-memory here; this memory is private anyway. */
		arg_add(a, "--no-huge");
		arg_add(a, "--no-shconf");
	} else {
		arg_add(a, "--in-memory");
	}
	if (o->n_pci == 0)
		arg_add(a, "--no-pci");
	for (size_t i = 0; i < o->n_pci; i++)
		arg_add2(a, "-a", o->pci[i]);
	for (size_t i = 0; i < o->n_vdevs; i++)
		arg_add2(a, "--vdev", o->vdevs[i]);
	if (!o->is_verbose)
		arg_add2(a, "--log-level", "*:warning");
	args_extra(o->extra_args, a);
}

static int area_hide(
	const struct rte_memseg_list *list, const struct rte_memseg *ms, size_t len, void *arg)
{
	(void)list;
	(void)arg;
	secret_pages_hide(ms->addr, len);
	return 0;
}

static void area_event(enum rte_mem_event event, const void *addr, size_t len, void *arg)
{
	(void)arg;
	if (event == RTE_MEM_EVENT_ALLOC)
		secret_pages_hide((void *)(uintptr_t)addr, len);
}

/*
 * Packets in the clear and the schedules of all keys lie in DPDK's memory: none of it belongs in
 * a core dump, nor what it takes later. Without huge pages nothing comes later, and there is no
 * such event.
 */
static void memory_hide(void)
{
	(void)rte_memseg_contig_walk(area_hide, NULL);
	(void)rte_mem_event_callback_register("no-dump", area_event, NULL);
}

struct eal *eal_start(const struct eal_options *o, char *err, size_t err_cap)
{
	struct eal *eal = calloc(1, sizeof(*eal));

	if (eal)
		args_build(o, eal);
	if (!eal || eal->failed) {
		snprintf(err, err_cap, "too many ports or CPUs, or no memory");
		eal_free(eal);
		return NULL;
	}
	if (rte_eal_init(eal->argc, eal->argv) < 0) {
		snprintf(err, err_cap,
			"DPDK did not start (%s): check the ports' arguments, and that %u MiB of "
			"memory are free",
			rte_strerror(rte_errno), o->memory_mb);
		eal_free(eal);
		return NULL;
	}
	memory_hide();
	return eal;
}

void eal_stop(struct eal *eal)
{
	rte_eal_cleanup();
	eal_free(eal);
}
