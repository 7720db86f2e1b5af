/* The destinations: what really happens there, and what they say about it. */
#include "sim.h"

static uint32_t new_request(struct sim *s, uint32_t row, bool is_lookup)
{
    const uint32_t at = (uint32_t)s->request_count;
    struct sim_place *a = sim_account(s, s->rows[row].place);

    if (s->request_count == SIM_REQUESTS_MAX) {
        sim_fault(s, "more than %d requests", SIM_REQUESTS_MAX);
        return 0;
    }
    s->requests[s->request_count++] = (struct sim_request){.row = row,
                                                           .doc = s->rows[row].doc,
                                                           .epoch = s->epoch,
                                                           .is_lookup = is_lookup,
                                                           .sent_ms = s->now_ms};
    a->out++;
    if (a->out > a->truth.concurrency) {
        sim_fault(s, "the account of destination %u has more requests out than it may",
                  s->rows[row].place);
    }
    return at;
}

/* The answer is the shell's only if its process still lives: the event's epoch says so. */
static void answer(struct sim *s, uint32_t request, int64_t in_ms, int result,
                   int64_t retry_after_ms)
{
    const unsigned now_epoch = s->epoch;

    s->epoch = s->requests[request].epoch;
    sim_at(s, s->now_ms + in_ms, SIM_EV_ANSWER, request, result, retry_after_ms);
    s->epoch = now_epoch;
}

/* Nothing is sent to a damaged file, so nothing of it can land. */
static bool meets_damage(const struct sim *s, uint32_t row)
{
    return s->places[s->rows[row].place].damaged && s->rows[row].doc % 3 == 0;
}

void sim_place_send(struct sim *s, uint32_t row)
{
    const struct sim_place *p = &s->places[s->rows[row].place];
    const uint32_t q = new_request(s, row, false);

    s->rows[row].out = true;
    if (sim_account(s, s->rows[row].place)->down) {
        sim_see(s, SIM_SEEN_DOWN);
        answer(s, q, sim_between(s, 1, 50), TG_OUTCOME_DOWN, 0);
        return;
    }
    if (meets_damage(s, row)) {
        sim_see(s, SIM_SEEN_STUCK);
        answer(s, q, sim_between(s, 1, 50), TG_OUTCOME_STUCK, 0);
        return;
    }
    answer(s, q, p->timeout_ms, TG_OUTCOME_IN_DOUBT, 0); /* counts if nothing comes before */
    if (sim_chance(s, 3)) {
        return; /* lost on the way */
    }
    sim_at(s,
           s->now_ms + (sim_chance(s, 5) ? sim_between(s, 1000, SIM_NET_LATE_MAX_MS)
                                         : sim_between(s, 1, 200)),
           SIM_EV_ARRIVE, q, 0, 0);
}

void sim_place_lookup(struct sim *s, uint32_t row)
{
    const struct sim_row *r = &s->rows[row];
    const struct sim_place *p = &s->places[r->place];
    const bool down = sim_account(s, r->place)->down;
    const uint32_t q = new_request(s, row, true);

    sim_trace(s, "row %u look-up", row);
    if (!down && meets_damage(s, row)) {
        sim_see(s, SIM_SEEN_STUCK_IN_DOUBT);
        answer(s, q, sim_between(s, 1, 50), TG_LOOKUP_STUCK, 0);
        return;
    }
    if (down || sim_chance(s, 15)) {
        answer(s, q, sim_between(s, 1, p->timeout_ms),
               down && sim_below(s, 2) == 0 ? TG_LOOKUP_DOWN : TG_LOOKUP_UNKNOWN, 0);
        return;
    }
    sim_at(s, s->now_ms + sim_between(s, 1, 100), SIM_EV_ARRIVE, q, 0, 0);
}

static void take_effect(struct sim *s, struct sim_doc *d, uint32_t request)
{
    struct sim_place *p = &s->places[d->place];

    d->effects++;
    d->landed_ms = s->now_ms;
    d->working = false;
    sim_trace(s, "doc %u effect %u", (unsigned)(d - s->docs), d->effects);
    if (s->requests[request].sent_ms < d->absent_ms) {
        sim_see(s, SIM_SEEN_LATE_LANDING);
    }
    if (tg_decimal_add(p->book, d->amount, &p->book) != 0) {
        sim_fault(s, "the book overflows");
    }
    sim_story_land(s, d);
}

/* A unique column refuses the second, whenever it comes. */
void sim_place_land(struct sim *s, uint32_t request)
{
    struct sim_doc *d = &s->docs[s->requests[request].doc];

    if (s->places[d->place].truth.dedupe == TG_DEDUPE_UNIQUE && d->effects > 0) {
        d->working = false;
        return;
    }
    take_effect(s, d, request);
}

static void arrive_lookup(struct sim *s, uint32_t q)
{
    const struct sim_doc *d = &s->docs[s->requests[q].doc];
    bool found = d->effects > 0;

    if (sim_chance(s, 5)) {
        sim_see(s, SIM_SEEN_THROTTLED);
        answer(s, q, sim_between(s, 1, 50), TG_LOOKUP_THROTTLED,
               sim_below(s, 3) == 0 ? 0 : sim_between(s, 1000, 120000));
        return;
    }
    if (found && s->now_ms - d->landed_ms < 2000 && sim_chance(s, 30)) {
        sim_see(s, SIM_SEEN_STALE_READ);
        found = false; /* a replica that lags */
    }
    if (found) {
        sim_see(s, SIM_SEEN_FOUND);
    }
    answer(s, q, sim_between(s, 1, 100), found ? TG_LOOKUP_FOUND : TG_LOOKUP_ABSENT, 0);
}

/* Has it seen the key, and does it still know? Then it says what it said, and does nothing. */
static bool is_repeat(struct sim *s, struct sim_doc *d, uint32_t q)
{
    const struct sim_place *p = &s->places[d->place];

    if (p->truth.dedupe == TG_DEDUPE_UNIQUE && d->effects > 0) {
        sim_see(s, SIM_SEEN_ALREADY);
        answer(s, q, sim_between(s, 1, 100), TG_OUTCOME_POSTED, 0);
        return true;
    }
    if (p->truth.dedupe != TG_DEDUPE_IDEMPOTENCY || !d->key_known) {
        return false;
    }
    if (s->now_ms - d->key_known_ms >= p->truth.idempotency_ttl_ms + SIM_TTL_MARGIN_MS) {
        d->key_known = d->key_rejected = false;
        return false;
    }
    if (d->working) {
        answer(s, q, sim_between(s, 1, 100), TG_OUTCOME_RETRY, 0);
    } else if (d->key_rejected) {
        answer(s, q, sim_between(s, 1, 100), TG_OUTCOME_REJECTED, 0);
    } else {
        sim_see(s, SIM_SEEN_ALREADY);
        answer(s, q, sim_between(s, 1, 100), TG_OUTCOME_POSTED, 0);
    }
    return true;
}

static void execute(struct sim *s, struct sim_doc *d, uint32_t q)
{
    if (sim_chance(s, 8)) { /* slow: the answer may come after the client has left */
        const int64_t took_ms = sim_between(s, 100, SIM_EXEC_LATE_MAX_MS);

        d->working = true;
        sim_at(s, s->now_ms + took_ms, SIM_EV_LAND, q, 0, 0);
        answer(s, q, took_ms + 1, TG_OUTCOME_POSTED, 0);
        return;
    }
    take_effect(s, d, q);
    if (sim_chance(s, 6)) {
        return; /* connection gone: the time-out speaks */
    }
    if (sim_chance(s, 6)) { /* posts, then 500 */
        answer(s, q, sim_between(s, 1, 100), TG_OUTCOME_IN_DOUBT, 0);
        return;
    }
    answer(s, q, sim_between(s, 1, 300), TG_OUTCOME_POSTED, 0);
}

void sim_place_arrive(struct sim *s, uint32_t q)
{
    struct sim_doc *d = &s->docs[s->requests[q].doc];

    if (s->requests[q].is_lookup) {
        arrive_lookup(s, q);
        return;
    }
    if (sim_account(s, d->place)->down) {
        answer(s, q, sim_between(s, 1, 50), TG_OUTCOME_IN_DOUBT, 0);
        return;
    }
    if (sim_chance(s, 5)) {
        sim_see(s, SIM_SEEN_THROTTLED);
        answer(s, q, sim_between(s, 1, 50), TG_OUTCOME_THROTTLED,
               sim_below(s, 3) == 0 ? 0 : sim_between(s, 1000, 120000));
        return;
    }
    if (sim_chance(s, s->requests[q].doc % 7 == 0 ? 80 : 5)) { /* one is often busy */
        answer(s, q, sim_between(s, 1, 50), TG_OUTCOME_RETRY,
               sim_below(s, 4) == 0 ? sim_between(s, 1000, 120000) : 0);
        return;
    }
    if (is_repeat(s, d, q)) {
        return;
    }
    d->key_known = true;
    d->key_known_ms = s->now_ms;
    if (d->poisoned && s->now_ms >= d->poisoned_ms) {
        sim_see(s, d->absent_said ? SIM_SEEN_REJECTED_IN_DOUBT : SIM_SEEN_REJECTED);
        d->key_rejected = true;
        answer(s, q, sim_between(s, 1, 100), TG_OUTCOME_REJECTED, 0);
        return;
    }
    execute(s, d, q);
}
