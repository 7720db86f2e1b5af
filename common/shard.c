#include "common/shard.h"

#define FNV1A64_OFFSET UINT64_C(0xcbf29ce484222325)
#define FNV1A64_PRIME UINT64_C(0x100000001b3)

unsigned tg_shard_of(struct tg_str tenant, unsigned count)
{
    uint64_t hash = FNV1A64_OFFSET;

    if (count == 0) {
        return 0;
    }
    for (size_t i = 0; i < tenant.len; i++) {
        hash ^= tenant.data[i];
        hash *= FNV1A64_PRIME;
    }
    return (unsigned)(hash % count);
}
