/* Stands between the program and its disk (LD_PRELOAD): fails calls when it is told to, and writes down what was written
 * and synced.
 *
 * DISK_UNDER_TEST_ORDER  a file with one order: CALL ERRNO N [TIMES], for the Nth call from now on and TIMES - 1 behind it
 *                      (TIMES 0: for ever). CALL is write, sync or read. An empty file: no fault. It is read when it changes.
 * DISK_UNDER_TEST_LOG    where every write, truncation and sync goes, as struct entry and the bytes written.
 *
 * Only files whose name has "colloquy.db" in it are of interest.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, TRUNCATE = 3 };
enum { DATABASE = 0, WAL = 1, OTHER = 2 };

struct entry {
    uint64_t began_ns, ended_ns;
    uint32_t kind, file;
    int64_t offset;
    uint64_t length;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -2;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* -1: none of ours. */
static int file_of(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return -1;
    path[length] = 0;
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    if (strstr(name, "colloquy.db") != name) return -1;
    if (strcmp(name, "colloquy.db") == 0) return DATABASE;
    return strcmp(name, "colloquy.db-wal") == 0 ? WAL : OTHER;
}

static void note(int kind, int file, uint64_t began, int64_t offset, const void *data, uint64_t length) {
    if (file == OTHER || log_fd == -1) return;
    pthread_mutex_lock(&lock);
    if (log_fd == -2) {
        const char *path = getenv("DISK_UNDER_TEST_LOG");
        log_fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    }
    if (log_fd >= 0) {
        struct entry entry = {began, now(), (uint32_t)kind, (uint32_t)file, offset, length};
        size_t size = sizeof entry + (data ? length : 0);
        char *whole = malloc(size);
        if (!whole) abort();
        memcpy(whole, &entry, sizeof entry);
        if (data) memcpy(whole + sizeof entry, data, length);
        for (size_t done = 0; done < size;) {
            long wrote = syscall(SYS_write, log_fd, whole + done, size - done);
            if (wrote <= 0) abort();
            done += (size_t)wrote;
        }
        free(whole);
    }
    pthread_mutex_unlock(&lock);
}

/* The error of this call, or 0. */
static int fault(const char *call) {
    static struct timespec read_at;
    static ino_t read_as;
    static char order_call[16];
    static int order_errno;
    static long first, times, seen;
    const char *path = getenv("DISK_UNDER_TEST_ORDER");
    struct stat status;
    if (!path) return 0;
    pthread_mutex_lock(&lock);
    if (stat(path, &status) == 0
        && (status.st_ino != read_as || status.st_mtim.tv_sec != read_at.tv_sec
            || status.st_mtim.tv_nsec != read_at.tv_nsec)) {
        char text[64] = {0}, name[16] = {0};
        read_at = status.st_mtim;
        read_as = status.st_ino;
        order_call[0] = 0;
        seen = 0;
        times = 1;
        int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            long length = syscall(SYS_read, fd, text, sizeof text - 1);
            syscall(SYS_close, fd);
            if (length > 0 && sscanf(text, "%15s %15s %ld %ld", order_call, name, &first, &times) < 3) order_call[0] = 0;
            order_errno = strcmp(name, "ENOSPC") == 0 ? ENOSPC : EIO;
        }
    }
    int error = 0;
    if (strcmp(call, order_call) == 0) {
        seen++;
        if (seen >= first && (times == 0 || seen < first + times)) error = order_errno;
    }
    pthread_mutex_unlock(&lock);
    return error;
}

static int fails(int file, const char *call) {
    int error = file < 0 ? 0 : fault(call);
    if (error) errno = error;
    return error;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    int file = file_of(fd);
    if (fails(file, "write")) return -1;
    uint64_t began = now();
    ssize_t wrote = syscall(SYS_pwrite64, fd, data, length, offset);
    if (file >= 0 && wrote > 0) note(WRITE, file, began, offset, data, (uint64_t)wrote);
    return wrote;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return pwrite64(fd, data, length, offset); }

ssize_t pread64(int fd, void *data, size_t length, off64_t offset) {
    if (fails(file_of(fd), "read")) return -1;
    return syscall(SYS_pread64, fd, data, length, offset);
}

ssize_t pread(int fd, void *data, size_t length, off_t offset) { return pread64(fd, data, length, offset); }

int ftruncate64(int fd, off64_t length) {
    int file = file_of(fd);
    if (fails(file, "write")) return -1;
    uint64_t began = now();
    int result = (int)syscall(SYS_ftruncate, fd, length);
    if (file >= 0 && result == 0) note(TRUNCATE, file, began, length, NULL, 0);
    return result;
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int sync_of(int fd, long call) {
    int file = file_of(fd);
    if (fails(file, "sync")) return -1;
    uint64_t began = now();
    int result = (int)syscall(call, fd);
    if (file >= 0 && result == 0) note(SYNC, file, began, 0, NULL, 0);
    return result;
}

int fsync(int fd) { return sync_of(fd, SYS_fsync); }

int fdatasync(int fd) { return sync_of(fd, SYS_fdatasync); }
