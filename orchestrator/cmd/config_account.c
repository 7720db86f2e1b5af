#include "cmd/config_account.h"

#include <stdlib.h>
#include <string.h>

struct member {
    struct tg_config_destination *d;
    const struct tg_yaml_node *node; /* of the destination */
};

static int by_account_then_line(const void *left, const void *right)
{
    const struct member *a = left, *b = right;
    int order = strcmp(a->d->account, b->d->account);

    return order != 0 ? order : (a->d->line > b->d->line) - (a->d->line < b->d->line);
}

/* Every destination with an account; *n of them. NULL: no memory. */
static struct member *gather(const struct tg_yaml_node *tenants, struct tg_config *c, size_t *n)
{
    struct member *members = calloc(c->destination_count + 1, sizeof(*members));

    *n = 0;
    for (size_t i = 0; members != NULL && i < c->tenant_count; i++) {
        const struct tg_yaml_node *list = tg_yaml_get(tg_yaml_item(tenants, i), "destinations");

        for (size_t k = 0; k < c->tenants[i].destination_count; k++) {
            if (c->tenants[i].destinations[k].account != NULL) {
                members[*n].d = &c->tenants[i].destinations[k];
                members[(*n)++].node = tg_yaml_value(list, k);
            }
        }
    }
    return members;
}

static bool are_equal(const struct tg_config_destination *a, const struct tg_config_destination *b,
                      const char *key)
{
    return strcmp(key, "rate") == 0 ? a->rate.emission_us == b->rate.emission_us
                                    : a->concurrency == b->concurrency;
}

/* *stated: the first of the group that has the key; NULL: none. 0, or -1: another one differs. */
static int find_stated(const struct tg_yaml *doc, const struct member *group, size_t n,
                       const char *key, const struct tg_config_destination **stated,
                       struct tg_error *err)
{
    *stated = NULL;
    for (size_t i = 0; i < n; i++) {
        const struct tg_yaml_node *value = tg_yaml_get(group[i].node, key);

        if (value != NULL && *stated == NULL) {
            *stated = group[i].d;
        } else if (value != NULL && !are_equal(*stated, group[i].d, key)) {
            return tg_yaml_error(doc, value, err,
                                 "`%s` is not that of destination `%s` (line %u), which has the "
                                 "same account `%s`; accepted: one `%s` for an account, said once "
                                 "or everywhere alike",
                                 key, (*stated)->id, (*stated)->line, group[i].d->account, key);
        }
    }
    return 0;
}

static int share(const struct tg_yaml *doc, const struct member *group, size_t n, uint32_t number,
                 struct tg_error *err)
{
    const struct tg_config_destination *concurrency, *rate;

    if (find_stated(doc, group, n, "concurrency", &concurrency, err) != 0 ||
        find_stated(doc, group, n, "rate", &rate, err) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        struct tg_config_destination *d = group[i].d;

        d->account_number = number;
        if (concurrency != NULL) {
            d->concurrency = concurrency->concurrency;
        }
        if (rate != NULL) {
            d->rate = rate->rate;
            d->rate.capacity = d->concurrency;
        }
    }
    return 0;
}

int tg_config_accounts(const struct tg_yaml *doc, const struct tg_yaml_node *tenants,
                       struct tg_config *c, struct tg_error *err)
{
    size_t n;
    struct member *members = gather(tenants, c, &n);
    uint32_t number = 0;
    int rc = 0;

    if (members == NULL) {
        return tg_error_set(err, "%s: out of memory", c->file);
    }
    qsort(members, n, sizeof(*members), by_account_then_line);
    for (size_t first = 0, end; rc == 0 && first < n; first = end) {
        end = first + 1;
        while (end < n && strcmp(members[end].d->account, members[first].d->account) == 0) {
            end++;
        }
        rc = share(doc, members + first, end - first, ++number, err);
    }
    free(members);
    return rc;
}
