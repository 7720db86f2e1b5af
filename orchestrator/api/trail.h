/*
 * trail.h: the whole story of one entry, from the webhook to the document at the destination, as
 * one JSON: {"event", "objects", "exceptions", "audit", "truncated"}. For the people who run the
 * product (tallygate events show); story.h is the short form for those who sent the event.
 *
 *   objects[]   a version: kind, id, version, state, source, rules, master, event, fields,
 *               postings[], and other_versions[] when not all of them are asked for
 *   postings[]  destination, kind, leg, period, quantity, state, key, ref, payload, attempts[]
 *   audit[]     every row about the event, its objects, postings and exceptions, with hash
 *
 * Ownership: the caller owns the JSON.
 */
#ifndef TG_API_TRAIL_H
#define TG_API_TRAIL_H

#include <jansson.h>

#include "journal/journal.h"
#include "master/catalogue.h"

/* By event id. 0, 1: not in the journal, -1. */
int tg_trail_event(struct tg_reader *r, const struct tg_catalogue *catalogue, const char *event_id,
                   json_t **out, struct tg_error *err);

/* Every version of an object, oldest first, with their events ("events"). 0, 1: none, -1. */
int tg_trail_object(struct tg_reader *r, const struct tg_catalogue *catalogue,
                    const unsigned char key[TG_POSTING_KEY_BYTES], json_t **out,
                    struct tg_error *err);

/* The event whose object the posting of this key belongs to, as tg_trail_event. */
int tg_trail_posting(struct tg_reader *r, const struct tg_catalogue *catalogue,
                     const unsigned char key[TG_POSTING_KEY_BYTES], json_t **out,
                     struct tg_error *err);

#endif
