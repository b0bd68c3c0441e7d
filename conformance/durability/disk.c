/*
 * A disk that fails when a test says so. It is put under the server with LD_PRELOAD, and concerns the files below one
 * folder only: DISK_ROOT, an absolute path without links. What it is to do is read from DISK_CONTROL, a file that the
 * test has mapped too, so the disk changes while the server runs. `disk.py` is the other end.
 *
 * Promises:
 * - A full disk takes no write that makes a file longer, and no new file: ENOSPC. What fits into a file goes in.
 * - A read-only disk takes nothing, and opens nothing for writing: EROFS. A sync has nothing to do, and succeeds.
 * - A sync that fails answers EIO and has not synced. A sync that is held does not begin until it is let go.
 * - The process is killed (SIGKILL) right before the n-th write, right before the n-th sync, or right after it, counting
 *   files whose name ends in a given way; `struck` then says so, so that a test knows where the kill fell.
 * - With DISK_JOURNAL, what is done to the files is recorded there in the order in which it is done: before it is done,
 *   but for the outcome of a sync. The record survives the process; `power.py` makes of it what a power cut would leave.
 *
 * SQLite and Rust's library change files by the functions below and by no others, but for SQLite's index of its log
 * (`-shm`), which it maps; a power cut loses that anyway, so it is not in the journal.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FULL = 1, READ_ONLY = 2, SYNC_FAILS = 4, SYNC_HELD = 8 };

/* All numbers are 32 bits wide, in the order of `disk.py`. */
struct control {
    /* What the test says. */
    volatile uint32_t faults;
    volatile uint32_t kill_when; /* 'w' before a write, 's' before a sync, 'S' after a sync, 0 never */
    uint32_t kill_countdown;
    uint32_t kill_delay_ms; /* so that what has left the server arrives */
    char kill_ending[16];
    /* What the disk says. */
    volatile uint32_t struck;
    uint32_t refused; /* operations that failed because they were to */
    uint32_t held;    /* syncs that wait */
};

/* The head of a record; then follow the name, without the root, and the data. */
struct head {
    uint32_t what;
    uint32_t name_bytes;
    uint32_t data_bytes;
    uint32_t unused;
    uint64_t where; /* offset of a write, length of a truncated file, number of a sync */
};

static struct control *control;
static char root[PATH_MAX];
static int journal = -1;
static uint64_t syncs;
/* Around an operation and its record: the journal is in the order of what was done. */
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

static void give_up(const char *what) {
    perror(what);
    abort();
}

__attribute__((constructor)) static void begin(void) {
    const char *control_path = getenv("DISK_CONTROL"), *journal_path = getenv("DISK_JOURNAL");
    if (!getenv("DISK_ROOT") || !control_path) give_up("DISK_ROOT, DISK_CONTROL");
    snprintf(root, sizeof root, "%s", getenv("DISK_ROOT"));
    int file = syscall(SYS_openat, AT_FDCWD, control_path, O_RDWR | O_CLOEXEC);
    control = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (control == MAP_FAILED) give_up(control_path);
    close(file);
    if (journal_path) {
        journal = syscall(SYS_openat, AT_FDCWD, journal_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        if (journal < 0) give_up(journal_path);
    }
}

/* --- names --- */

static int ends_with(const char *name, const char *ending) {
    size_t length = strlen(name), end = strlen(ending);
    return length >= end && strcmp(name + length - end, ending) == 0;
}

/* The name of a path below the root ("" is the root); NULL of every other. */
static const char *name_of_path(const char *path) {
    size_t length = strlen(root);
    if (!control || strncmp(path, root, length) != 0) return NULL;
    if (path[length] == 0) return path + length;
    return path[length] == '/' ? path + length + 1 : NULL;
}

/* The name that an open file has now, in `path`. */
static const char *name_of(int fd, char path[PATH_MAX]) {
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return NULL;
    path[length] = 0;
    return name_of_path(path);
}

/* --- faults --- */

static int refuse(int error) {
    __atomic_add_fetch(&control->refused, 1, __ATOMIC_SEQ_CST);
    errno = error;
    return -1;
}

static void strike(char when, const char *name) {
    if (control->kill_when != (uint32_t)when || !ends_with(name, control->kill_ending)) return;
    if (__atomic_sub_fetch(&control->kill_countdown, 1, __ATOMIC_SEQ_CST) != 0) return;
    usleep(control->kill_delay_ms * 1000);
    control->struck = when;
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static int is_full(int fd, uint64_t end) {
    struct stat file;
    return control->faults & FULL && fstat(fd, &file) == 0 && end > (uint64_t)file.st_size;
}

/* --- the journal --- */

static void record(char what, const char *name, uint64_t where, const void *data, size_t data_bytes) {
    if (journal < 0 || ends_with(name, "-shm")) return;
    struct head head = {what, strlen(name), data_bytes, 0, where};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)name, head.name_bytes}, {(void *)data, data_bytes}};
    size_t whole = sizeof head + head.name_bytes + data_bytes;
    if (writev(journal, parts, 3) != (ssize_t)whole) give_up("the journal");
}

/* Records something, and then does it: `operation` is evaluated once its record is there. */
#define DO(what, name, where, data, data_bytes, operation) \
    ({ \
        pthread_mutex_lock(&order); \
        record(what, name, where, data, data_bytes); \
        long outcome = (operation); \
        pthread_mutex_unlock(&order); \
        outcome; \
    })

/* --- what the server calls --- */

/* Without its folder nothing is created. */
static int has_folder(const char *path) {
    char folder[4096];
    const char *end = strrchr(path, '/');
    if (!end || end - path >= (long)sizeof folder) return 1;
    memcpy(folder, path, end - path);
    folder[end - path] = 0;
    return access(folder, F_OK) == 0;
}

static int open_file(const char *path, int flags, mode_t mode) {
    const char *name = name_of_path(path);
    int writes = (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC);
    if (!name || !writes) return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    int creates = flags & O_CREAT && access(path, F_OK) != 0 && has_folder(path);
    if (control->faults & READ_ONLY) return refuse(EROFS);
    if (control->faults & FULL && creates) return refuse(ENOSPC);
    if (creates) return DO('c', name, 0, "", 0, syscall(SYS_openat, AT_FDCWD, path, flags, mode));
    if (flags & O_TRUNC) return DO('t', name, 0, "", 0, syscall(SYS_openat, AT_FDCWD, path, flags, mode));
    return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static mode_t mode_of(int flags, va_list more) { return flags & O_CREAT ? va_arg(more, mode_t) : 0; }

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = mode_of(flags, more);
    va_end(more);
    return open_file(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = mode_of(flags, more);
    va_end(more);
    return open_file(path, flags | O_LARGEFILE, mode);
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset) {
    char path[PATH_MAX];
    const char *name = name_of(fd, path);
    if (!name) return syscall(SYS_pwrite64, fd, data, bytes, offset);
    strike('w', name);
    if (control->faults & READ_ONLY) return refuse(EROFS);
    if (is_full(fd, offset + bytes)) return refuse(ENOSPC);
    return DO('w', name, offset, data, bytes, syscall(SYS_pwrite64, fd, data, bytes, offset));
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset) { return pwrite64(fd, data, bytes, offset); }

ssize_t write(int fd, const void *data, size_t bytes) {
    char path[PATH_MAX];
    if (!name_of(fd, path)) return syscall(SYS_write, fd, data, bytes);
    /* Nothing here is opened for appending, so a write goes where the file stands. */
    off64_t offset = lseek64(fd, 0, SEEK_CUR);
    ssize_t written = pwrite64(fd, data, bytes, offset);
    if (written > 0) lseek64(fd, offset + written, SEEK_SET);
    return written;
}

int ftruncate64(int fd, off64_t length) {
    char path[PATH_MAX];
    const char *name = name_of(fd, path);
    if (!name) return syscall(SYS_ftruncate, fd, length);
    if (control->faults & READ_ONLY) return refuse(EROFS);
    return DO('t', name, length, "", 0, syscall(SYS_ftruncate, fd, length));
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int sync_file(int fd, long call) {
    char path[PATH_MAX];
    const char *name = name_of(fd, path);
    if (!name) return syscall(call, fd);
    strike('s', name);
    __atomic_add_fetch(&control->held, 1, __ATOMIC_SEQ_CST);
    while (control->faults & SYNC_HELD) usleep(1000);
    __atomic_sub_fetch(&control->held, 1, __ATOMIC_SEQ_CST);
    uint64_t number = __atomic_add_fetch(&syncs, 1, __ATOMIC_SEQ_CST);
    DO('s', name, number, "", 0, 0);
    int outcome = control->faults & SYNC_FAILS ? refuse(EIO) : syscall(call, fd);
    int error = errno;
    DO(outcome == 0 ? 'S' : 'F', name, number, "", 0, 0);
    strike('S', name);
    errno = error;
    return outcome;
}

int fsync(int fd) { return sync_file(fd, SYS_fsync); }

int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }

int rename(const char *from, const char *to) {
    const char *name = name_of_path(from), *new_name = name_of_path(to);
    if (!name || !new_name) return syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
    if (control->faults & READ_ONLY) return refuse(EROFS);
    return DO('r', name, 0, new_name, strlen(new_name), syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to));
}

int unlink(const char *path) {
    const char *name = name_of_path(path);
    if (!name) return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (control->faults & READ_ONLY) return refuse(EROFS);
    return DO('u', name, 0, "", 0, syscall(SYS_unlinkat, AT_FDCWD, path, 0));
}

int mkdir(const char *path, mode_t mode) {
    const char *name = name_of_path(path);
    if (!name || access(path, F_OK) == 0) return syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    if (control->faults & (READ_ONLY | FULL)) return refuse(control->faults & FULL ? ENOSPC : EROFS);
    return DO('m', name, 0, "", 0, syscall(SYS_mkdirat, AT_FDCWD, path, mode));
}
