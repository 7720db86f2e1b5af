/*
 * fuzz.h: what every fuzz target has. Built with clang -fsanitize=fuzzer it is driven by libFuzzer;
 * with -DTG_FUZZ_REPLAY and fuzz_replay_main.c it replays the files named as arguments.
 */
#ifndef TG_TESTS_FUZZ_H
#define TG_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that must hold for every input: the fuzzer reports the input that breaks it. */
#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Cuts the input at the first zero byte: the part before it; *rest is what follows. */
static inline struct tg_str fuzz_cut(struct tg_str *rest)
{
    struct tg_str part = *rest;
    const unsigned char *zero = rest->len > 0 ? memchr(rest->data, 0, rest->len) : NULL;

    if (zero == NULL) {
        rest->len = 0;
        return part;
    }
    part.len = (size_t)(zero - rest->data);
    rest->data = zero + 1;
    rest->len -= part.len + 1;
    return part;
}

/* out lies within in. */
static inline int fuzz_within(struct tg_str in, struct tg_str out)
{
    return out.len == 0 || (out.data >= in.data && out.data + out.len <= in.data + in.len);
}

#endif
