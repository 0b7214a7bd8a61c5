/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stands in for a tool under its name: asks the test at the socket beside its directory what to do. The request is the length
 * of what follows, the number of words, the words, and the input of a batch; numbers have 32 bits. Answers are lines:
 *
 *   exec            becomes the tool
 *   run FROM TO     runs the tool with these lines of the batch; reports status, output and messages, each with its length
 *   say S OUT ERR   prints so many bytes that follow, and ends with status S
 *   hang            never ends, and has a child that does not end either
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const PLACES[] = { "/usr/sbin", "/usr/bin", "/sbin", "/bin" };

static char *name;
static char *batch;
static size_t batch_size;
static FILE *test, *orders;

static void die(const char *what)
{
	perror(what);
	_exit(111);
}

static int memory(const char *bytes, size_t size)
{
	int fd = memfd_create("intercept", MFD_CLOEXEC);

	if (fd < 0 || write(fd, bytes, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) != 0)
		die("memfd");
	return fd;
}

static void become(char **argv, const char *input, size_t size)
{
	char path[256];

	if (batch)
		dup2(memory(input, size), 0);
	for (size_t i = 0; i < sizeof(PLACES) / sizeof(*PLACES); i++) {
		snprintf(path, sizeof(path), "%s/%s", PLACES[i], name);
		execv(path, argv);
	}
	die(name);
}

static void put(const void *bytes, uint32_t size)
{
	fwrite(bytes, 1, size, test);
}

static void put_number(uint32_t number)
{
	put(&number, sizeof(number));
}

static void put_all(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char *bytes = mmap(NULL, size + 1, PROT_READ, MAP_SHARED, fd, 0);

	put_number(size);
	put(bytes, size);
	munmap(bytes, size + 1);
	close(fd);
}

/* The start of a line of the batch. */
static char *line_at(unsigned int number)
{
	char *at = batch;

	while (number-- && at < batch + batch_size)
		at = (char *)memchr(at, '\n', batch + batch_size - at) + 1;
	return at;
}

static void run(char **argv, unsigned int from, unsigned int to)
{
	int out = memory("", 0), err = memory("", 0), status;
	char *start = batch ? line_at(from) : NULL;
	pid_t child = fork();

	if (child == 0) {
		dup2(out, 1);
		dup2(err, 2);
		become(argv, start, batch ? line_at(to) - start : 0);
	}
	waitpid(child, &status, 0);
	put_number(WIFEXITED(status) ? WEXITSTATUS(status) : 128);
	put_all(out);
	put_all(err);
	fflush(test);
}

static void copy(FILE *to, size_t size)
{
	for (int byte; size-- && (byte = fgetc(orders)) != EOF;)
		fputc(byte, to);
	fflush(to);
}

static void hang(void)
{
	const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };

	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		signal(signals[i], SIG_IGN);
	fork();
	for (;;)
		pause();
}

static void request(int argc, char **argv)
{
	uint32_t size = sizeof(uint32_t) + batch_size;

	for (int i = 0; i < argc; i++)
		size += strlen(argv[i]) + 1;
	put_number(size);
	put_number(argc);
	for (int i = 0; i < argc; i++)
		put(argv[i], strlen(argv[i]) + 1);
	put(batch, batch_size);
	fflush(test);
}

static void read_batch(void)
{
	size_t room = 1 << 16;

	batch = malloc(room);
	for (ssize_t got; (got = read(0, batch + batch_size, room - batch_size)) > 0;) {
		batch_size += got;
		if (batch_size == room)
			batch = realloc(batch, room *= 2);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char self[256] = "", order[64];
	unsigned int a, b, c;

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		die("readlink");
	name = strdup(basename(strdup(self)));
	argv[0] = name;
	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "batch") || !strcmp(argv[i], "-batch"))
			read_batch();
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/../crash.sock", dirname(strdup(self)));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		become(argv, batch, batch_size);
	orders = fdopen(fd, "r");
	test = fdopen(fcntl(fd, F_DUPFD_CLOEXEC, 3), "w");
	request(argc, argv);
	while (fgets(order, sizeof(order), orders)) {
		if (!strcmp(order, "exec\n")) {
			become(argv, batch, batch_size);
		} else if (!strcmp(order, "hang\n")) {
			hang();
		} else if (sscanf(order, "run %u %u", &a, &b) == 2) {
			run(argv, a, b);
		} else if (sscanf(order, "say %u %u %u", &a, &b, &c) == 3) {
			copy(stdout, b);
			copy(stderr, c);
			return a;
		}
	}
	return 111;
}
