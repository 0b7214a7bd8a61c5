/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * empty [PIN…] -- [PIN…]: makes the maps behind the second pins as they are when they are created. A pin of a program
 * stands for all of its maps; those behind the first pins stay as they are, and so do constants of programs.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAPS = 256 };

struct ids {
	uint32_t id[MAPS];
	uint32_t count;
};

static void check(int failed, const char *what)
{
	if (!failed)
		return;
	fprintf(stderr, "empty: %s: %s\n", what, strerror(errno));
	exit(1);
}

static long bpf(int command, union bpf_attr *attr)
{
	return syscall(__NR_bpf, command, attr, sizeof(*attr));
}

static int open_pin(const char *path)
{
	union bpf_attr attr = { .pathname = (uintptr_t)path };
	int fd = bpf(BPF_OBJ_GET, &attr);

	check(fd < 0, path);
	return fd;
}

static long info_of(int fd, void *info, uint32_t size)
{
	union bpf_attr attr = { .info = { .bpf_fd = fd, .info_len = size, .info = (uintptr_t)info } };

	return bpf(BPF_OBJ_GET_INFO_BY_FD, &attr);
}

static int is_program(int fd)
{
	char link[64], target[64] = "";

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	check(readlink(link, target, sizeof(target) - 1) < 0, link);
	return strstr(target, "bpf-prog") != NULL;
}

static int has(const struct ids *ids, uint32_t id)
{
	for (uint32_t i = 0; i < ids->count; i++)
		if (ids->id[i] == id)
			return 1;
	return 0;
}

static void add(struct ids *ids, uint32_t id)
{
	if (has(ids, id))
		return;
	errno = E2BIG;
	check(ids->count == MAPS, "maps");
	ids->id[ids->count++] = id;
}

/* Adds the map behind a pin, or all maps of the program behind it. */
static void add_pin(struct ids *ids, const char *path)
{
	uint32_t maps[MAPS];
	struct bpf_prog_info program = { .nr_map_ids = MAPS, .map_ids = (uintptr_t)maps };
	struct bpf_map_info map = { 0 };
	int fd = open_pin(path);

	if (is_program(fd)) {
		check(info_of(fd, &program, sizeof(program)) != 0, path);
		for (uint32_t i = 0; i < program.nr_map_ids && i < MAPS; i++)
			add(ids, maps[i]);
	} else {
		check(info_of(fd, &map, sizeof(map)) != 0, path);
		add(ids, map.id);
	}
	close(fd);
}

static void remove_keys(int fd, const struct bpf_map_info *info)
{
	char *key = calloc(2, info->key_size), *following = key + info->key_size;
	union bpf_attr next = { .map_fd = fd, .next_key = (uintptr_t)following };
	union bpf_attr element = { .map_fd = fd, .key = (uintptr_t)key };
	long end;

	check(!key, info->name);
	end = bpf(BPF_MAP_GET_NEXT_KEY, &next);
	while (end == 0) {
		memcpy(key, following, info->key_size);
		next.key = (uintptr_t)key;
		end = bpf(BPF_MAP_GET_NEXT_KEY, &next);
		check(end != 0 && errno != ENOENT, info->name);
		check(bpf(BPF_MAP_DELETE_ELEM, &element) != 0, info->name);
	}
	free(key);
}

static void remove_programs(int fd, const struct bpf_map_info *info)
{
	for (uint32_t key = 0; key < info->max_entries; key++) {
		union bpf_attr element = { .map_fd = fd, .key = (uintptr_t)&key };

		check(bpf(BPF_MAP_DELETE_ELEM, &element) != 0 && errno != ENOENT, info->name);
	}
}

static void zero_memory(int fd, const struct bpf_map_info *info)
{
	size_t size = (size_t)((info->value_size + 7) & ~7u) * info->max_entries;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);

	check(memory == MAP_FAILED, info->name);
	memset(memory, 0, size);
	check(munmap(memory, size) != 0, info->name);
}

static void zero_values(int fd, const struct bpf_map_info *info, uint32_t copies)
{
	uint32_t *keys = calloc(info->max_entries, sizeof(*keys));
	void *values = calloc(info->max_entries, (size_t)((info->value_size + 7) & ~7u) * copies);
	union bpf_attr attr = { .batch = { .map_fd = fd, .keys = (uintptr_t)keys, .values = (uintptr_t)values } };

	check(!keys || !values, info->name);
	for (uint32_t i = 0; i < info->max_entries; i++)
		keys[i] = i;
	attr.batch.count = info->max_entries;
	check(bpf(BPF_MAP_UPDATE_BATCH, &attr) != 0, info->name);
	free(keys);
	free(values);
}

/* Per-CPU values exist for every possible CPU, which the last number of this file counts. */
static uint32_t possible_cpus(void)
{
	unsigned int last = 0, number;
	FILE *file = fopen("/sys/devices/system/cpu/possible", "r");

	check(!file, "possible CPUs");
	while (fscanf(file, "%u%*c", &number) == 1)
		last = number;
	fclose(file);
	return last + 1;
}

static void empty(uint32_t id)
{
	union bpf_attr attr = { .map_id = id };
	struct bpf_map_info info = { 0 };
	int fd = bpf(BPF_MAP_GET_FD_BY_ID, &attr);

	check(fd < 0 || info_of(fd, &info, sizeof(info)) != 0, "map");
	errno = EINVAL;
	check(strstr(info.name, ".data") != NULL, "initial values of variables are not known");
	if (info.map_flags & BPF_F_RDONLY_PROG)
		;
	else if (info.type == BPF_MAP_TYPE_PROG_ARRAY)
		remove_programs(fd, &info);
	else if (info.type == BPF_MAP_TYPE_ARRAY && (info.map_flags & BPF_F_MMAPABLE))
		zero_memory(fd, &info);
	else if (info.type == BPF_MAP_TYPE_ARRAY)
		zero_values(fd, &info, 1);
	else if (info.type == BPF_MAP_TYPE_PERCPU_ARRAY)
		zero_values(fd, &info, possible_cpus());
	else
		remove_keys(fd, &info);
	close(fd);
}

int main(int argc, char **argv)
{
	static struct ids kept, emptied;
	struct ids *ids = &kept;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0)
			ids = &emptied;
		else
			add_pin(ids, argv[i]);
	}
	for (uint32_t i = 0; i < emptied.count; i++)
		if (!has(&kept, emptied.id[i]))
			empty(emptied.id[i]);
	return 0;
}
