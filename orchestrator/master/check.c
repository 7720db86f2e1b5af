/*
 * check.c: is a master data file what conf/schemas/master.json says? One table of fields; the walk
 * follows the table, so its depth is the table's (four), whatever the file holds.
 */
#include <stdio.h>
#include <string.h>

#include "common/codec.h"
#include "core/decimal.h"
#include "master/snapshot.h"

enum kind { ID, TEXT, BOOL, DATE, DATE_OR_NULL, AMOUNT, CURRENCY, STATE, ALIASES, LIST };

struct field {
    const char *name;
    enum kind kind;
    bool required;
    const struct field *items; /* LIST: fields of each object in it */
};

#define END                                                                                        \
    {                                                                                              \
        NULL, ID, false, NULL                                                                      \
    }

static const struct field dated[] = {
    {"from", DATE, true, NULL}, {"to", DATE_OR_NULL, false, NULL}, END};
static const struct field states[] = {{"from", DATE, true, NULL},
                                      {"to", DATE_OR_NULL, false, NULL},
                                      {"state", STATE, true, NULL},
                                      END};
static const struct field tasks[] = {{"id", ID, true, NULL},
                                     {"name", TEXT, true, NULL},
                                     {"states", LIST, true, states},
                                     {"billable", BOOL, false, NULL},
                                     END};
static const struct field workers[] = {{"id", ID, true, NULL},
                                       {"name", TEXT, true, NULL},
                                       {"legal_entity", ID, true, NULL},
                                       {"cost_center", ID, true, NULL},
                                       {"labor_category", ID, true, NULL},
                                       {"pay_code", ID, true, NULL},
                                       {"employment", LIST, true, dated},
                                       {"aliases", ALIASES, false, NULL},
                                       END};
static const struct field projects[] = {{"id", ID, true, NULL},
                                        {"name", TEXT, true, NULL},
                                        {"client", ID, false, NULL},
                                        {"legal_entity", ID, true, NULL},
                                        {"states", LIST, true, states},
                                        {"tasks", LIST, true, tasks},
                                        {"aliases", ALIASES, false, NULL},
                                        END};
static const struct field assignments[] = {{"worker", ID, true, NULL},
                                           {"project", ID, true, NULL},
                                           {"from", DATE, true, NULL},
                                           {"to", DATE_OR_NULL, false, NULL},
                                           END};
static const struct field labor_categories[] = {{"id", ID, true, NULL},
                                                {"name", TEXT, true, NULL},
                                                {"billable", BOOL, true, NULL},
                                                {"cost_rate", AMOUNT, true, NULL},
                                                {"currency", CURRENCY, true, NULL},
                                                {"aliases", ALIASES, false, NULL},
                                                END};
static const struct field cost_centers[] = {{"id", ID, true, NULL},
                                            {"name", TEXT, false, NULL},
                                            {"legal_entity", ID, true, NULL},
                                            {"aliases", ALIASES, false, NULL},
                                            END};
static const struct field legal_entities[] = {{"id", ID, true, NULL},
                                              {"name", TEXT, false, NULL},
                                              {"currency", CURRENCY, true, NULL},
                                              {"aliases", ALIASES, false, NULL},
                                              END};
static const struct field top[] = {{"version", ID, true, NULL},
                                   {"workers", LIST, true, workers},
                                   {"projects", LIST, true, projects},
                                   {"assignments", LIST, true, assignments},
                                   {"labor_categories", LIST, true, labor_categories},
                                   {"cost_centers", LIST, true, cost_centers},
                                   {"legal_entities", LIST, true, legal_entities},
                                   END};

struct place {
    char pointer[TG_MASTER_POINTER_MAX_BYTES];
};

struct check {
    const char *path;
    struct tg_error *err;
};

/* parent "/workers", key "3" -> "/workers/3"; cut when too long (only for messages). */
static struct place below(const struct place *parent, const char *key)
{
    struct place out = {""};

    if (snprintf(out.pointer, sizeof(out.pointer), "%s/%.100s", parent->pointer, key) < 0) {
        out.pointer[0] = '\0';
    }
    return out;
}

static int bad(const struct check *c, const struct place *at, const char *message)
{
    return tg_error_set(c->err, "%s: %s: %s", c->path, at->pointer, message);
}

static struct tg_str text_of(const json_t *v)
{
    struct tg_str s = {(const unsigned char *)json_string_value(v), json_string_length(v)};

    return s;
}

static bool is_currency(struct tg_str s)
{
    if (s.len != 3) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < 'A' || s.data[i] > 'Z') {
            return false;
        }
    }
    return true;
}

static bool is_amount(struct tg_str s)
{
    struct tg_decimal d;

    return tg_decimal_parse(s, &d) == 0 && d.micros >= 0;
}

static int check_aliases(const struct check *c, const struct place *at, const json_t *v)
{
    const char *source;
    json_t *alias;

    if (!json_is_object(v)) {
        return bad(c, at, "must be an object of source name to identifier");
    }
    json_object_foreach((json_t *)v, source, alias)
    {
        struct place place = below(at, source);

        if (!tg_str_is_name(tg_str_of(source), TG_SOURCE_NAME_MAX_BYTES)) {
            return bad(c, &place, "a source name holds A-Z, a-z, 0-9, `.`, `_` and `-` only");
        }
        if (!json_is_string(alias) ||
            !tg_str_is_printable(text_of(alias), TG_CE_ATTRIBUTE_MAX_BYTES)) {
            return bad(c, &place, "must be 1 to 255 printable characters");
        }
    }
    return 0;
}

static int check_scalar(const struct check *c, const struct place *at, enum kind kind,
                        const json_t *v)
{
    struct tg_str s = json_is_string(v) ? text_of(v) : tg_str_of(NULL);
    int32_t day;

    switch (kind) {
    case ID:
        return tg_str_is_printable(s, TG_CE_ATTRIBUTE_MAX_BYTES)
                   ? 0
                   : bad(c, at, "must be 1 to 255 printable characters");
    case TEXT:
        return s.len > 0 && s.len <= TG_CE_ATTRIBUTE_MAX_BYTES
                   ? 0
                   : bad(c, at, "must be a text of 1 to 255 bytes");
    case BOOL:
        return json_is_boolean(v) ? 0 : bad(c, at, "must be true or false");
    case DATE_OR_NULL:
        if (json_is_null(v)) {
            return 0;
        }
        /* fall through */
    case DATE:
        return tg_date_parse(s, &day) == 0 ? 0
                                           : bad(c, at, "must be a calendar day, \"YYYY-MM-DD\"");
    case AMOUNT:
        return is_amount(s) ? 0 : bad(c, at, "must be a decimal string like \"85.00\"");
    case CURRENCY:
        return is_currency(s) ? 0 : bad(c, at, "must be a currency code like \"EUR\"");
    case STATE:
        return tg_str_equal_c(s, "open") || tg_str_equal_c(s, "closed")
                   ? 0
                   : bad(c, at, "must be \"open\" or \"closed\"");
    case ALIASES:
        return check_aliases(c, at, v);
    case LIST:
        break;
    }
    return bad(c, at, "must be a list");
}

static int check_object(const struct check *c, const struct place *at, const json_t *object,
                        const struct field *fields);

static int check_list(const struct check *c, const struct place *at, const json_t *v,
                      const struct field *items)
{
    size_t i;
    json_t *item;

    if (!json_is_array(v)) {
        return bad(c, at, "must be a list");
    }
    json_array_foreach((json_t *)v, i, item)
    {
        char number[24] = "";
        struct place place;

        if (snprintf(number, sizeof(number), "%zu", i) < 0) {
            return bad(c, at, "list too long");
        }
        place = below(at, number);
        if (check_object(c, &place, item, items) != 0) {
            return -1;
        }
    }
    return 0;
}

static const struct field *field_of(const struct field *fields, const char *name)
{
    while (fields->name != NULL && strcmp(fields->name, name) != 0) {
        fields++;
    }
    return fields->name != NULL ? fields : NULL;
}

static int check_span(const struct check *c, const struct place *at, const json_t *object)
{
    const json_t *from = json_object_get(object, "from"), *to = json_object_get(object, "to");

    /* both are "YYYY-MM-DD" by now, so text order is day order */
    if (json_is_string(from) && json_is_string(to) &&
        strcmp(json_string_value(from), json_string_value(to)) > 0) {
        return bad(c, at, "`from` is after `to`");
    }
    return 0;
}

static int check_object(const struct check *c, const struct place *at, const json_t *object,
                        const struct field *fields)
{
    const char *key;
    json_t *v;

    if (!json_is_object(object)) {
        return bad(c, at, "must be an object");
    }
    json_object_foreach((json_t *)object, key, v)
    {
        const struct field *f = field_of(fields, key);
        struct place place = below(at, key);
        int rc;

        if (f == NULL) {
            return bad(c, &place, "unknown key; see conf/schemas/master.json");
        }
        rc = f->kind == LIST ? check_list(c, &place, v, f->items)
                             : check_scalar(c, &place, f->kind, v);
        if (rc != 0) {
            return -1;
        }
    }
    for (const struct field *f = fields; f->name != NULL; f++) {
        if (f->required && json_object_get(object, f->name) == NULL) {
            return tg_error_set(c->err, "%s: %s: `%s` is missing", c->path,
                                at->pointer[0] != '\0' ? at->pointer : "/", f->name);
        }
    }
    return check_span(c, at, object);
}

int tg_master_check_file(const char *path, const json_t *file, struct tg_error *err)
{
    struct check c = {path, err};
    struct place root = {""};

    return check_object(&c, &root, file, top);
}
