/* What a person may put in the place of a payload. */
#include <jansson.h>
#include <string.h>

#include "core/decimal.h"
#include "dispatch/people.h"

#define POSTING_DATE "posting_date"

/*
 * What only the source may say. Hours, money and who or what it is about were approved there, the
 * quantity is counted in the control totals, and a reversal takes back what was sent: a wrong one
 * is corrected by a new version.
 */
static const char *const fixed_names[] = {"hours",    "amount", "rate",    "quantity",
                                          "currency", "entry",  "version", "worker"};

static bool is_fixed(const char *name)
{
    for (size_t i = 0; i < sizeof(fixed_names) / sizeof(fixed_names[0]); i++) {
        if (strcmp(name, fixed_names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* "1.5" is "1.50"; anything else is itself only. */
static bool is_same(const json_t *was, const json_t *is)
{
    struct tg_decimal a, b;

    if (json_is_string(was) && json_is_string(is) &&
        tg_decimal_parse(tg_str_of(json_string_value(was)), &a) == 0 &&
        tg_decimal_parse(tg_str_of(json_string_value(is)), &b) == 0) {
        return a.micros == b.micros;
    }
    return json_equal(was, is) != 0;
}

static int check_members(const json_t *old, const json_t *payload, struct tg_error *why)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)old, name, value)
    {
        const json_t *is = json_object_get(payload, name);

        if (is == NULL) {
            return tg_error_set(why, "`%.64s` is missing: send the whole payload, as it should be",
                                name);
        }
        if ((is_fixed(name) || json_is_number(value)) && !is_same(value, is)) {
            return tg_error_set(why,
                                "`%.64s` cannot be edited: correct it in the source, which sends a "
                                "new version",
                                name);
        }
    }
    json_object_foreach((json_t *)payload, name, value)
    {
        if (is_fixed(name) && json_object_get(old, name) == NULL) {
            return tg_error_set(why, "`%.64s` cannot be added by an edit", name);
        }
    }
    return 0;
}

/* Members that named the period, and the date that lies in it. */
static int check_period(const json_t *old, const json_t *payload, const char *old_period,
                        const char *period, struct tg_error *why)
{
    const char *date = json_string_value(json_object_get(payload, POSTING_DATE));
    const char *old_date = json_string_value(json_object_get(old, POSTING_DATE));
    const size_t old_len = strlen(old_period);
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)old, name, value)
    {
        const char *was = json_string_value(value);
        const char *is = json_string_value(json_object_get(payload, name));

        if (was != NULL && strcmp(was, old_period) == 0 &&
            (is == NULL || strcmp(is, period) != 0)) {
            return tg_error_set(why, "`%.64s` must be the period of the posting, %.64s", name,
                                period);
        }
    }
    if (old_date != NULL && strncmp(old_date, old_period, old_len) == 0 &&
        old_date[old_len] == '-' &&
        (date == NULL || strncmp(date, period, strlen(period)) != 0 ||
         date[strlen(period)] != '-')) {
        return tg_error_set(why, "`" POSTING_DATE "` must lie in the period of the posting, %.64s",
                            period);
    }
    return 0;
}

static char *checked(const json_t *old, const json_t *payload, const char *old_period,
                     const char *period, struct tg_error *why)
{
    char *text;

    if (!json_is_object(payload)) {
        (void)tg_error_set(why, "the content is not one JSON object");
        return NULL;
    }
    if (json_equal(old, payload) && strcmp(old_period, period) == 0) {
        (void)tg_error_set(why, "the content is what it was: use replay to send it again");
        return NULL;
    }
    if (check_members(old, payload, why) != 0 ||
        check_period(old, payload, old_period, period, why) != 0) {
        return NULL;
    }
    text = json_dumps(payload, JSON_COMPACT | JSON_SORT_KEYS);
    if (text == NULL) {
        (void)tg_error_set(why, "no memory for the content");
    }
    return text;
}

char *tg_people_payload(const char *old, const char *edited, const char *old_period,
                        const char *period, struct tg_error *why)
{
    json_t *before = json_loads(old, 0, NULL);
    json_t *after = json_loads(edited, JSON_REJECT_DUPLICATES, NULL);
    char *text = checked(before, after, old_period, period, why);

    json_decref(before);
    json_decref(after);
    return text;
}

bool tg_people_same_content(struct tg_str stored, const char *content)
{
    json_t *was = json_loadb((const char *)stored.data, stored.len, 0, NULL);
    json_t *is = json_loads(content, JSON_REJECT_DUPLICATES, NULL);
    const bool same = was != NULL && is != NULL && json_equal(was, is) != 0;

    json_decref(was);
    json_decref(is);
    return same;
}
