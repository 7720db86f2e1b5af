/*
 * build/sim SEED RUNS: that many worlds, seeds SEED, SEED+1, ... Exit 0, or 1 with the seed of the
 * first world that broke a rule; TG_SIM_TRACE=1 tells its story. TG_SIM_MUTATION=N breaks the shell
 * on purpose; `build/sim mutations` lists them. See mutations.sh.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim.h"

#define COVERAGE_RUNS_MIN 1000 /* fewer need not meet every situation */

static struct sim world;

#define MUTATION_ROW(name, what) what,
static const char *const MUTATIONS[SIM_MUTATION_COUNT] = {SIM_MUTATION_TABLE(MUTATION_ROW)};
#undef MUTATION_ROW

#define SEEN_ROW(name, what) what,
static const char *const SEEN[SIM_SEEN_COUNT] = {SIM_SEEN_TABLE(SEEN_ROW)};
#undef SEEN_ROW

static int list_mutations(void)
{
    for (int i = 1; i < SIM_MUTATION_COUNT; i++) {
        printf("%d the shell %s\n", i, MUTATIONS[i]);
    }
    return 0;
}

static int64_t number_of(const char *text, int64_t fallback)
{
    int64_t value;

    if (text == NULL || !tg_str_to_i64(tg_str_of(text), &value)) {
        return fallback;
    }
    return value;
}

static int tell_coverage(const uint64_t *seen)
{
    int missing = 0;

    for (int i = 0; i < SIM_SEEN_COUNT; i++) {
        printf("  %10" PRIu64 " %s\n", seen[i], SEEN[i]);
        missing += seen[i] == 0 ? 1 : 0;
    }
    return missing;
}

int main(int argc, char **argv)
{
    uint64_t seen[SIM_SEEN_COUNT] = {0};
    const int64_t seed = number_of(argc > 1 ? argv[1] : "1", -1);
    const int64_t runs = number_of(argc > 2 ? argv[2] : "2000", -1);
    const int64_t mutation = number_of(getenv("TG_SIM_MUTATION"), 0);
    const bool trace = number_of(getenv("TG_SIM_TRACE"), 0) != 0;
    const clock_t began = clock();
    struct tg_error err;
    uint64_t steps = 0;
    uint64_t postings = 0;
    int missing = 0;

    if (argc == 2 && strcmp(argv[1], "mutations") == 0) {
        return list_mutations();
    }
    if (seed < 0 || runs < 1 || mutation < 0 || mutation >= SIM_MUTATION_COUNT) {
        fprintf(stderr, "usage: sim SEED RUNS | sim mutations; whole numbers, at least one run\n");
        return 2;
    }
    if (sim_intake_begin(&err) != 0) {
        fprintf(stderr, "sim: %s; run it where conf/ is\n", err.text);
        return 2;
    }
    for (int64_t i = 0; i < runs; i++) {
        const uint64_t this_seed = (uint64_t)(seed + i);

        if (sim_run(&world, this_seed, (enum sim_mutation)mutation, trace, seen) != 0) {
            printf("sim: seed %" PRIu64 ": %s\n", this_seed, world.fault.text);
            printf("sim: failed; see it again with TG_SIM_TRACE=1 %s %" PRIu64 " 1\n", argv[0],
                   this_seed);
            sim_intake_end();
            return 1;
        }
        steps += world.steps;
        postings += world.row_count;
    }
    sim_intake_end();
    missing = tell_coverage(seen);
    if (runs >= COVERAGE_RUNS_MIN && missing > 0) {
        printf("sim: failed; %d situations never came up in %" PRId64 " runs\n", missing, runs);
        return 1;
    }
    printf("sim: ok, %" PRId64 " runs from seed %" PRId64 ", %" PRIu64 " postings, %" PRIu64
           " steps, %.1f s\n",
           runs, seed, postings, steps, (double)(clock() - began) / CLOCKS_PER_SEC);
    return 0;
}
