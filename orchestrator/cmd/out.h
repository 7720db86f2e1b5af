/*
 * out.h: what commands write as JSON. With --json standard output is that JSON alone; the line that
 * says the result goes to standard error (tg_out_last).
 *
 * Ownership: said at each function.
 */
#ifndef TG_CMD_OUT_H
#define TG_CMD_OUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* Prints and takes it; NULL says out of memory. TG_EXIT_OK, or TG_EXIT_FAILED with a complaint of
 * command `name`. */
int tg_out_json(const char *name, json_t *json);
/* The same of one that stays the caller's. */
int tg_out_borrowed(const char *name, const json_t *json);

/* Where the last line goes. */
FILE *tg_out_last(bool json);

#endif
