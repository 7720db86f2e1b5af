/*
 * decide_rig.h: what the tests of the decision share: one case with its parts, and older versions
 * with what stands of them.
 *
 * Ownership: dr_setup allocates, dr_teardown frees, cmocka fixtures both; *state is a struct rig.
 */
#ifndef TG_TEST_DECIDE_RIG_H
#define TG_TEST_DECIDE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "intake/decide.h"

extern struct tg_config_tenant dr_tenant; /* acme, with erp (3) and payroll (5) */
extern struct tg_catalogue *dr_catalogue;

/* One case; the parts are set by the tests. */
struct rig {
    struct tg_reading reading;
    struct tg_pipeline_result result;
    struct tg_known known;
    struct tg_plan plan;
};

int dr_load_catalogue(void **state);
int dr_free_catalogue(void **state);
/* A valid object TE-1, version 3, with two postings; nothing known. */
int dr_setup(void **state);
int dr_teardown(void **state);

/* Decides, and looks at what must hold of every plan. */
void dr_decide(struct rig *g);
/* The object is valid no more. */
void dr_violate(struct rig *g);
json_t *dr_posting(const char *destination, const char *leg);
struct tg_known_version dr_version(int64_t id, int64_t number, enum tg_version_state state);
struct tg_known_posting dr_effect(int64_t id, uint32_t destination, enum tg_posting_state state);
/* An older version 2 that is in force, with a posting at erp and one at payroll in these states. */
void dr_older(struct rig *g, enum tg_posting_state a, enum tg_posting_state b);
/* Both are dispatch's to forget. */
void dr_let_go(struct rig *g);

#endif
