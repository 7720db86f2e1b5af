#include "connect/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int tg_lines_add(struct tg_lines *l, const char *name, const char *value)
{
    const size_t size = strlen(name) + strlen(value) + 3;
    char **items = realloc(l->items, (l->count + 1) * sizeof(*items));

    if (items == NULL) {
        return -1;
    }
    l->items = items;
    items[l->count] = malloc(size);
    if (items[l->count] == NULL) {
        return -1;
    }
    /* libcurl takes "Name:" as "do not send", and "Name;" as one without a value */
    (void)snprintf(items[l->count], size, value[0] != '\0' ? "%s: %s" : "%s;", name, value);
    l->count++;
    return 0;
}

bool tg_lines_has(const struct tg_lines *l, const char *name)
{
    const size_t len = strlen(name);

    for (size_t i = 0; i < l->count; i++) {
        if (strncasecmp(l->items[i], name, len) == 0 &&
            (l->items[i][len] == ':' || l->items[i][len] == ';')) {
            return true;
        }
    }
    return false;
}

void tg_lines_clear(struct tg_lines *l)
{
    for (size_t i = 0; i < l->count; i++) {
        explicit_bzero(l->items[i], strlen(l->items[i]));
        free(l->items[i]);
    }
    free(l->items);
    memset(l, 0, sizeof(*l));
}

void tg_message_clear(struct tg_message *m)
{
    free(m->target);
    tg_lines_clear(&m->headers);
    if (m->body != NULL) {
        explicit_bzero(m->body, m->body_len);
    }
    free(m->body);
    memset(m, 0, sizeof(*m));
}

void tg_grant_clear(struct tg_grant *g)
{
    tg_lines_clear(&g->headers);
    memset(g, 0, sizeof(*g));
}
