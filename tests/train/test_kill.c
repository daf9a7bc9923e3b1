/* A run that is killed with SIGKILL, again and again, and started with the same command until it
 * ends: its checkpoints are those of a run that was never stopped, byte for byte, and so is its log
 * but for the times.
 *
 * 60 steps of 2 micro-batches with mixing, drop path, the weights' average, tests between the
 * epochs and kept checkpoints. In half of the rounds last is saved at each step (SAVE_MINUTES), in
 * the others after each epoch only, so that kills cost steps and meet a run without a checkpoint. A
 * kill is aimed at a step, a save or a test by watching the files; which of them it met is told
 * afterwards by what the dead process left. A round is 1 to 3 kills; 3 rounds, 100 when
 * CF_TEST_FULL is set. */
#include "micro.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

enum { EPOCHS = 10, STEPS = EPOCHS * MICRO_STEPS, SETTINGS = 2 };
enum { IN_START, IN_STEP, IN_SAVE, IN_TEST, KINDS };

static const char *const kind_name[KINDS] = { "starting", "steps", "saving", "testing" };
static const char *const shared[] = { "TRAIN.EPOCHS=10", "TRAIN.AUTO_RESUME=True",
                                      "TRAIN.EMA=0.9",   "SAVE_FREQ=1",
                                      "SAVE_KEEP=2",     "TRAIN.WARMUP_EPOCHS=1" };

typedef struct {
    char *folder, *yaml, *run, *log;
    cf_rng rng;
    int met[KINDS];
} world;

/* ---- where a run stands, from outside -------------------------------------------------------- */

typedef struct {
    size_t steps, evals; /* lines of the log */
    bool saving;         /* a file is on its way to its name */
} state_of;

static bool is_on_its_way(const char *name)
{
    size_t n = strlen(name);
    bool checkpoint = strstr(name, ".safetensors") != NULL;
    return checkpoint && n > 4 && (!strcmp(name + n - 4, ".tmp") || !strcmp(name + n - 4, ".new"));
}

static state_of look(const world *w)
{
    state_of s = { 0 };
    DIR *d = opendir(w->run);
    for (struct dirent *e; d && (e = readdir(d));) s.saving |= is_on_its_way(e->d_name);
    if (d) closedir(d);
    char text[65536];
    int fd = open(w->log, O_RDONLY);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    text[n > 0 ? n : 0] = 0;
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        s.steps += strncmp(line, "{\"kind\":\"step\"", 14) == 0;
        s.evals += strncmp(line, "{\"kind\":\"eval\"", 14) == 0;
    }
    return s;
}

static int kind_of(state_of s, size_t steps_before)
{
    if (s.saving) return IN_SAVE;
    if (s.steps > 0 && s.steps % MICRO_STEPS == 0 && s.evals < s.steps / MICRO_STEPS)
        return IN_TEST;
    return s.steps == steps_before ? IN_START : IN_STEP;
}

/* ---- starting and killing -------------------------------------------------------------------- */

static pid_t start(const world *w)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child > 0) return child;
    int null = open("/dev/null", O_WRONLY);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    setenv("OMP_NUM_THREADS", "1", 1);
    execl(test_program(), test_program(), "train", "-c", w->yaml, (char *)NULL);
    _exit(127);
}

static void pause_us(uint32_t us)
{
    const struct timespec t = { us / 1000000, (long)(us % 1000000) * 1000 };
    nanosleep(&t, NULL);
}

/* Kills the run when it does what was aimed at, after a few more steps. False: it ended first. */
static bool start_and_kill(world *w)
{
    state_of before = look(w);
    size_t left = STEPS > before.steps ? STEPS - before.steps : 1;
    size_t from = before.steps + cf_rng_below(&w->rng, (uint32_t)left);
    int aim = (int)cf_rng_below(&w->rng, 10);
    aim = aim < 1 ? IN_START : aim < 4 ? IN_STEP : aim < 7 ? IN_SAVE : IN_TEST;
    uint32_t late = cf_rng_below(&w->rng, aim == IN_START ? 60000 : 3000);
    int status;
    pid_t child = start(w);
    for (double until = cf_seconds() + 120; cf_seconds() < until; pause_us(300)) {
        if (waitpid(child, &status, WNOHANG) == child) {
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
            return false;
        }
        state_of s = look(w);
        if (aim == IN_START || (s.steps >= from && kind_of(s, before.steps) == aim)) break;
    }
    pause_us(late);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status)) { /* it ended in the moment before */
        assert_int_equal(WEXITSTATUS(status), 0);
        return false;
    }
    w->met[kind_of(look(w), before.steps)]++;
    return true;
}

static void finish(const world *w)
{
    int status;
    assert_int_equal(waitpid(start(w), &status, 0) > 0, 1);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fail_msg("the run did not end: %d", status);
}

/* ---- the same files -------------------------------------------------------------------------- */

static void assert_same_file(const char *a, const char *b)
{
    char *x, *y;
    size_t n, m;
    assert_ok(cf_file_read(&x, &n, a));
    assert_ok(cf_file_read(&y, &m, b));
    if (n != m || memcmp(x, y, n) != 0) fail_msg("%s is not %s", a, b);
    cf_free(x);
    cf_free(y);
}

static size_t files_in(const char *folder)
{
    size_t n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) /* TensorBoard's are one a process */
        n += e->d_name[0] != '.' && strncmp(e->d_name, "events.", 7) != 0;
    closedir(d);
    return n;
}

static void assert_same_run(const char *run, const char *whole)
{
    static const char *const files[] = { "last.safetensors", "best.safetensors",
                                         "epoch_008.safetensors", "epoch_009.safetensors",
                                         "config.yaml" };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *a = test_path(run, files[i]), *b = test_path(whole, files[i]);
        assert_same_file(a, b);
        cf_free(a);
        cf_free(b);
    }
    char *a = test_path(run, "log.jsonl"), *b = test_path(whole, "log.jsonl");
    char *old = test_path(run, "epoch_007.safetensors");
    assert_same_log(a, b);
    assert_false(cf_file_exists(old));
    assert_int_equal(files_in(run), files_in(whole)); /* no leftovers */
    cf_free(a);
    cf_free(b);
    cf_free(old);
}

/* ---- the rounds ------------------------------------------------------------------------------ */

static void write_config(const world *w, int setting)
{
    const char *more[sizeof shared / sizeof *shared + 4];
    size_t n = 0;
    char *test;
    assert_ok(cf_format(&test, "DATA.VAL_FILE=%s/train.h5", w->folder)); /* longer tests */
    for (; n < sizeof shared / sizeof *shared; n++) more[n] = shared[n];
    more[n++] = test;
    more[n++] = setting ? "SAVE_MINUTES=0" : "SAVE_MINUTES=1.0e-6";
    more[n] = NULL;
    cf_config_free(micro_config(w->folder, "run", more));
    cf_free(test);
}

static void move_away(const world *w, const char *name)
{
    char *to = test_path(w->folder, name);
    assert_int_equal(rename(w->run, to), 0);
    cf_free(to);
}

static void remove_run(const world *w)
{
    DIR *d = opendir(w->run);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.') unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    assert_int_equal(rmdir(w->run), 0);
}

static void killed_runs_end_alike(void **state)
{
    (void)state;
    micro_need_program();
    int rounds = test_full() ? 100 : 3, kills = 0;
    static const char *const whole[SETTINGS] = { "whole-steps", "whole-epochs" };
    world w = { .folder = micro_folder(false), .rng = cf_rng_make(11, CF_RNG_TEST, 0, 0) };
    w.yaml = test_path(w.folder, "run.yaml");
    w.run = test_path(w.folder, "run");
    w.log = test_path(w.run, "log.jsonl");
    for (int s = 0; s < SETTINGS; s++) {
        write_config(&w, s);
        finish(&w);
        assert_int_equal(look(&w).steps, STEPS);
        assert_int_equal(look(&w).evals, EPOCHS);
        move_away(&w, whole[s]);
    }
    for (int i = 0; i < rounds; i++) {
        write_config(&w, i % SETTINGS);
        int n = test_full() ? 1 + (int)cf_rng_below(&w.rng, 3) : 3;
        for (int k = 0; k < n && start_and_kill(&w); k++) kills++;
        finish(&w);
        char *other = test_path(w.folder, whole[i % SETTINGS]);
        assert_same_run(w.run, other);
        cf_free(other);
        remove_run(&w);
    }
    print_message("%d rounds, %d kills:", rounds, kills);
    for (int k = 0; k < KINDS; k++)
        print_message(" %d in %s%s", w.met[k], kind_name[k], k < KINDS - 1 ? "," : "\n");
    assert_true(kills >= rounds);
    for (int k = 0; k < KINDS; k++) assert_true(!test_full() || w.met[k] > 0);
    cf_free(w.yaml);
    cf_free(w.run);
    cf_free(w.log);
    test_folder_remove(w.folder);
}

TESTS(TEST(killed_runs_end_alike))
