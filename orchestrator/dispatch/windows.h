/*
 * windows.h: when destinations are not to be used, out of the tenants' calendars, by the
 * destination's index. Made whole for a reload, then swapped in.
 *
 * Ownership: it holds references to the master data it was made of; tg_windows_free ends it.
 */
#ifndef TG_DISPATCH_WINDOWS_H
#define TG_DISPATCH_WINDOWS_H

#include "master/master.h"

struct tg_windows;

/* The windows of one destination. */
struct tg_windows_of {
    uint32_t destination; /* index */
    struct tg_window *windows;
    const char **reasons; /* one each; NULL: none given */
    size_t count;         /* at least 1 */
};

/* masters: one a tenant, in the configuration's order. NULL with err: no memory. */
struct tg_windows *tg_windows_new(const struct tg_config *c, struct tg_master *const *masters,
                                  struct tg_error *err);
void tg_windows_free(struct tg_windows *w); /* NULL is fine */

/* Those that have any, in no order. */
const struct tg_windows_of *tg_windows_list(const struct tg_windows *w, size_t *count);

#endif
