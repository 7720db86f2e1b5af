/*
 * story.h: everything the journal knows of one event, as the JSON of GET /v1/events/{id}: the
 * event, its objects with their postings, its exceptions, and how far it has come.
 *
 * Ownership: the caller owns the JSON of TG_STORY_FOUND.
 */
#ifndef TG_API_STORY_H
#define TG_API_STORY_H

#include <jansson.h>

#include "journal/journal.h"
#include "master/catalogue.h"

enum tg_story_result {
    TG_STORY_FOUND,
    TG_STORY_ABSENT, /* not in the journal */
    TG_STORY_OTHER,  /* in the journal, but another tenant's */
    TG_STORY_FAILED  /* the journal could not be read, or out of memory; err says */
};

enum tg_story_result tg_story_read(struct tg_reader *r, const struct tg_catalogue *catalogue,
                                   const char *event_id, struct tg_str tenant, json_t **out,
                                   struct tg_error *err);

#endif
