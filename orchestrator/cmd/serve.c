/*
 * serve.c: `tallygate serve`: the loop, and everything on it in the order of its needs.
 *
 * Start: configuration, journal, rules and master data, dispatch, intake, API. Stop (SIGTERM,
 * SIGINT, SIGQUIT): intake, dispatch, API, journal, the other way round of what feeds what; after
 * TG_STOP_DEADLINE_MS the process ends anyway, which is as safe as a kill -9. SIGHUP: rules and
 * master data again; what is wrong is logged and the old ones stay. What can never be made durable
 * ends the process at once: a restart reads the truth from the journal.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "alert/alert.h"
#include "api/api.h"
#include "api/perform.h"
#include "cmd/cmd.h"
#include "cmd/config.h"
#include "cmd/files.h"
#include "cmd/lives.h"
#include "cmd/options.h"
#include "cmd/reload.h"
#include "common/log.h"
#include "core/metrics.h"
#include "intake/again.h"
#include "intake/intake.h"
#include "journal/audit.h"
#include "rules/scripts.h"

#define COMMAND "serve"
#define SECOND_MS 1000
#define CHECKPOINT_MS 60000
#define LAST_RESORT_S 10

struct serve {
    uv_loop_t loop;
    struct tg_config *config;
    struct tg_journal *journal;
    struct tg_reader *audit_reader; /* NULL: no checkpoints */
    char *checkpoint_key;
    struct tg_catalogue *catalogue;
    struct tg_schemas *schemas;
    struct tg_rules *rules;
    struct tg_scripts scripts; /* connectors, of the same bundle */
    struct tg_pipeline pipeline;
    struct tg_lives lives;
    struct tg_api_shared shared;
    struct tg_windows *windows; /* until dispatch has them */
    struct tg_dispatch *dispatch;
    struct tg_intake *intake;
    struct tg_api *api;
    struct tg_performer performer;
    struct tg_reader *approvals_reader;
    struct deciding *deciding; /* api/approve.c's */
    struct tg_controls *controls;
    struct tg_replays *replays;
    struct tg_alerts *alerts; /* NULL: nobody is told */

    uv_async_t journal_done;
    uv_signal_t on_term, on_int, on_quit, on_hup;
    uv_timer_t second, checkpoint, deadline;
    uv_work_t checkpoint_work, reload_work;
    bool checkpoint_busy, reload_busy, reload_again, stopping;
    struct tg_loaded loaded;
    struct tg_error reload_error, checkpoint_error;
    int reload_result, checkpoint_result;
    struct tg_journal_stats counted; /* journal numbers already in the metrics */
    int exit_code;
};

/* ---- trouble ---- */

/* Nothing is tidied up: what is on disk is right, what is in memory may not be. */
static void on_fatal(void *arg, const struct tg_error *err)
{
    (void)arg;
    tg_log(TG_LOG_ERROR, COMMAND, "cannot go on: %s", err->text);
    _exit(TG_EXIT_FAILED);
}

static void say_error(const struct tg_error *err)
{
    tg_log(TG_LOG_ERROR, COMMAND, "cannot start: %s", err->text);
}

/* ---- the journal's news ---- */

static void on_journal_notify(void *arg)
{
    (void)uv_async_send(arg); /* from the journal's thread */
}

static void on_journal_done(uv_async_t *async)
{
    struct serve *s = async->data;

    (void)tg_journal_poll(s->journal);
    if (s->lives.changed) {
        tg_lives_publish(&s->lives, &s->shared);
        tg_lives_arrived(&s->lives, s->config, s->intake);
    }
}

static void on_second(uv_timer_t *timer)
{
    struct serve *s = timer->data;
    struct tg_journal_stats now;

    tg_journal_stats(s->journal, &now);
    tg_metric_add(TG_METRIC_JOURNAL_COMMITS, now.commits - s->counted.commits);
    tg_metric_add(TG_METRIC_JOURNAL_BATCHES, now.batches - s->counted.batches);
    tg_metric_add(TG_METRIC_JOURNAL_FAILURES, now.failures - s->counted.failures);
    if (now.stuck != s->counted.stuck) {
        tg_log(now.stuck ? TG_LOG_ERROR : TG_LOG_INFO, COMMAND, "journal %s",
               now.stuck ? "cannot commit and tries again: look at its disk" : "commits again");
    }
    s->counted = now;
    atomic_store(&s->shared.journal_ready, !now.stuck);
    atomic_store(&s->shared.redis_ready, tg_intake_is_connected(s->intake));
}

static void audit(struct serve *s, const char *action, const char *subject)
{
    struct tg_batch *b = tg_batch_new();

    if (b == NULL || tg_batch_audit(b, "orchestrator", action, subject, NULL) != 0 ||
        tg_journal_submit(s->journal, b, NULL, NULL) != 0) {
        tg_log(TG_LOG_WARN, COMMAND, "audit row %s could not be written", action);
        if (b != NULL) {
            tg_batch_free(b);
        }
    }
}

/* ---- checkpoints ---- */

static void checkpoint_now(struct serve *s)
{
    s->checkpoint_result = tg_audit_checkpoint(s->audit_reader, s->config->journal.checkpoint_dir,
                                               s->checkpoint_key, &s->checkpoint_error);
}

static void checkpoint_work(uv_work_t *work)
{
    checkpoint_now(work->data);
}

static void checkpoint_said(struct serve *s)
{
    if (s->checkpoint_result < 0) {
        tg_log(TG_LOG_ERROR, COMMAND, "checkpoint: %s", s->checkpoint_error.text);
    }
}

static void checkpoint_done(uv_work_t *work, int status)
{
    struct serve *s = work->data;

    (void)status;
    s->checkpoint_busy = false;
    checkpoint_said(s);
}

static void on_checkpoint(uv_timer_t *timer)
{
    struct serve *s = timer->data;

    if (!s->checkpoint_busy && !s->stopping) {
        s->checkpoint_work.data = s;
        s->checkpoint_busy =
            uv_queue_work(&s->loop, &s->checkpoint_work, checkpoint_work, checkpoint_done) == 0;
    }
}

static int open_checkpoints(struct serve *s, struct tg_error *err)
{
    const struct tg_config *c = s->config;

    if (c->journal.checkpoint_dir == NULL || c->journal.checkpoint_key == NULL) {
        return 0;
    }
    if (mkdir(c->journal.checkpoint_dir, 0750) != 0 && errno != EEXIST) {
        return tg_error_set(err, "journal.checkpoints.dir %s: %s", c->journal.checkpoint_dir,
                            strerror(errno));
    }
    s->checkpoint_key = tg_file_read(c->journal.checkpoint_key, err);
    if (s->checkpoint_key == NULL) {
        return -1;
    }
    s->audit_reader = tg_reader_open(c->journal.path, err);
    return s->audit_reader != NULL ? 0 : -1;
}

/* ---- rules and master data ---- */

/* Connectors of the loaded bundle, which dispatch takes if every destination can go on with them.
 */
static int take_scripts(struct serve *s, struct tg_error *err)
{
    struct tg_scripts scripts;

    if (tg_scripts_new(s->loaded.bundle, &scripts, err) != 0) {
        return -1;
    }
    if (s->dispatch != NULL && tg_dispatch_take_scripts(s->dispatch, &scripts, err) != 0) {
        tg_scripts_unref(&scripts);
        return -1;
    }
    tg_scripts_unref(&s->scripts);
    s->scripts = scripts;
    return 0;
}

/* Swaps in what was loaded; old snapshots live on while an API thread holds them. */
static int take_loaded(struct serve *s, struct tg_error *err)
{
    struct tg_rules *rules = tg_rules_new(s->loaded.bundle, err);
    struct tg_windows *windows = tg_windows_new(s->config, s->loaded.masters, err);
    struct tg_bundle *old_bundle;

    /* What the data itself may refuse comes first: until then nothing has changed. */
    if (rules == NULL || windows == NULL ||
        tg_lives_rebase(&s->lives, s->loaded.masters, err) != 0 || take_scripts(s, err) != 0) {
        tg_rules_free(rules);
        tg_windows_free(windows);
        return -1;
    }
    tg_lives_publish(&s->lives, &s->shared);
    if (s->dispatch != NULL) {
        tg_dispatch_take_windows(s->dispatch, windows);
    } else {
        s->windows = windows; /* for open_dispatch */
    }
    (void)pthread_mutex_lock(&s->shared.lock);
    old_bundle = s->shared.bundle;
    s->shared.bundle = s->loaded.bundle;
    s->loaded.bundle = old_bundle;
    s->shared.generation++;
    (void)pthread_mutex_unlock(&s->shared.lock);
    if (s->rules != NULL) {
        tg_rules_free(s->rules);
    }
    s->rules = rules;
    s->pipeline.rules = rules;
    tg_loaded_clear(&s->loaded);
    return 0;
}

static void say_loaded(struct serve *s)
{
    audit(s, "rules.loaded", tg_bundle_sha256(s->shared.bundle));
    for (size_t i = 0; i < s->config->tenant_count; i++) {
        char subject[TG_TENANT_MAX_BYTES + 96];

        (void)snprintf(subject, sizeof(subject), "%s %.80s", s->config->tenants[i].id,
                       tg_master_version(s->shared.masters[i]));
        audit(s, "master.loaded", subject);
    }
}

static void reload_work(uv_work_t *work)
{
    struct serve *s = work->data;

    s->reload_result = tg_loaded_load(s->config, &s->loaded, &s->reload_error);
}

static void start_reload(struct serve *s);

static void reload_done(uv_work_t *work, int status)
{
    struct serve *s = work->data;

    (void)status;
    s->reload_busy = false;
    if (s->reload_result == 0 && !s->stopping) {
        s->reload_result = take_loaded(s, &s->reload_error);
    }
    if (s->reload_result != 0) {
        tg_log(TG_LOG_ERROR, COMMAND, "reload refused, the old rules and master data stay: %s",
               s->reload_error.text);
    } else if (!s->stopping) {
        tg_log(TG_LOG_INFO, COMMAND, "reload: rules %.12s and master data are in force",
               tg_bundle_sha256(s->shared.bundle));
        say_loaded(s);
        tg_holds_arrived(s->intake, NULL, NULL); /* what waits may be there now */
    }
    tg_loaded_clear(&s->loaded);
    if (s->reload_again) {
        s->reload_again = false;
        start_reload(s);
    }
}

static void start_reload(struct serve *s)
{
    if (s->stopping) {
        return;
    }
    if (s->reload_busy) {
        s->reload_again = true;
        return;
    }
    s->reload_work.data = s;
    s->reload_busy = uv_queue_work(&s->loop, &s->reload_work, reload_work, reload_done) == 0;
}

static void on_hup(uv_signal_t *handle, int number)
{
    (void)number;
    start_reload(handle->data);
}

/* ---- stopping ---- */

static void close_all(struct serve *s)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&s->journal_done, (uv_handle_t *)&s->on_term,
                              (uv_handle_t *)&s->on_int,       (uv_handle_t *)&s->on_quit,
                              (uv_handle_t *)&s->on_hup,       (uv_handle_t *)&s->second,
                              (uv_handle_t *)&s->checkpoint,   (uv_handle_t *)&s->deadline};

    for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]); i++) {
        uv_close(handles[i], NULL);
    }
}

static void on_dispatch_stopped(void *arg)
{
    close_all(arg); /* the loop ends when the last of them is gone */
}

static void on_intake_stopped(void *arg)
{
    struct serve *s = arg;

    tg_dispatch_stop(s->dispatch, on_dispatch_stopped, s);
}

static void on_alerts_stopped(void *arg)
{
    struct serve *s = arg;

    tg_intake_stop(s->intake, on_intake_stopped, s);
}

static void on_deadline(uv_timer_t *timer)
{
    (void)timer;
    tg_log(TG_LOG_ERROR, COMMAND,
           "not everything in flight was answered within %d s: leaving; the next start looks it up",
           TG_STOP_DEADLINE_MS / 1000);
    _exit(TG_EXIT_FAILED);
}

static void on_stop(uv_signal_t *handle, int number)
{
    struct serve *s = handle->data;

    if (s->stopping) {
        return;
    }
    s->stopping = true;
    tg_log(TG_LOG_INFO, COMMAND, "stopping on signal %d", number);
    atomic_store(&s->shared.stopping, true);
    (void)uv_timer_start(&s->deadline, on_deadline, TG_STOP_DEADLINE_MS, 0);
    (void)alarm(TG_STOP_DEADLINE_MS / 1000 + LAST_RESORT_S); /* for what comes after the loop */
    tg_controls_stop(s->controls);
    tg_replays_stop(s->replays);
    if (s->alerts != NULL) {
        tg_alerts_stop(s->alerts, on_alerts_stopped, s);
    } else {
        on_alerts_stopped(s);
    }
}

/* ---- starting ---- */

static void set_process(void)
{
    struct rlimit files;
    const struct rlimit no_core = {0, 0}; /* a core would hold payloads and secrets */

    (void)signal(SIGPIPE, SIG_IGN);
    (void)setrlimit(RLIMIT_CORE, &no_core);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
}

static int open_journal(struct serve *s, struct tg_error *err)
{
    struct tg_journal_options o = {.path = s->config->journal.path,
                                   .notify = on_journal_notify,
                                   .notify_arg = &s->journal_done};

    s->journal_done.data = s;
    if (uv_async_init(&s->loop, &s->journal_done, on_journal_done) != 0) {
        return tg_error_set(err, "the event loop cannot be set up");
    }
    s->journal = tg_journal_open(&o, err);
    if (s->journal == NULL) {
        return -1;
    }
    /* From here on a destination's index is the journal's number of it. */
    for (size_t i = 0; i < s->config->tenant_count; i++) {
        const struct tg_config_tenant *t = &s->config->tenants[i];

        for (size_t k = 0; k < t->destination_count; k++) {
            struct tg_config_destination *d = &t->destinations[k];

            if (tg_journal_destination(s->journal, d->id, &d->index, err) != 0) {
                return -1;
            }
        }
    }
    return open_checkpoints(s, err);
}

static int open_rules(struct serve *s, struct tg_error *err)
{
    s->catalogue = tg_catalogue_load(s->config->catalogue, err);
    if (s->catalogue == NULL) {
        return -1;
    }
    s->schemas = tg_schemas_load(s->config->schemas, err);
    if (s->schemas == NULL || tg_loaded_load(s->config, &s->loaded, err) != 0) {
        return -1;
    }
    s->shared.masters = calloc(s->config->tenant_count + 1, sizeof(struct tg_master *));
    if (s->shared.masters == NULL || pthread_mutex_init(&s->shared.lock, NULL) != 0) {
        return tg_error_set(err, "no memory");
    }
    s->pipeline.schemas = s->schemas;
    s->pipeline.catalogue = s->catalogue;
    if (tg_lives_open(s->config, s->loaded.masters, &s->lives, err) != 0) {
        return -1;
    }
    return take_loaded(s, err);
}

static int open_dispatch(struct serve *s, struct tg_error *err)
{
    struct tg_dispatch_options o = {.loop = &s->loop,
                                    .scripts = s->scripts,
                                    .windows = s->windows,
                                    .journal = s->journal,
                                    .config = s->config,
                                    .catalogue = s->catalogue,
                                    .seed = uv_hrtime() ^ (uint64_t)getpid(),
                                    .fatal = on_fatal,
                                    .fatal_arg = s};

    s->dispatch = tg_dispatch_start(&o, err);
    return s->dispatch != NULL ? 0 : -1;
}

static int open_intake(struct serve *s, struct tg_error *err)
{
    struct tg_intake_options o = {.loop = &s->loop,
                                  .journal = s->journal,
                                  .config = s->config,
                                  .pipeline = &s->pipeline,
                                  .lives = s->lives.items,
                                  .dispatch = s->dispatch,
                                  .fatal = on_fatal,
                                  .fatal_arg = s};

    s->intake = tg_intake_start(&o, err);
    return s->intake != NULL ? 0 : -1;
}

/* Those that a process before this one did not finish go on. */
static int open_replays(struct serve *s, struct tg_error *err)
{
    const struct tg_replays_parts parts = {
        .loop = &s->loop, .dispatch = s->dispatch, .intake = s->intake, .journal = s->journal};
    struct tg_reader *reader = tg_reader_open(s->config->journal.path, err);

    if (reader == NULL) {
        return -1;
    }
    s->replays = tg_replays_new(&parts, reader, err);
    tg_reader_close(reader);
    return s->replays != NULL ? 0 : -1;
}

static int open_api(struct serve *s, struct tg_error *err)
{
    struct tg_api_options o = {.config = s->config,
                               .schemas = s->schemas,
                               .catalogue = s->catalogue,
                               .shared = &s->shared};

    if (open_replays(s, err) != 0) {
        return -1;
    }
    s->approvals_reader = tg_reader_open(s->config->journal.path, err);
    if (s->approvals_reader == NULL) {
        return -1;
    }
    s->performer = (struct tg_performer){.config = s->config,
                                         .dispatch = s->dispatch,
                                         .intake = s->intake,
                                         .lives = s->lives.items,
                                         .replays = s->replays,
                                         .journal = s->journal,
                                         .reader = s->approvals_reader,
                                         .deciding = &s->deciding};
    s->controls = tg_controls_new(&s->loop, tg_perform, &s->performer, err);
    if (s->controls == NULL) {
        return -1;
    }
    o.controls = s->controls;
    atomic_store(&s->shared.journal_ready, true);
    s->api = tg_api_start(&o, err);
    return s->api != NULL ? 0 : -1;
}

static void alert_facts(void *arg, struct tg_alert_facts *f)
{
    const struct serve *s = arg;
    struct tg_journal_stats journal;

    tg_journal_stats(s->journal, &journal);
    tg_alert_fact_live(f, tg_intake_is_connected(s->intake), journal.stuck,
                       tg_metric_get(TG_METRIC_STREAM_BACKLOG));
    for (size_t i = 0; i < s->config->tenant_count; i++) {
        const struct tg_config_tenant *t = &s->config->tenants[i];

        for (size_t k = 0; k < t->destination_count; k++) {
            struct tg_engine_stats stats;

            tg_dispatch_stats(s->dispatch, t->destinations[k].index, &stats);
            if (stats.breaker != TG_BREAKER_CLOSED) {
                tg_alert_fact_breaker(f, t->destinations[k].id);
            }
        }
    }
}

static int open_alerts(struct serve *s, struct tg_error *err)
{
    const struct tg_alert_options o = {.loop = &s->loop,
                                       .journal = s->journal,
                                       .config = s->config,
                                       .catalogue = s->catalogue,
                                       .version = TG_VERSION,
                                       .facts = alert_facts,
                                       .arg = s};

    if (!tg_alerts_is_wanted(s->config)) {
        return 0;
    }
    s->alerts = tg_alerts_start(&o, err);
    return s->alerts != NULL ? 0 : -1;
}

static void start_handles(struct serve *s)
{
    uv_signal_t *signals[] = {&s->on_term, &s->on_int, &s->on_quit, &s->on_hup};
    uv_timer_t *timers[] = {&s->second, &s->checkpoint, &s->deadline};

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        (void)uv_signal_init(&s->loop, signals[i]);
        signals[i]->data = s;
    }
    for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++) {
        (void)uv_timer_init(&s->loop, timers[i]);
        timers[i]->data = s;
    }
    (void)uv_signal_start(&s->on_term, on_stop, SIGTERM);
    (void)uv_signal_start(&s->on_int, on_stop, SIGINT);
    (void)uv_signal_start(&s->on_quit, on_stop,
                          SIGQUIT); /* as NGINX: one stop signal for an image */
    (void)uv_signal_start(&s->on_hup, on_hup, SIGHUP);
    (void)uv_timer_start(&s->second, on_second, SECOND_MS / 4, SECOND_MS / 4);
    if (s->audit_reader != NULL) {
        (void)uv_timer_start(&s->checkpoint, on_checkpoint, CHECKPOINT_MS, CHECKPOINT_MS);
    }
}

static int start(struct serve *s, struct tg_error *err)
{
    if (open_journal(s, err) != 0 || open_rules(s, err) != 0 || open_dispatch(s, err) != 0 ||
        open_intake(s, err) != 0 || open_api(s, err) != 0 || open_alerts(s, err) != 0) {
        return -1;
    }
    start_handles(s);
    audit(s, "serve.started", TG_VERSION);
    say_loaded(s);
    tg_log(TG_LOG_INFO, COMMAND, "ready: api on %s, rules %.12s, %zu tenants, %zu destinations",
           s->config->api.listen, tg_bundle_sha256(s->shared.bundle), s->config->tenant_count,
           s->config->destination_count);
    return 0;
}

/* The loop is over: nothing is in flight. */
static int finish(struct serve *s)
{
    tg_controls_end(s->controls);
    tg_api_stop(s->api);
    audit(s, "serve.stopped", TG_VERSION);
    tg_journal_close(s->journal);
    if (s->audit_reader != NULL) {
        checkpoint_now(s);
        checkpoint_said(s);
        tg_reader_close(s->audit_reader);
    }
    tg_controls_free(s->controls);
    tg_reader_close(s->approvals_reader);
    tg_alerts_free(s->alerts); /* after the journal: it called back what was noted */
    tg_intake_free(s->intake);
    tg_dispatch_free(s->dispatch);
    tg_replays_free(s->replays);
    tg_rules_free(s->rules);
    tg_scripts_unref(&s->scripts);
    tg_bundle_unref(s->shared.bundle);
    for (size_t i = 0; i < s->config->tenant_count; i++) {
        tg_master_unref(s->shared.masters[i]);
    }
    free(s->shared.masters);
    tg_lives_clear(&s->lives);
    (void)pthread_mutex_destroy(&s->shared.lock);
    tg_schemas_free(s->schemas);
    tg_catalogue_free(s->catalogue);
    tg_file_free(s->checkpoint_key);
    tg_config_free(s->config);
    (void)uv_loop_close(&s->loop);
    tg_log(TG_LOG_INFO, COMMAND, "stopped");
    return TG_EXIT_OK;
}

static int run(const char *config_path)
{
    struct serve *s = calloc(1, sizeof(*s));
    struct tg_error err = {""};
    int code;

    if (s == NULL || uv_loop_init(&s->loop) != 0) {
        free(s);
        return tg_cmd_failed(COMMAND, "no memory for the event loop");
    }
    set_process();
    json_object_seed(0); /* before threads use jansson */
    s->config = tg_config_load(config_path, &err);
    if (s->config == NULL || start(s, &err) != 0) {
        say_error(&err);
        fflush(stderr);
        _exit(TG_EXIT_FAILED); /* some parts run already; nothing of theirs is on disk yet */
    }
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
    code = finish(s);
    free(s);
    return code;
}

int tg_cmd_serve(int argc, char **argv)
{
    const char *config = TG_CONFIG_DEFAULT_PATH;
    const struct tg_cmd_option options[] = {{"config", &config, NULL}, {0}};
    int rc, first = tg_cmd_options(COMMAND, argc, argv, options, &rc);

    if (!tg_cmd_no_more(COMMAND, argc, argv, first, &rc)) {
        return rc;
    }
    return run(config);
}
