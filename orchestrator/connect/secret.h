/*
 * secret.h: a secret in a file: its first line, read again when the file changes, so that it can be
 * rotated without a restart. While the new file cannot be read (or is empty: it is just being
 * written) the old secret goes on being used.
 *
 * Ownership: tg_secret owns and wipes the text; a text it gave is valid until the next call.
 */
#ifndef TG_CONNECT_SECRET_H
#define TG_CONNECT_SECRET_H

#include "common/str.h"

struct tg_secret;

/* Nothing is read yet. NULL: no memory. */
struct tg_secret *tg_secret_new(const char *path);
void tg_secret_free(struct tg_secret *s); /* NULL is fine */

/* 1 to TG_SECRET_FILE_MAX_BYTES bytes, without NUL or line end. NULL with err, which names the
 * file.
 */
const char *tg_secret_text(struct tg_secret *s, struct tg_error *err);

/* What was read last, without looking; NULL: nothing. */
const char *tg_secret_peek(const struct tg_secret *s);

/* Rises whenever tg_secret_text gave another text than before. */
unsigned tg_secret_version(const struct tg_secret *s);

#endif
