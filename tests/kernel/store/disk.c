/* A disk that fails on request, for a program started with LD_PRELOAD=disk.so.
 *
 * What the program writes below $DISK_FILES it reads back at once, as from the page cache. $DISK_COPY is the platter: what a
 * power cut leaves. fsync and fdatasync carry what was written since to the copy, unless $DISK_STATE (a file of two words,
 * "KIND COUNT") has the next COUNT of them fail with EIO: of the kind "lost" the writes are forgotten, as Linux forgets the
 * pages that it could not write back, of the kind "late" they reach the copy though the call says that it has failed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { PATH = 4096, LIMIT = 65536 };
struct change {
	char name[256]; /* below $DISK_FILES */
	off_t offset;
	ssize_t length; /* -1: the file ends at `offset` */
};
static struct change changes[LIMIT];
static int count;

static int find_name(int fd, char *name)
{
	const char *files = getenv("DISK_FILES");
	char link[64], path[PATH];
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t length = readlink(link, path, sizeof path - 1);
	if (!files || length < 0)
		return 0;
	path[length] = 0;
	size_t base = strlen(files);
	if (strncmp(path, files, base) || path[base] != '/' || strlen(path + base) > 255)
		return 0;
	strcpy(name, path + base + 1);
	return 1;
}

static void remember(int fd, off_t offset, ssize_t length)
{
	struct change change = {.offset = offset, .length = length};
	if (!find_name(fd, change.name))
		return;
	if (count == LIMIT)
		abort();
	changes[count++] = change;
}

static void carry(int fd, const struct change *change)
{
	static ssize_t (*really_write)(int, const void *, size_t, off_t);
	static int (*really_truncate)(int, off_t);
	if (!really_write) {
		really_write = dlsym(RTLD_NEXT, "pwrite64");
		really_truncate = dlsym(RTLD_NEXT, "ftruncate64");
	}
	char path[PATH];
	snprintf(path, sizeof path, "%s/%s", getenv("DISK_COPY"), change->name);
	int copy = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (copy < 0)
		abort();
	if (change->length < 0) {
		really_truncate(copy, change->offset);
	} else {
		char *data = malloc(change->length);
		char link[64];
		snprintf(link, sizeof link, "/proc/self/fd/%d", fd); /* the caller's may be for writing alone */
		int reader = open(link, O_RDONLY | O_CLOEXEC);
		ssize_t length = pread(reader, data, change->length, change->offset);
		if (length > 0)
			really_write(copy, data, length, change->offset);
		close(reader);
		free(data);
	}
	close(copy);
}

/* Returns 0, 'l' or 't': how the next flush fails. */
static int next_failure(void)
{
	char kind[16];
	int left = 0;
	FILE *state = fopen(getenv("DISK_STATE"), "r+");
	if (!state)
		return 0;
	if (fscanf(state, "%15s %d", kind, &left) == 2 && left > 0) {
		rewind(state);
		fprintf(state, "%s %d\n", kind, left - 1);
	} else {
		left = 0;
	}
	fclose(state);
	return left > 0 ? (strcmp(kind, "lost") ? 't' : 'l') : 0;
}

static int flush(int fd)
{
	char name[256];
	if (!find_name(fd, name))
		return 0;
	int failure = next_failure(), kept = 0;
	for (int index = 0; index < count; index++) {
		if (strcmp(changes[index].name, name))
			changes[kept++] = changes[index];
		else if (failure != 'l')
			carry(fd, &changes[index]);
	}
	count = kept;
	if (!failure)
		return 0;
	errno = EIO;
	return -1;
}

int fsync(int fd) { return flush(fd); }
int fdatasync(int fd) { return flush(fd); }

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset)
{
	ssize_t (*really)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, "pwrite64");
	ssize_t written = really(fd, data, length, offset);
	if (written > 0)
		remember(fd, offset, written);
	return written;
}
ssize_t write(int fd, const void *data, size_t length)
{
	ssize_t (*really)(int, const void *, size_t) = dlsym(RTLD_NEXT, "write");
	off_t offset = lseek(fd, 0, SEEK_CUR);
	ssize_t written = really(fd, data, length);
	if (written > 0 && offset >= 0)
		remember(fd, offset, written);
	return written;
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return pwrite64(fd, data, length, offset); }

int ftruncate64(int fd, off_t length)
{
	int (*really)(int, off_t) = dlsym(RTLD_NEXT, "ftruncate64");
	int result = really(fd, length);
	if (!result)
		remember(fd, length, -1);
	return result;
}
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

/* Names are metadata, which a journalling file system writes by itself and in order: gone is gone. */
int unlink(const char *path)
{
	int (*really)(const char *) = dlsym(RTLD_NEXT, "unlink");
	const char *files = getenv("DISK_FILES"), *name = strrchr(path, '/');
	if (files && name && !strncmp(path, files, strlen(files))) {
		char copy[PATH];
		snprintf(copy, sizeof copy, "%s%s", getenv("DISK_COPY"), name);
		really(copy);
	}
	return really(path);
}
