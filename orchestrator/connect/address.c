#include "connect/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX_BYTES 64

struct range {
    unsigned char bytes[16];
    unsigned bits;
    const char *what;
};

/* IANA's special-purpose registries; what is not "globally reachable" there. */
static const struct range ranges4[] = {
    {{0}, 8, "unspecified"},
    {{10}, 8, "private"},
    {{100, 64}, 10, "shared (CGNAT)"},
    {{127}, 8, "loopback"},
    {{169, 254}, 16, "link-local"},
    {{172, 16}, 12, "private"},
    {{192, 0, 0}, 24, "reserved"},
    {{192, 0, 2}, 24, "for documentation"},
    {{192, 88, 99}, 24, "6to4"},
    {{192, 168}, 16, "private"},
    {{198, 18}, 15, "for benchmarks"},
    {{198, 51, 100}, 24, "for documentation"},
    {{203, 0, 113}, 24, "for documentation"},
    {{224}, 4, "multicast"},
    {{240}, 4, "reserved"},
};

/* Of IPv6 only 2000::/3 is handed out; these are the exceptions in it, and names for the rest. */
static const struct range ranges6[] = {
    {{0}, 128, "unspecified"},
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128, "loopback"},
    {{0x00, 0x64, 0xff, 0x9b}, 96, "NAT64"},
    {{0x00, 0x64, 0xff, 0x9b, 0, 1}, 48, "NAT64"},
    {{0x20, 0x01}, 23, "reserved"}, /* Teredo and others */
    {{0x20, 0x01, 0x0d, 0xb8}, 32, "for documentation"},
    {{0x20, 0x02}, 16, "6to4"},
    {{0x3f, 0xff}, 20, "for documentation"},
    {{0xfc}, 7, "private"},
    {{0xfe, 0x80}, 10, "link-local"},
    {{0xfe, 0xc0}, 10, "private"},
    {{0xff}, 8, "multicast"},
};

static bool holds(const unsigned char *prefix, unsigned bits, const unsigned char *address)
{
    const unsigned whole = bits / 8, rest = bits % 8;
    const unsigned char mask = (unsigned char)(0xffu << (8 - rest));

    return memcmp(prefix, address, whole) == 0 &&
           (rest == 0 || ((prefix[whole] ^ address[whole]) & mask) == 0);
}

/* The bytes of an address and its family; an IPv4-mapped one becomes IPv4. AF_UNSPEC: neither. */
static int bytes_of(const struct sockaddr *address, unsigned char out[16])
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    memset(out, 0, 16);
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;

        memcpy(&in, address, sizeof(in));
        memcpy(out, &in.sin_addr, 4);
        return AF_INET;
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;

        memcpy(&in6, address, sizeof(in6));
        if (memcmp(&in6.sin6_addr, mapped, sizeof(mapped)) == 0) {
            memcpy(out, (const unsigned char *)&in6.sin6_addr + sizeof(mapped), 4);
            return AF_INET;
        }
        memcpy(out, &in6.sin6_addr, 16);
        return AF_INET6;
    }
    return AF_UNSPEC;
}

static const char *find_range(const struct range *list, size_t n, const unsigned char *bytes)
{
    for (size_t i = 0; i < n; i++) {
        if (holds(list[i].bytes, list[i].bits, bytes)) {
            return list[i].what;
        }
    }
    return NULL;
}

const char *tg_address_fault(const struct sockaddr *address)
{
    unsigned char bytes[16];
    const char *what;

    switch (bytes_of(address, bytes)) {
    case AF_INET:
        return find_range(ranges4, sizeof(ranges4) / sizeof(ranges4[0]), bytes);
    case AF_INET6:
        what = find_range(ranges6, sizeof(ranges6) / sizeof(ranges6[0]), bytes);
        return what == NULL && (bytes[0] & 0xe0) != 0x20 ? "reserved" : what;
    default:
        return "of no known kind";
    }
}

bool tg_address_is_listed(const struct sockaddr *address, const struct tg_prefix *list, size_t n)
{
    unsigned char bytes[16];
    const int family = bytes_of(address, bytes);

    for (size_t i = 0; i < n; i++) {
        if (list[i].family == family && holds(list[i].bytes, list[i].bits, bytes)) {
            return true;
        }
    }
    return false;
}

/* A prefix of IPv4-mapped addresses would never hold one: they are compared as IPv4. */
static bool is_mapped(const struct tg_prefix *p)
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    return p->family == AF_INET6 && p->bits >= 96 && memcmp(p->bytes, mapped, sizeof(mapped)) == 0;
}

static bool has_bits_beyond(const struct tg_prefix *p)
{
    const unsigned all = p->family == AF_INET ? 32 : 128;

    for (unsigned i = p->bits; i < all; i++) {
        if ((p->bytes[i / 8] & (0x80u >> (i % 8))) != 0) {
            return true;
        }
    }
    return false;
}

int tg_prefix_parse(struct tg_str text, struct tg_prefix *out, struct tg_error *err)
{
    const unsigned char *slash = text.len > 0 ? memchr(text.data, '/', text.len) : NULL;
    const size_t address_len = slash != NULL ? (size_t)(slash - text.data) : text.len;
    struct tg_str bits_text = {slash != NULL ? slash + 1 : NULL,
                               slash != NULL ? text.len - address_len - 1 : 0};
    char address[TEXT_MAX_BYTES];
    int64_t bits = 0;

    memset(out, 0, sizeof(*out));
    if (!tg_str_copy((struct tg_str){text.data, address_len}, address, sizeof(address))) {
        return tg_error_set(err, "it is too long for an address");
    }
    if (inet_pton(AF_INET, address, out->bytes) == 1) {
        out->family = AF_INET;
        out->bits = 32;
    } else if (inet_pton(AF_INET6, address, out->bytes) == 1) {
        out->family = AF_INET6;
        out->bits = 128;
    } else {
        return tg_error_set(err, "it is not an IPv4 or IPv6 address");
    }
    if (slash != NULL) {
        if (!tg_str_to_i64(bits_text, &bits) || bits > out->bits) {
            return tg_error_set(err, "what follows the slash is not a prefix length");
        }
        out->bits = (unsigned)bits;
    }
    if (has_bits_beyond(out)) {
        return tg_error_set(err, "there are bits beyond the prefix length");
    }
    if (is_mapped(out)) {
        return tg_error_set(err, "write an IPv4-mapped address as IPv4");
    }
    return 0;
}

int tg_address_parse(struct tg_str text, struct sockaddr_storage *out)
{
    char copy[TEXT_MAX_BYTES];
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

    memset(out, 0, sizeof(*out));
    if (!tg_str_copy(text, copy, sizeof(copy))) {
        return -1;
    }
    if (inet_pton(AF_INET, copy, &in.sin_addr) == 1) {
        memcpy(out, &in, sizeof(in));
        return 0;
    }
    if (inet_pton(AF_INET6, copy, &in6.sin6_addr) == 1) {
        memcpy(out, &in6, sizeof(in6));
        return 0;
    }
    return -1;
}

void tg_address_format(const struct sockaddr *address, char out[TG_ADDRESS_TEXT_BYTES])
{
    unsigned char bytes[16];
    const int family = bytes_of(address, bytes);

    if (family == AF_UNSPEC || inet_ntop(family, bytes, out, TG_ADDRESS_TEXT_BYTES) == NULL) {
        (void)snprintf(out, TG_ADDRESS_TEXT_BYTES, "?");
    }
}
