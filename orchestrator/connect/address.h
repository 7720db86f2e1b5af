/*
 * address.h: which addresses a destination may be reached at. Pure.
 *
 * An address is refused when it is not a public unicast address: loopback, private, link-local,
 * shared (CGNAT), multicast, reserved, documentation, and everything that may hide an IPv4 address
 * (NAT64, 6to4, Teredo, IPv4-compatible), unless an entry of the allow-list holds it. An
 * IPv4-mapped address is the IPv4 address.
 *
 * Ownership: plain values.
 */
#ifndef TG_CONNECT_ADDRESS_H
#define TG_CONNECT_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "common/str.h"

struct tg_prefix {
    unsigned char bytes[16]; /* network order; an IPv4 one uses four */
    int family;              /* AF_INET or AF_INET6 */
    unsigned bits;
};

/* "10.1.0.0/16", "10.1.2.3", "fd00::/8". Bits beyond the prefix must be zero. 0, or -1 with err. */
int tg_prefix_parse(struct tg_str text, struct tg_prefix *out, struct tg_error *err);

/* Why the address is refused without an allow-list: "loopback", "private" ...; NULL: it is public.
 */
const char *tg_address_fault(const struct sockaddr *address);

/* Does an entry hold it? */
bool tg_address_is_listed(const struct sockaddr *address, const struct tg_prefix *list, size_t n);

/* "192.0.2.1" or "2001:db8::1" without a port into sockaddr. 0, or -1: it is no address (a name).
 */
int tg_address_parse(struct tg_str text, struct sockaddr_storage *out);

#define TG_ADDRESS_TEXT_BYTES INET6_ADDRSTRLEN
/* For messages; "?" when the family is neither. */
void tg_address_format(const struct sockaddr *address, char out[TG_ADDRESS_TEXT_BYTES]);

#endif
