/* What a person may put in the place of a payload. */
#include <jansson.h>
#include <string.h>

#include "core/decimal.h"
#include "dispatch/people.h"

#define HOURS "hours"
#define POSTING_DATE "posting_date"

static int64_t magnitude(int64_t micros)
{
    return micros < 0 ? -micros : micros;
}

/* The quantity is the source's: it is counted in the control totals, and a reversal negates it. */
static int check_hours(const json_t *payload, int64_t quantity_micros, struct tg_error *why)
{
    const char *text = json_string_value(json_object_get(payload, HOURS));
    struct tg_decimal hours;

    if (json_object_get(payload, HOURS) == NULL) {
        return 0;
    }
    if (text == NULL || tg_decimal_parse(tg_str_of(text), &hours) != 0 ||
        magnitude(hours.micros) != magnitude(quantity_micros)) {
        return tg_error_set(why, "`hours` cannot be edited: correct them in the source, which "
                                 "sends a new version");
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
                     const char *period, int64_t quantity_micros, struct tg_error *why)
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
    if (check_hours(payload, quantity_micros, why) != 0 ||
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
                        const char *period, int64_t quantity_micros, struct tg_error *why)
{
    json_t *before = json_loads(old, 0, NULL);
    json_t *after = json_loads(edited, JSON_REJECT_DUPLICATES, NULL);
    char *text = checked(before, after, old_period, period, quantity_micros, why);

    json_decref(before);
    json_decref(after);
    return text;
}
