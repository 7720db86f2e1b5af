/*
 * directory.h: the directory of a file destination, by its configured path.
 *
 * A descriptor stays with a directory that is moved; people look at the path. So the path is made,
 * opened and locked here, and compared with the descriptor before each batch.
 *
 * Ownership: the descriptor is the caller's; closing it gives the lock back.
 */
#ifndef TG_CONNECT_DIRECTORY_H
#define TG_CONNECT_DIRECTORY_H

#include "common/str.h"

/* Makes it and those above it when missing, opens it, locks it against a second user. The
 * descriptor, or -1 with err, which names the path. */
int tg_directory_open(const char *path, struct tg_error *err);

/* 0: the path still leads to this descriptor's directory. -1 with err: it is gone, or another. */
int tg_directory_check(const char *path, int fd, struct tg_error *err);

#endif
