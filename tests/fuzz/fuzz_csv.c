/* A line of a CSV file found on disk; and what is written is read back exactly. */
#include "fuzz.h"

#include "common/limits.h"
#include "connect/csv.h"

static void split(struct tg_str line)
{
    static struct tg_csv_record record;

    if (tg_csv_split(line, &record) != 0) {
        return;
    }
    FUZZ_CHECK(record.count >= 1 && record.count <= TG_FILE_COLUMNS_MAX);
    for (size_t i = 0; i < record.count; i++) {
        const struct tg_str f = record.field[i];

        FUZZ_CHECK(f.len <= line.len);
        FUZZ_CHECK(f.len == 0 ||
                   (f.data >= (const unsigned char *)record.text &&
                    f.data + f.len <= (const unsigned char *)record.text + sizeof(record.text)));
    }
}

static void round_trip(struct tg_str a, struct tg_str b)
{
    static struct tg_csv_record record;
    struct tg_buf line;

    if (!tg_csv_is_text(a) || !tg_csv_is_text(b)) {
        return;
    }
    tg_buf_init(&line, TG_FILE_LINE_MAX_BYTES);
    if (tg_csv_append_text(&line, a) == 0 && tg_buf_append_char(&line, ',') == 0 &&
        tg_csv_append_text(&line, b) == 0 && tg_csv_split(tg_buf_view(&line), &record) == 0) {
        FUZZ_CHECK(record.count == 2);
        FUZZ_CHECK(tg_str_equal(record.field[0], a) && tg_str_equal(record.field[1], b));
        FUZZ_CHECK(memchr(tg_buf_view(&line).data, '\n', tg_buf_view(&line).len) == NULL);
    }
    tg_buf_free(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_str rest = {data, size};
    struct tg_str first;

    split(rest);
    first = fuzz_cut(&rest);
    round_trip(first, rest);
    return 0;
}
