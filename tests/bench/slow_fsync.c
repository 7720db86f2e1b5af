/* LD_PRELOAD: every fsync and fdatasync takes SLOW_FSYNC_US longer, as on a distant disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_longer(void)
{
    const char *us = getenv("SLOW_FSYNC_US");

    (void)usleep(us != NULL ? (useconds_t)strtoul(us, NULL, 10) : 0);
}

int fsync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");

    wait_longer();
    return real(fd);
}

int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");

    wait_longer();
    return real(fd);
}
