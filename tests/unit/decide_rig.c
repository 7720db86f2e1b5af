#include "decide_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct tg_config_source source = {.name = (char *)"psa"};
static struct tg_config_destination destinations[] = {
    {.name = (char *)"erp", .id = (char *)"acme/erp", .index = 3},
    {.name = (char *)"payroll", .id = (char *)"acme/payroll", .index = 5}};
struct tg_config_tenant dr_tenant = {
    .id = (char *)"acme", .destinations = destinations, .destination_count = 2};
struct tg_catalogue *dr_catalogue;

int dr_load_catalogue(void **state)
{
    static const char text[] =
        "codes:\n"
        "  - {code: duplicate_version_conflict, title: T, owner: integration, runbook: r}\n"
        "  - {code: correction_after_posting, title: T, owner: finance, runbook: r}\n"
        "  - {code: no_destination, title: T, owner: integration, runbook: r}\n"
        "  - {code: rule_fault, title: T, owner: integration, runbook: r}\n"
        "  - {code: worker_unknown, title: T, owner: master-data, runbook: r}\n"
        "  - {code: event_undecodable, title: T, owner: integration, runbook: r}\n";
    char path[] = "/tmp/tg-catalogue-XXXXXX";
    struct tg_error err = {""};
    int fd = mkstemp(path);

    (void)state;
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || close(fd) != 0) {
        return -1;
    }
    dr_catalogue = tg_catalogue_load(path, &err);
    if (dr_catalogue == NULL) {
        print_message("# %s\n", err.text);
    }
    return unlink(path) == 0 && dr_catalogue != NULL ? 0 : -1;
}

int dr_free_catalogue(void **state)
{
    (void)state;
    tg_catalogue_free(dr_catalogue);
    return 0;
}

json_t *dr_posting(const char *destination, const char *leg)
{
    json_t *p =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:{s:s}}", "destination", destination, "kind", "labor",
                  "leg", leg, "period", "2026-11", "quantity", "7.5", "payload", "hours", "7.50");

    assert_non_null(p);
    return p;
}

/* A valid object TE-1, version 3, with two postings; nothing known. */
int dr_setup(void **state)
{
    struct rig *g = calloc(1, sizeof(*g));

    if (g == NULL) {
        return -1;
    }
    g->reading.event = (struct tg_row_event){.event_id = "s07-1-0",
                                             .tenant = "acme",
                                             .client = "hook:psa",
                                             .source = "urn:acme:psa",
                                             .ce_id = "e1",
                                             .body_sha256 = "aa"};
    g->reading.tenant = &dr_tenant;
    g->reading.source = &source;
    g->result.object =
        json_pack("{s:s, s:s, s:i}", "kind", "time_entry", "id", "TE-1", "version", 3);
    g->result.violations = json_array();
    g->result.postings =
        json_pack("[o, o]", dr_posting("erp", "cost"), dr_posting("payroll", "regular"));
    (void)snprintf(g->result.object_kind, sizeof(g->result.object_kind), "time_entry");
    (void)snprintf(g->result.object_id, sizeof(g->result.object_id), "TE-1");
    g->result.object_version = 3;
    *state = g;
    return 0;
}

int dr_teardown(void **state)
{
    struct rig *g = *state;

    tg_plan_clear(&g->plan);
    tg_known_clear(&g->known);
    json_decref(g->result.object);
    json_decref(g->result.violations);
    json_decref(g->result.postings);
    free(g);
    return 0;
}

void dr_decide(struct rig *g)
{
    tg_plan_clear(&g->plan);
    assert_int_equal(tg_decide(&g->reading, &g->result, &g->known, dr_catalogue, &g->plan), 0);
    /* what must hold of every plan */
    assert_true(g->plan.event_state != TG_EVENT_EXCEPTION || g->plan.code != NULL);
    assert_true(g->plan.event_state != TG_EVENT_ACCEPTED || g->plan.has_object);
    assert_true(!g->plan.has_object || g->plan.event_state == TG_EVENT_ACCEPTED);
    assert_true((g->plan.event_state == TG_EVENT_DUPLICATE) == (g->plan.duplicate_of != 0));
    assert_true(g->plan.posting_count == 0 ||
                (g->plan.has_object && (g->plan.object_state == TG_VERSION_VALIDATED ||
                                        g->plan.object_state == TG_VERSION_WITHDRAWN)));
    assert_true(g->plan.object_state != TG_VERSION_VALIDATED || g->plan.posting_count != 0);
    assert_true(g->plan.posting_count == 0 || g->plan.correct);
    assert_true(g->plan.code == NULL || (g->plan.detail != NULL && g->plan.owner != NULL));
    assert_true(!g->plan.has_object || g->plan.object_state != TG_VERSION_EXCEPTION ||
                g->plan.code != NULL);
}

void dr_violate(struct rig *g)
{
    assert_int_equal(
        json_array_append_new(g->result.violations,
                              json_pack("{s:s, s:s, s:s}", "code", "worker_unknown", "message",
                                        "no such worker", "owner", "master-data")),
        0);
    assert_int_equal(
        json_array_append_new(g->result.violations, json_pack("{s:s, s:s}", "code", "task_unknown",
                                                              "message", "no such task")),
        0);
    assert_int_equal(json_array_clear(g->result.postings), 0);
}

struct tg_known_version dr_version(int64_t id, int64_t number, enum tg_version_state state)
{
    return (struct tg_known_version){
        .id = id, .event = id + 1000, .version = number, .state = state, .json = strdup("{}")};
}

struct tg_known_posting dr_effect(int64_t id, uint32_t destination, enum tg_posting_state state)
{
    struct tg_known_posting e = {.id = id,
                                 .object = 20,
                                 .destination = destination,
                                 .state = state,
                                 .attempt = 1,
                                 .generation = 1,
                                 .let_go = TG_LET_GO_NO,
                                 .reversible = true,
                                 .kind = "labor",
                                 .leg = "cost",
                                 .destination_id =
                                     strdup(destination == 3 ? "acme/erp" : "acme/payroll"),
                                 .period = strdup("2026-10"),
                                 .payload = strdup("{\"hours\":\"4.00\"}"),
                                 .quantity_micros = 4000000};

    e.key[0] = (unsigned char)id;
    switch (tg_known_correction(&e)) {
    case TG_CORRECT_REVERSE:
    case TG_CORRECT_REVERSE_WHEN_POSTED:
        e.reversal = json_null(); /* as it was */
        break;
    default:
        break;
    }
    return e;
}

/* An older version 2 that is in force, with a posting at erp and one at payroll in these states. */
void dr_older(struct rig *g, enum tg_posting_state a, enum tg_posting_state b)
{
    tg_known_clear(&g->known);
    g->known.latest = dr_version(20, 2, TG_VERSION_VALIDATED);
    g->known.live = dr_version(20, 2, TG_VERSION_VALIDATED);
    g->known.postings = calloc(TG_EFFECTS_MAX, sizeof(*g->known.postings));
    assert_non_null(g->known.postings);
    g->known.postings[0] = dr_effect(101, 3, a);
    g->known.postings[1] = dr_effect(102, 5, b);
    g->known.posting_count = 2;
}

/* Both are dispatch's to forget. */
void dr_let_go(struct rig *g)
{
    for (size_t i = 0; i < g->known.posting_count; i++) {
        g->known.postings[i].let_go = TG_LET_GO_YES;
    }
}
