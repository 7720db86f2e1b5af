/*
 * scripted_rig.h: a scripted connector with real Lua, a real client and a scripted server on
 * loopback, on one loop; results as dispatch is told them.
 *
 * Ownership: setup makes it, teardown ends everything. Texts given to sr_open_with outlive it.
 */
#ifndef TG_TESTS_SCRIPTED_RIG_H
#define TG_TESTS_SCRIPTED_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "connect/connect.h"
#include "http_server.h"

#define SR_RESULTS_MAX 32

/* The Lua of a small connector; SIMPLE_END returns its functions. */
#define SIMPLE                                                                                     \
    "local function request(p, ctx)\n"                                                             \
    "  return {method = 'POST', path = '/' .. p.kind, json = {key = p.key, entry = "               \
    "p.payload.entry}}\n"                                                                          \
    "end\n"                                                                                        \
    "local function classify(r, p, ctx)\n"                                                         \
    "  if r.status == 200 then return {outcome = 'posted', ref = r.json.id} end\n"                 \
    "  return {outcome = 'rejected', detail = r.json and r.json.message, code = 'worker_unknown'}" \
    "\n"                                                                                           \
    "end\n"
#define SIMPLE_END                                                                                 \
    "return {about = {dedupe = 'unique', reversible = true}, request = request, classify = "       \
    "classify}\n"

struct sr_result {
    int64_t posting;
    bool is_lookup;
    enum tg_outcome outcome;
    enum tg_lookup lookup;
    char ref[64], detail[300], exception[64];
    int64_t retry_after_ms;
};

struct sr {
    char dir[64], lua[128], secret[128];
    uv_loop_t loop;
    uv_timer_t deadline;
    struct tg_http *http;
    struct tg_scripts scripts;
    struct tg_config_destination config;
    char url[64];
    char *allow[1];
    struct hs server;
    struct tg_connector *connector;
    bool late, closed;
    size_t count;
    struct sr_result results[SR_RESULTS_MAX];
};

void sr_write_file(const char *path, const char *text);
int sr_setup(void **state);
void sr_close_connector(struct sr *g);
int sr_teardown(void **state);
void sr_load_scripts(struct sr *g, const char *lua, struct tg_scripts *out);
int sr_try_open(struct sr *g, struct tg_error *err);
void sr_open_with(struct sr *g, const char *lua, const struct hs_act *acts, size_t n);
struct tg_connect_job sr_job_of(int64_t posting);
void sr_begin(struct sr *g, int64_t posting);
void sr_look(struct sr *g, int64_t posting);
const struct sr_result *sr_wait_results(struct sr *g, size_t n);
const struct sr_result *sr_post(struct sr *g, int64_t posting);
void sr_until_requests(struct sr *g, size_t n);
bool sr_seen(const struct sr *g, size_t request, const char *part);

#define ANSWER(status, body, length)                                                               \
    {                                                                                              \
        "HTTP/1.1 " status "\r\nContent-Length: " length "\r\n\r\n" body, HS_KEEP, false           \
    }
#define POSTED ANSWER("200 OK", "{\"id\":\"A1\"}", "11")

#endif
