/* Makes the nth system call of a kind on paths below a folder fail, and lists them: LD_PRELOAD of processes under test.
 *
 * $REFUSE_BELOW     the folder; nothing else is touched
 * $REFUSE_LOG       a file to list calls in, a line "call path" each
 * $REFUSE_CALL, $REFUSE_PATH, $REFUSE_NTH, $REFUSE_ERRNO, $REFUSE_EVER     which call, on which path below the folder (numbers and
 *                   drafts' names spelled N), from which time on (1 is the first), with what error, and whether it is refused ever after
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define REAL(name) static __typeof__(name) *real; if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static __thread int inside;
static int count;

static int is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

/* The path below the folder; runs of digits, and of 12 or more hexadecimal digits, are N. */
static int named(const char *path, char *out, size_t size) {
    const char *below = getenv("REFUSE_BELOW");
    if (!below || strncmp(path, below, strlen(below))) return 0;
    size_t n = 0;
    for (const char *c = path + strlen(below); *c && n + 2 < size;) {
        size_t hex = 0, digits = 0;
        while (is_hex(c[hex])) hex++;
        while (c[digits] >= '0' && c[digits] <= '9') digits++;
        size_t skipped = hex >= 12 ? hex : digits;
        if (skipped) { out[n++] = 'N'; c += skipped; } else out[n++] = *c++;
    }
    out[n] = 0;
    return 1;
}

/* Whether to refuse, with errno set. */
static int refused(const char *call, const char *path) {
    char name[4096], line[4200];
    if (inside || !path || !named(path, name, sizeof name)) return 0;
    inside = 1;
    const char *log = getenv("REFUSE_LOG"), *which = getenv("REFUSE_CALL"), *where = getenv("REFUSE_PATH");
    if (log) {
        int file = open(log, O_WRONLY | O_CREAT | O_APPEND, 0666);
        int size = snprintf(line, sizeof line, "%s %s\n", call, name);
        if (file >= 0) { if (write(file, line, size) < 0) {} close(file); }
    }
    inside = 0;
    if (!which || !where || strcmp(which, call) || strcmp(where, name)) return 0;
    int now = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST), nth = atoi(getenv("REFUSE_NTH"));
    if (now < nth || (now > nth && !getenv("REFUSE_EVER"))) return 0;
    errno = atoi(getenv("REFUSE_ERRNO"));
    return 1;
}

static const char *of_file(int file, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t n = readlink(link, path, size - 1);
    if (n < 0) return NULL;
    path[n] = 0;
    return path;
}

static const char *at(int folder, const char *name, char *path, size_t size) {
    char begin[4096];
    if (!name || name[0] == '/') return name;
    if (folder == AT_FDCWD ? !getcwd(begin, sizeof begin) : !of_file(folder, begin, sizeof begin)) return NULL;
    snprintf(path, size, "%s/%s", begin, name);
    return path;
}

#define KEEP_ERRNO(expression) ({ int kept = errno; __typeof__(expression) is = (expression); if (!is) errno = kept; is; })
#define FILE_CALL(file, call) char path[4096]; if (KEEP_ERRNO(refused(call, of_file(file, path, sizeof path)))) return -1
#define AT_CALL(folder, name, call) char path[8200]; if (KEEP_ERRNO(refused(call, at(folder, name, path, sizeof path)))) return -1

static const char *opening(int flags) { return (flags & O_ACCMODE) == O_RDONLY ? "read" : "open"; }

#define OPEN(name) \
    int name(const char *file, int flags, ...) { \
        REAL(name); va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        AT_CALL(AT_FDCWD, file, opening(flags)); return real(file, flags, mode); }
#define OPENAT(name) \
    int name(int folder, const char *file, int flags, ...) { \
        REAL(name); va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest); \
        AT_CALL(folder, file, opening(flags)); return real(folder, file, flags, mode); }
OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64)

ssize_t write(int file, const void *data, size_t size) { REAL(write); FILE_CALL(file, "write"); return real(file, data, size); }
#define PWRITE(name, offset_t) \
    ssize_t name(int file, const void *data, size_t size, offset_t offset) { REAL(name); FILE_CALL(file, "write"); return real(file, data, size, offset); }
PWRITE(pwrite, off_t) PWRITE(pwrite64, off64_t)
int fsync(int file) { REAL(fsync); FILE_CALL(file, "fsync"); return real(file); }
int fdatasync(int file) { REAL(fdatasync); FILE_CALL(file, "fsync"); return real(file); }
int ftruncate(int file, off_t size) { REAL(ftruncate); FILE_CALL(file, "truncate"); return real(file, size); }
int ftruncate64(int file, off64_t size) { REAL(ftruncate64); FILE_CALL(file, "truncate"); return real(file, size); }
int mkdir(const char *name, mode_t mode) { REAL(mkdir); AT_CALL(AT_FDCWD, name, "mkdir"); return real(name, mode); }
int mkdirat(int folder, const char *name, mode_t mode) { REAL(mkdirat); AT_CALL(folder, name, "mkdir"); return real(folder, name, mode); }
int unlink(const char *name) { REAL(unlink); AT_CALL(AT_FDCWD, name, "unlink"); return real(name); }
int unlinkat(int folder, const char *name, int flags) { REAL(unlinkat); AT_CALL(folder, name, "unlink"); return real(folder, name, flags); }
int rmdir(const char *name) { REAL(rmdir); AT_CALL(AT_FDCWD, name, "unlink"); return real(name); }
int rename(const char *old, const char *new) { REAL(rename); AT_CALL(AT_FDCWD, new, "rename"); return real(old, new); }
int renameat(int from, const char *old, int to, const char *new) { REAL(renameat); AT_CALL(to, new, "rename"); return real(from, old, to, new); }
int renameat2(int from, const char *old, int to, const char *new, unsigned int flags) {
    REAL(renameat2); AT_CALL(to, new, "rename"); return real(from, old, to, new, flags); }
