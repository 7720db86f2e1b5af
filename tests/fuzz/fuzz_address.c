/* Entries of an allow-list, addresses, and any address a name may lead to. */
#include "fuzz.h"

#include "connect/address.h"

static void listed(const struct sockaddr *address, const struct tg_prefix *prefix)
{
    char text[TG_ADDRESS_TEXT_BYTES];
    struct sockaddr_storage again;
    const char *fault = tg_address_fault(address);

    tg_address_format(address, text);
    FUZZ_CHECK(memchr(text, 0, sizeof(text)) != NULL);
    FUZZ_CHECK(fault == NULL || fault[0] != '\0');
    FUZZ_CHECK(!tg_address_is_listed(address, prefix, 0));
    if (tg_address_parse(tg_str_of(text), &again) == 0) {
        const char *same = tg_address_fault((const struct sockaddr *)&again);

        FUZZ_CHECK((same == NULL) == (fault == NULL));
    }
}

/* The same bytes as an address of either family. */
static void any_address(struct tg_str bytes, const struct tg_prefix *prefix)
{
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct sockaddr_in four = {.sin_family = AF_INET};

    memcpy(&six.sin6_addr, bytes.data, bytes.len < 16 ? bytes.len : 16);
    memcpy(&four.sin_addr, bytes.data, bytes.len < 4 ? bytes.len : 4);
    listed((const struct sockaddr *)&six, prefix);
    listed((const struct sockaddr *)&four, prefix);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tg_str rest = {data, size};
    const struct tg_str text = fuzz_cut(&rest);
    struct tg_prefix prefix = {.family = AF_INET};
    struct sockaddr_storage address;
    struct tg_error err;

    if (tg_prefix_parse(text, &prefix, &err) == 0) {
        FUZZ_CHECK(prefix.family == AF_INET || prefix.family == AF_INET6);
        FUZZ_CHECK(prefix.bits <= (prefix.family == AF_INET ? 32 : 128));
    }
    if (tg_address_parse(text, &address) == 0) {
        FUZZ_CHECK(address.ss_family == AF_INET || address.ss_family == AF_INET6);
        listed((const struct sockaddr *)&address, &prefix);
        /* What is an address is a prefix of its own, and holds itself. */
        FUZZ_CHECK(tg_prefix_parse(text, &prefix, &err) != 0 ||
                   tg_address_is_listed((const struct sockaddr *)&address, &prefix, 1));
    }
    if (rest.len > 0) {
        any_address(rest, &prefix);
    }
    return 0;
}
