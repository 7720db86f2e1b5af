/* Replays inputs through one fuzz target without libFuzzer: each argument is a file. */
#ifdef TG_FUZZ_REPLAY
#include <stdio.h>

#include "fuzz.h"

#define INPUT_MAX_BYTES ((size_t)4 * 1024 * 1024)

static int replay(const char *path, uint8_t *room)
{
    FILE *file = fopen(path, "rb");
    uint8_t *exact;
    size_t n;

    if (file == NULL) {
        (void)fprintf(stderr, "replay: cannot open %s\n", path);
        return -1;
    }
    n = fread(room, 1, INPUT_MAX_BYTES, file);
    (void)fclose(file);
    /* A copy of just that size, so that the sanitizer sees a read past the end. */
    exact = malloc(n > 0 ? n : 1);
    if (exact == NULL) {
        (void)fprintf(stderr, "replay: out of memory\n");
        return -1;
    }
    memcpy(exact, room, n);
    (void)LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    return 0;
}

int main(int argc, char **argv)
{
    uint8_t *room = malloc(INPUT_MAX_BYTES);
    int failed = room == NULL;

    for (int i = 1; !failed && i < argc; i++) {
        failed = replay(argv[i], room) != 0;
    }
    free(room);
    (void)printf("replay: %d inputs, %s\n", argc - 1, failed ? "failed" : "ok");
    return failed;
}
#endif
