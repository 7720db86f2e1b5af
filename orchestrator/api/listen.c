#include "api/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_MODE 0660

static int bad_address(struct tg_error *err)
{
    return tg_error_set(err,
                        "not an address the API may listen on; accepted: unix:PATH (at most %d "
                        "bytes), 127.0.0.1:PORT or [::1]:PORT",
                        TG_LISTEN_PATH_MAX_BYTES);
}

static bool cut_prefix(struct tg_str *text, const char *prefix)
{
    size_t len = strlen(prefix);

    if (text->len < len || memcmp(text->data, prefix, len) != 0) {
        return false;
    }
    text->data += len;
    text->len -= len;
    return true;
}

static int parse_port(struct tg_str text, uint16_t *out)
{
    int64_t port;

    if (text.len > 5 || !tg_str_to_i64(text, &port) || port < 1 || port > UINT16_MAX) {
        return -1;
    }
    *out = (uint16_t)port;
    return 0;
}

static int parse_ipv4(struct tg_str text, struct tg_listen *out)
{
    char host[INET_ADDRSTRLEN];
    struct in_addr addr;
    const unsigned char *colon = text.len > 0 ? memchr(text.data, ':', text.len) : NULL;
    struct tg_str name = {text.data, colon != NULL ? (size_t)(colon - text.data) : 0};
    struct tg_str port = {colon, 0};

    if (colon == NULL || !tg_str_copy(name, host, sizeof(host)) ||
        inet_pton(AF_INET, host, &addr) != 1) {
        return -1;
    }
    port.data = colon + 1;
    port.len = text.len - name.len - 1;
    out->ipv4 = ntohl(addr.s_addr);
    return (out->ipv4 >> 24) == 127 ? parse_port(port, &out->port) : -1;
}

int tg_listen_parse(struct tg_str text, struct tg_listen *out, struct tg_error *err)
{
    struct tg_str rest = text;

    memset(out, 0, sizeof(*out));
    if (cut_prefix(&rest, "unix:")) {
        out->is_unix = true;
        if (rest.len == 0 || memchr(rest.data, '\0', rest.len) != NULL ||
            !tg_str_copy(rest, out->path, sizeof(out->path))) {
            return bad_address(err);
        }
        return 0;
    }
    if (cut_prefix(&rest, "[::1]:")) {
        out->is_ipv6 = true;
        return parse_port(rest, &out->port) == 0 ? 0 : bad_address(err);
    }
    return parse_ipv4(rest, out) == 0 ? 0 : bad_address(err);
}

static void unix_address(const struct tg_listen *l, struct sockaddr_un *out)
{
    memset(out, 0, sizeof(*out));
    out->sun_family = AF_UNIX;
    memcpy(out->sun_path, l->path, strlen(l->path));
}

/* Does a process answer on this socket file? */
static bool is_answered(const struct sockaddr_un *addr)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool answered;

    if (fd < 0) {
        return true; /* cannot tell: leave the file alone */
    }
    /* EAGAIN: its queue is full, so somebody listens. */
    answered = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN;
    close(fd);
    return answered;
}

static int remove_stale(const struct tg_listen *l, const struct sockaddr_un *addr,
                        struct tg_error *err)
{
    struct stat st;

    if (lstat(l->path, &st) != 0) {
        return errno == ENOENT
                   ? 0
                   : tg_error_set(err, "%s: cannot look at it: %s", l->path, strerror(errno));
    }
    if (!S_ISSOCK(st.st_mode)) {
        return tg_error_set(err,
                            "%s is there and is not a socket; remove it or choose another "
                            "api.listen",
                            l->path);
    }
    if (is_answered(addr)) {
        return tg_error_set(err,
                            "%s is in use: another process answers there; stop it or choose "
                            "another api.listen",
                            l->path);
    }
    if (unlink(l->path) != 0 && errno != ENOENT) {
        return tg_error_set(err, "%s: cannot remove the old socket: %s", l->path, strerror(errno));
    }
    return 0;
}

/* The mode is set between bind and listen: until listen, nobody can connect. */
static int open_unix(struct tg_listen *l, int fd, struct tg_error *err)
{
    struct sockaddr_un addr;
    struct stat st;

    unix_address(l, &addr);
    if (remove_stale(l, &addr, err) != 0) {
        return -1;
    }
    if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0) {
        return tg_error_set(err, "%s: cannot make the socket: %s; does its directory exist?",
                            l->path, strerror(errno));
    }
    if (chmod(l->path, SOCKET_MODE) != 0 || lstat(l->path, &st) != 0) {
        return tg_error_set(err, "%s: cannot set its mode: %s", l->path, strerror(errno));
    }
    l->device = st.st_dev;
    l->inode = st.st_ino;
    return 0;
}

static int open_tcp(const struct tg_listen *l, int fd, struct tg_error *err)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(l->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(l->port)};
    int on = 1;

    v4.sin_addr.s_addr = htonl(l->ipv4);
    v6.sin6_addr = in6addr_loopback;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, l->is_ipv6 ? (const struct sockaddr *)&v6 : (const struct sockaddr *)&v4,
             l->is_ipv6 ? (socklen_t)sizeof(v6) : (socklen_t)sizeof(v4)) != 0) {
        return tg_error_set(err, "port %u: cannot listen: %s", l->port, strerror(errno));
    }
    return 0;
}

int tg_listen_open(struct tg_listen *l, struct tg_error *err)
{
    int family = l->is_unix ? AF_UNIX : l->is_ipv6 ? AF_INET6 : AF_INET;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        return tg_error_set(err, "cannot make a socket: %s", strerror(errno));
    }
    if ((l->is_unix ? open_unix(l, fd, err) : open_tcp(l, fd, err)) != 0) {
        tg_listen_close(l, fd);
        return -1;
    }
    if (listen(fd, TG_API_BACKLOG) != 0) {
        tg_error_set(err, "cannot listen: %s", strerror(errno));
        tg_listen_close(l, fd);
        return -1;
    }
    return fd;
}

void tg_listen_close(struct tg_listen *l, int fd)
{
    struct stat st;

    if (l->is_unix && l->inode != 0 && lstat(l->path, &st) == 0 && st.st_dev == l->device &&
        st.st_ino == l->inode) {
        (void)unlink(l->path); /* a file that stays is found stale at the next start */
    }
    l->inode = 0;
    close(fd);
}
