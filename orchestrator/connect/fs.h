/*
 * fs.h: the few file operations whose failures decide what the file connector may claim.
 *
 * Ownership: descriptors are the caller's. Functions return 0, or -1 with errno.
 */
#ifndef TG_CONNECT_FS_H
#define TG_CONNECT_FS_H

#include <sys/types.h>

#include "common/str.h"

/* The calls that tests replace to show what a full or failing disk does. Never changed at run time.
 */
struct tg_fs_calls {
    ssize_t (*write)(int fd, const void *data, size_t len);
    int (*fsync)(int fd);
    int (*ftruncate)(int fd, off_t length);
};
extern struct tg_fs_calls tg_fs_calls;

/* All bytes, over short writes and EINTR. On -1 some of them may be there. */
int tg_fs_write_all(int fd, struct tg_str data);

/* NAME.tmp, fsync, rename over NAME, fsync of the directory. */
int tg_fs_replace(int dirfd, const char *name, struct tg_str data);

/* Lines of a file from its beginning, by pread: the file offset is left alone. */
struct tg_lines {
    int fd;
    off_t next;      /* where to read on */
    off_t line_at;   /* where the line just given starts */
    size_t from, to; /* unread part of buf */
    bool at_end;
    char buf[65536];
};

void tg_lines_start(struct tg_lines *r, int fd);

/*
 * 1: *line is the next one without its \n; *whole is false when the file ends before the \n, or
 * when it is longer than the buffer (the rest comes as further lines). 0: end. -1: errno.
 */
int tg_lines_next(struct tg_lines *r, struct tg_str *line, bool *whole);

#endif
