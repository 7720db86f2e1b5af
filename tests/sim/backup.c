/* A backup is taken, and one day restored: as orchestrator/journal/restore.c and intake/restored.c
 * do it. What the life in between sent is at the destinations, and nowhere else. */
#include <string.h>

#include "sim.h"

void sim_backup(struct sim *s)
{
    struct sim_backup *b = &s->backup;

    sim_trace(s, "backup");
    b->taken = true;
    b->wall_ms = sim_wall_ms(s);
    b->row_count = b->version_count = 0;
    for (size_t i = 0; i < s->row_count && s->rows[i].planned; i++) {
        b->rows[b->row_count++] = s->rows[i];
    }
    for (size_t i = 0; i < s->version_count && s->versions[i].written; i++) {
        b->versions[b->version_count++] = s->versions[i];
    }
    for (size_t i = 0; i < s->entry_count; i++) {
        b->done[i] = s->entries[i].done;
        b->sent_ms[i] = s->entries[i].sent_ms;
    }
    b->restored_ms = s->restored_ms;
    b->restored_row = s->restored_row;
    for (size_t i = 0; i < s->place_count; i++) {
        b->waits[i].wait_until_ms = s->places[i].wait_until_ms;
        b->waits[i].wait_said_ms = s->places[i].wait_said_ms;
        b->waits[i].durable_not_before_ms = s->places[i].durable_not_before_ms;
    }
}

static void restore_row(struct sim *s, struct sim_row *r)
{
    enum tg_posting_state next;

    r->not_before_ms = 0; /* it was told to another life */
    r->restored = true;
    r->exception_restored = r->state == TG_POSTING_EXCEPTION;
    if (s->mutation == SIM_MUTATION_RESTORED_BLINDLY) {
        return;
    }
    if ((r->state == TG_POSTING_PLANNED || r->state == TG_POSTING_HELD ||
         r->state == TG_POSTING_READY || r->state == TG_POSTING_EXCEPTION) &&
        r->first_sent_ms <= 0) {
        r->first_sent_ms = s->backup.wall_ms;
    }
    if (r->state == TG_POSTING_HELD) {
        sim_see(s, SIM_SEEN_RESTORED_HELD);
    }
    if (tg_posting_next(r->state, TG_PE_RESTORED, &next) == 0) {
        r->state = next;
        r->due_ms = sim_wall_ms(s);
    }
}

void sim_restore(struct sim *s)
{
    const struct sim_backup *b = &s->backup;

    s->restores_due -= s->restores_due > 0 ? 1 : 0;
    if (!b->taken || s->calm) {
        return;
    }
    if (s->alive) {
        sim_shell_crash(s);
    }
    sim_trace(s, "restore");
    sim_see(s, SIM_SEEN_RESTORED);
    memcpy(s->rows, b->rows, b->row_count * sizeof(b->rows[0]));
    s->row_count = b->row_count;
    memcpy(s->versions, b->versions, b->version_count * sizeof(b->versions[0]));
    s->version_count = b->version_count;
    for (size_t i = 0; i < s->row_count; i++) {
        restore_row(s, &s->rows[i]);
    }
    for (size_t i = 0; i < s->entry_count; i++) {
        struct sim_entry *e = &s->entries[i];

        e->done = b->done[i];
        e->sent_ms = e->arrived ? b->wall_ms : 0;
    }
    for (size_t i = 0; i < s->place_count; i++) {
        s->places[i].wait_until_ms = b->waits[i].wait_until_ms;
        s->places[i].wait_said_ms = b->waits[i].wait_said_ms;
        s->places[i].durable_not_before_ms = b->waits[i].durable_not_before_ms;
    }
    s->restored_ms = b->wall_ms;
    s->restored_row = s->row_count > 0 ? s->rows[s->row_count - 1].id : 0;
}
