/*
 * files.h: small files of the commands: keys, tokens, key sets.
 *
 * Ownership: what tg_file_read returns is the caller's, to be ended with tg_file_free, which wipes
 * it first: it may be a private key.
 */
#ifndef TG_CMD_FILES_H
#define TG_CMD_FILES_H

#include "common/str.h"

/* The whole file as text with a NUL, at most TG_CMD_FILE_MAX_BYTES; NULL with err. */
char *tg_file_read(const char *path, struct tg_error *err);
void tg_file_free(char *text); /* NULL is fine */
/* The same as a copy that free() ends: for what is no secret. */
char *tg_file_text(const char *path, struct tg_error *err);

/*
 * Writes all or nothing: a temporary file of that mode beside it, fsync, rename (or, unless
 * replace, link, which refuses an existing file). 0 or -1.
 */
int tg_file_write(const char *path, unsigned mode, bool replace, struct tg_str text,
                  struct tg_error *err);

#endif
