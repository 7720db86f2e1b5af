#include "master/master.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/codec.h"
#include "common/digest.h"
#include "master/snapshot.h"

#define SEPARATOR '\x1f' /* never in a printable identifier */

struct list_of {
    const char *list, *kind;
};

static const struct list_of lists[] = {{"workers", "worker"},
                                       {"projects", "project"},
                                       {"labor_categories", "labor_category"},
                                       {"cost_centers", "cost_center"},
                                       {"legal_entities", "legal_entity"}};

static bool add_part(struct tg_index_key *k, struct tg_str part)
{
    if (part.len >= sizeof(k->text) - k->len) {
        return false;
    }
    if (part.len > 0) {
        memcpy(k->text + k->len, part.data, part.len);
    }
    k->len += part.len;
    k->text[k->len++] = SEPARATOR;
    return true;
}

bool tg_index_key_make(struct tg_index_key *k, struct tg_str kind, struct tg_str source,
                       struct tg_str key)
{
    k->len = 0;
    return add_part(k, kind) && add_part(k, source) && add_part(k, key);
}

static struct tg_str text_of(const json_t *v)
{
    struct tg_str s = {(const unsigned char *)json_string_value(v), json_string_length(v)};

    return s;
}

static int read_file(const char *path, char **out, size_t *out_len, struct tg_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    size_t have = 0;
    char *buf;

    if (fd < 0) {
        return tg_error_set(err, "%s: cannot be opened: %m", path);
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > TG_MASTER_FILE_MAX_BYTES) {
        close(fd);
        return tg_error_set(err, "%s: not a regular file of at most %d bytes", path,
                            TG_MASTER_FILE_MAX_BYTES);
    }
    buf = malloc((size_t)st.st_size + 1);
    if (buf == NULL) {
        close(fd);
        return tg_error_set(err, "%s: out of memory", path);
    }
    while (have < (size_t)st.st_size) {
        ssize_t n = read(fd, buf + have, (size_t)st.st_size - have);

        if (n <= 0) {
            close(fd);
            free(buf);
            return tg_error_set(err, "%s: cannot be read, or changed meanwhile", path);
        }
        have += (size_t)n;
    }
    close(fd);
    *out = buf;
    *out_len = have;
    return 0;
}

static int index_row(struct tg_master_base *m, const struct list_of *list, size_t i, json_t *row,
                     struct tg_str source, struct tg_str key, struct tg_error *err)
{
    struct tg_index_key k;

    if (!tg_index_key_make(&k, tg_str_of(list->kind), source, key)) {
        return tg_error_set(err, "/%s/%zu: identifier too long", list->list, i);
    }
    if (json_object_getn(m->index, k.text, k.len) != NULL) {
        return tg_error_set(err, "/%s/%zu: `%.*s` is already the %s of another %s", list->list, i,
                            (int)key.len, (const char *)key.data, source.len == 0 ? "id" : "alias",
                            list->kind);
    }
    if (json_object_setn_nocheck(m->index, k.text, k.len, row) != 0) {
        return tg_error_set(err, "out of memory");
    }
    return 0;
}

static int check_tasks(const json_t *row, const char *list, size_t row_number, struct tg_error *err)
{
    const json_t *tasks = json_object_get(row, "tasks");
    json_t *seen = json_object(), *task;
    size_t i;
    int rc = seen != NULL ? 0 : tg_error_set(err, "out of memory");

    json_array_foreach((json_t *)tasks, i, task)
    {
        const char *id = json_string_value(json_object_get(task, "id"));

        if (rc == 0 && json_object_get(seen, id) != NULL) {
            rc = tg_error_set(err, "/%s/%zu/tasks/%zu: `%s` is already the id of another task",
                              list, row_number, i, id);
        }
        if (rc == 0 && json_object_set_new(seen, id, json_true()) != 0) {
            rc = tg_error_set(err, "out of memory");
        }
    }
    json_decref(seen);
    return rc;
}

static int index_list(struct tg_master_base *m, const struct list_of *list, struct tg_error *err)
{
    json_t *rows = json_object_get(m->file, list->list), *row, *alias;
    const char *source;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        if (index_row(m, list, i, row, tg_str_of(NULL), text_of(json_object_get(row, "id")), err) !=
                0 ||
            check_tasks(row, list->list, i, err) != 0) {
            return -1;
        }
        json_object_foreach(json_object_get(row, "aliases"), source, alias)
        {
            if (index_row(m, list, i, row, tg_str_of(source), text_of(alias), err) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

static int index_assignments(struct tg_master_base *m, struct tg_error *err)
{
    json_t *row;
    size_t i;

    json_array_foreach(json_object_get(m->file, "assignments"), i, row)
    {
        struct tg_index_key k;
        json_t *bucket;

        if (!tg_index_key_make(&k, tg_str_of("assignment"), text_of(json_object_get(row, "worker")),
                               text_of(json_object_get(row, "project")))) {
            return tg_error_set(err, "/assignments/%zu: identifier too long", i);
        }
        bucket = json_object_getn(m->index, k.text, k.len);
        if (bucket == NULL) {
            bucket = json_array();
            if (bucket == NULL ||
                json_object_setn_new_nocheck(m->index, k.text, k.len, bucket) != 0) {
                return tg_error_set(err, "out of memory");
            }
        }
        if (json_array_append(bucket, row) != 0) {
            return tg_error_set(err, "out of memory");
        }
    }
    return 0;
}

static int build_index(struct tg_master_base *m, const char *path, struct tg_error *err)
{
    struct tg_error inner = {""};
    int rc = 0;

    m->index = json_object();
    if (m->index == NULL) {
        return tg_error_set(err, "%s: out of memory", path);
    }
    for (size_t i = 0; rc == 0 && i < sizeof(lists) / sizeof(lists[0]); i++) {
        rc = index_list(m, &lists[i], &inner);
    }
    if (rc == 0) {
        rc = index_assignments(m, &inner);
    }
    return rc == 0 ? 0 : tg_error_set(err, "%s: %.*s", path, TG_ERROR_MAX_BYTES / 2, inner.text);
}

/* All files decide what rules see, so all are in the version. */
static int make_version(struct tg_master_base *m, struct tg_str file, const char *path,
                        struct tg_error *err)
{
    const json_t *others[] = {m->calendar.json, m->maps, m->owners};
    char *texts[sizeof(others) / sizeof(others[0])] = {NULL};
    const char *name = json_string_value(json_object_get(m->file, "version"));
    unsigned char digest[TG_SHA256_BYTES];
    struct tg_str parts[1 + sizeof(others) / sizeof(others[0])] = {file};
    char hex[8];
    int rc = 0;

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        texts[i] = json_dumps(others[i], JSON_COMPACT | JSON_SORT_KEYS);
        parts[1 + i] = tg_str_of(texts[i]);
        rc = texts[i] != NULL ? rc : -1;
    }
    rc = rc == 0 ? tg_sha256v(parts, sizeof(parts) / sizeof(parts[0]), digest) : -1;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        free(texts[i]);
    }
    if (rc != 0) {
        return tg_error_set(err, "%s: out of memory", path);
    }
    tg_hex_encode(digest, sizeof(hex) / 2, hex);
    if (snprintf(m->version, sizeof(m->version), "%.64s+%.8s", name, hex) < 0) {
        return tg_error_set(err, "%s: version cannot be written", path);
    }
    return 0;
}

static int load_into(struct tg_master_base *m, const struct tg_master_files *files,
                     struct tg_error *err)
{
    json_error_t problem;
    struct tg_str text;
    size_t len = 0;
    char *buf = NULL;
    int rc = -1;

    if (tg_calendar_load(files->calendar, &m->calendar, err) != 0 ||
        tg_maps_load(files->maps, files->map_count, &m->maps, err) != 0 ||
        tg_ownership_load(files, &m->owners, err) != 0 ||
        read_file(files->master, &buf, &len, err) != 0) {
        return -1;
    }
    text = (struct tg_str){(const unsigned char *)buf, len};
    m->file = json_loadb(buf, len, JSON_REJECT_DUPLICATES, &problem);
    if (m->file == NULL) {
        tg_error_set(err, "%s:%d:%d: %s", files->master, problem.line, problem.column,
                     problem.text);
    } else if (tg_master_check_file(files->master, m->file, err) == 0 &&
               build_index(m, files->master, err) == 0) {
        rc = make_version(m, text, files->master, err);
    }
    free(buf);
    return rc;
}

/* ---- bases and snapshots ---- */

static void base_unref(struct tg_master_base *b)
{
    /* acq_rel: what other holders read happens before the free */
    if (b == NULL || atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    json_decref(b->index);
    json_decref(b->file);
    json_decref(b->maps);
    json_decref(b->owners);
    tg_calendar_clear(&b->calendar);
    free(b);
}

/* Takes the caller's reference of the base, also when it fails. */
static struct tg_master *snapshot_of(struct tg_master_base *b)
{
    struct tg_master *m = calloc(1, sizeof(*m));

    if (m == NULL) {
        base_unref(b);
        return NULL;
    }
    atomic_init(&m->references, 1);
    memcpy(m->version, b->version, sizeof(m->version));
    m->base = b;
    return m;
}

struct tg_master *tg_master_bare(const struct tg_master *m)
{
    atomic_fetch_add_explicit(&m->base->references, 1, memory_order_relaxed);
    return snapshot_of(m->base);
}

struct tg_master *tg_master_load(const struct tg_master_files *files, struct tg_error *err)
{
    struct tg_master_base *b = calloc(1, sizeof(*b));
    struct tg_master *m;

    if (b == NULL) {
        tg_error_set(err, "%s: out of memory", files->master);
        return NULL;
    }
    atomic_init(&b->references, 1);
    if (load_into(b, files, err) != 0) {
        base_unref(b);
        return NULL;
    }
    m = snapshot_of(b);
    if (m == NULL) {
        tg_error_set(err, "%s: out of memory", files->master);
    }
    return m;
}

struct tg_master *tg_master_load_tenant(const struct tg_config_tenant *t, struct tg_error *err)
{
    struct tg_master_map_file maps[TG_SOURCES_PER_TENANT_MAX];
    const char *sources[TG_SOURCES_PER_TENANT_MAX];
    struct tg_master_files files = {.master = t->master,
                                    .calendar = t->calendar,
                                    .ownership = t->ownership,
                                    .maps = maps,
                                    .sources = sources};
    struct tg_master *m;

    for (size_t i = 0; i < t->source_count && i < TG_SOURCES_PER_TENANT_MAX; i++) {
        const struct tg_config_source *s = &t->sources[i];

        sources[files.source_count++] = s->name;
        if (s->project_map != NULL) {
            maps[files.map_count++] = (struct tg_master_map_file){s->name, s->project_map};
        }
    }
    m = tg_master_load(&files, err);
    if (m != NULL && tg_maintenance_check(&m->base->calendar.maintenance, t, err) != 0) {
        tg_master_unref(m);
        return NULL;
    }
    return m;
}

const struct tg_maintenance *tg_master_maintenance(const struct tg_master *m, size_t *count)
{
    *count = m->base->calendar.maintenance.count;
    return m->base->calendar.maintenance.items;
}

struct tg_master *tg_master_ref(struct tg_master *m)
{
    atomic_fetch_add_explicit(&m->references, 1, memory_order_relaxed);
    return m;
}

void tg_master_unref(struct tg_master *m)
{
    if (m == NULL || atomic_fetch_sub_explicit(&m->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    json_decref(m->overlay);
    base_unref(m->base);
    free(m);
}

const char *tg_master_version(const struct tg_master *m)
{
    return m->version;
}

/* ---- look-ups ---- */

/* Before the first day: as on the first. */
static const json_t *row_on(const json_t *spans, int32_t day)
{
    const json_t *row = json_object_get(json_array_get(spans, 0), "row");
    json_t *span;
    size_t i;

    json_array_foreach((json_t *)spans, i, span)
    {
        if (json_integer_value(json_object_get(span, "from")) > day) {
            break;
        }
        row = json_object_get(span, "row");
    }
    return row;
}

const json_t *tg_master_find_on(const struct tg_master *m, struct tg_str kind, struct tg_str key,
                                struct tg_str source, int32_t day)
{
    struct tg_index_key k;
    const json_t *spans;

    if (tg_str_equal_c(kind, "assignment") || !tg_index_key_make(&k, kind, source, key)) {
        return NULL;
    }
    spans = json_object_getn(m->overlay, k.text, k.len);
    if (spans != NULL) {
        return row_on(spans, day); /* null has no rows */
    }
    return json_object_getn(m->base->index, k.text, k.len);
}

const json_t *tg_master_find(const struct tg_master *m, struct tg_str kind, struct tg_str key,
                             struct tg_str source)
{
    return tg_master_find_on(m, kind, key, source, INT32_MAX);
}

/* Missing or broken dates hold no day; a missing or null `to` is an open end. */
static bool holds(const json_t *span, int32_t day, int32_t *from_out)
{
    const json_t *to = json_object_get(span, "to");
    int32_t from, last;

    if (tg_date_parse(text_of(json_object_get(span, "from")), &from) != 0 || from > day) {
        return false;
    }
    *from_out = from;
    if (to == NULL || json_is_null(to)) {
        return true;
    }
    return tg_date_parse(text_of(to), &last) == 0 && last >= day;
}

const json_t *tg_master_assignment(const struct tg_master *m, struct tg_str worker,
                                   struct tg_str project, int32_t day)
{
    struct tg_index_key k;
    const json_t *bucket;
    json_t *row;
    size_t i;
    int32_t from;

    if (!tg_index_key_make(&k, tg_str_of("assignment"), worker, project)) {
        return NULL;
    }
    bucket = json_object_getn(m->base->index, k.text, k.len);
    json_array_foreach((json_t *)bucket, i, row)
    {
        if (holds(row, day, &from)) {
            return row;
        }
    }
    return NULL;
}

/* The entity's own span wins over one for every entity. */
static const json_t *span_of(const struct tg_spans *spans, struct tg_str legal_entity, int32_t day)
{
    const json_t *general = NULL;

    for (size_t i = 0; i < spans->count && spans->items[i].from <= day; i++) {
        const struct tg_span *s = &spans->items[i];

        if (s->to < day) {
            continue;
        }
        if (s->legal_entity == NULL) {
            general = s->json;
        } else if (tg_str_equal_c(legal_entity, s->legal_entity)) {
            return s->json;
        }
    }
    return general;
}

const json_t *tg_master_period(const struct tg_master *m, struct tg_str legal_entity, int32_t day)
{
    return span_of(&m->base->calendar.periods, legal_entity, day);
}

const json_t *tg_master_pay_cycle(const struct tg_master *m, struct tg_str legal_entity,
                                  int32_t day)
{
    return span_of(&m->base->calendar.pay_cycles, legal_entity, day);
}

const char *tg_master_closed_periods(const struct tg_master *m)
{
    return m->base->calendar.closed_periods;
}

const json_t *tg_master_next_open_period(const struct tg_master *m, struct tg_str legal_entity,
                                         int32_t day)
{
    const struct tg_spans *spans = &m->base->calendar.periods;

    for (size_t i = 0; i < spans->count; i++) {
        const struct tg_span *s = &spans->items[i];

        /* The one that holds its first day, for this entity: a general one may be overruled. */
        if (s->from > day && span_of(spans, legal_entity, s->from) == s->json &&
            tg_str_equal_c(text_of(json_object_get(s->json, "state")), "open")) {
            return s->json;
        }
    }
    return NULL;
}

static const struct tg_span *span_named(const struct tg_spans *spans, const char *id)
{
    for (size_t i = 0; i < spans->count; i++) {
        if (tg_str_equal_c(text_of(json_object_get(spans->items[i].json, "id")), id)) {
            return &spans->items[i];
        }
    }
    return NULL;
}

static bool same_entity(const struct tg_span *a, const struct tg_span *b)
{
    return a->legal_entity == NULL || b->legal_entity == NULL ||
           strcmp(a->legal_entity, b->legal_entity) == 0;
}

bool tg_master_may_move(const struct tg_master *m, const char *from, const char *to,
                        struct tg_error *why)
{
    const struct tg_calendar *c = &m->base->calendar;
    const bool is_cycle = span_named(&c->pay_cycles, from) != NULL;
    const struct tg_spans *spans = is_cycle ? &c->pay_cycles : &c->periods;
    const struct tg_span *old = span_named(spans, from);
    const struct tg_span *new = span_named(spans, to);

    if (new == NULL || (old != NULL && !same_entity(old, new))) {
        (void)tg_error_set(why, "the calendar has no %s `%.64s` for this posting",
                           is_cycle ? "pay cycle" : "period", to);
        return false;
    }
    if (!is_cycle && !tg_str_equal_c(text_of(json_object_get(new->json, "state")), "open")) {
        (void)tg_error_set(why, "period `%.64s` is closed: name an open one", to);
        return false;
    }
    return true;
}

bool tg_master_in_force(const json_t *dated_list, int32_t day, const char *state_or_null)
{
    const json_t *latest = NULL;
    int32_t latest_from = 0, from;
    json_t *span;
    size_t i;

    json_array_foreach((json_t *)dated_list, i, span)
    {
        if (holds(span, day, &from) && (latest == NULL || from >= latest_from)) {
            latest = span;
            latest_from = from;
        }
    }
    if (latest == NULL || state_or_null == NULL) {
        return latest != NULL;
    }
    return tg_str_equal_c(text_of(json_object_get(latest, "state")), state_or_null);
}
