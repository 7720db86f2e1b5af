#include "dispatch/windows.h"

#include <stdlib.h>
#include <string.h>

struct tg_windows {
    struct tg_windows_of *list;
    size_t count;
    struct tg_master **masters; /* references: reasons are theirs */
    size_t master_count;
};

static bool names(const struct tg_maintenance *m, const char *destination)
{
    for (size_t i = 0; i < m->destination_count; i++) {
        if (strcmp(m->destinations[i], destination) == 0) {
            return true;
        }
    }
    return false;
}

/* The windows of one destination; none: nothing is added. 0, or -1: no memory. */
static int add(struct tg_windows *w, const struct tg_master *master,
               const struct tg_config_destination *d)
{
    size_t total, n = 0;
    const struct tg_maintenance *all = tg_master_maintenance(master, &total);
    struct tg_windows_of *of = &w->list[w->count];

    for (size_t i = 0; i < total; i++) {
        n += names(&all[i], d->name) ? 1 : 0;
    }
    if (n == 0) {
        return 0;
    }
    w->count++;
    of->destination = d->index;
    of->windows = calloc(n, sizeof(*of->windows));
    of->reasons = calloc(n, sizeof(*of->reasons));
    if (of->windows == NULL || of->reasons == NULL) {
        return -1;
    }
    for (size_t i = 0; i < total; i++) {
        if (names(&all[i], d->name)) {
            of->windows[of->count] = all[i].window;
            of->reasons[of->count++] = all[i].reason;
        }
    }
    return 0;
}

static int fill(struct tg_windows *w, const struct tg_config *c, struct tg_master *const *masters)
{
    w->list = calloc(c->destination_count + 1, sizeof(*w->list));
    w->masters = calloc(c->tenant_count + 1, sizeof(struct tg_master *));
    if (w->list == NULL || w->masters == NULL) {
        return -1;
    }
    for (size_t i = 0; i < c->tenant_count; i++) {
        w->masters[i] = tg_master_ref(masters[i]);
        w->master_count = i + 1;
        for (size_t k = 0; k < c->tenants[i].destination_count; k++) {
            if (add(w, masters[i], &c->tenants[i].destinations[k]) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

struct tg_windows *tg_windows_new(const struct tg_config *c, struct tg_master *const *masters,
                                  struct tg_error *err)
{
    struct tg_windows *w = calloc(1, sizeof(*w));

    if (w == NULL || fill(w, c, masters) != 0) {
        tg_windows_free(w);
        (void)tg_error_set(err, "no memory for maintenance windows");
        return NULL;
    }
    return w;
}

void tg_windows_free(struct tg_windows *w)
{
    if (w == NULL) {
        return;
    }
    for (size_t i = 0; i < w->count; i++) {
        free(w->list[i].windows);
        free(w->list[i].reasons);
    }
    free(w->list);
    for (size_t i = 0; i < w->master_count; i++) {
        tg_master_unref(w->masters[i]);
    }
    free(w->masters);
    free(w);
}

const struct tg_windows_of *tg_windows_list(const struct tg_windows *w, size_t *count)
{
    *count = w->count;
    return w->list;
}
