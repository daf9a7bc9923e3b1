/* What train and test say while they run: on a terminal, into a file, and with --quiet. */
#include "micro.h"

#include <pty.h>
#include <sys/wait.h>

/* The program on a terminal of so many columns; *out is all it wrote there. */
static int on_terminal(char **out, unsigned short columns, const char *const *argv)
{
    const struct winsize size = { .ws_row = 24, .ws_col = columns };
    char *args[64] = { (char *)(uintptr_t)test_program() }, *text = NULL;
    int terminal, status;
    size_t n = 0;
    for (size_t i = 0; argv[i] && i < 62; i++) args[i + 1] = (char *)(uintptr_t)argv[i];
    pid_t child = forkpty(&terminal, NULL, NULL, &size);
    assert_true(child >= 0);
    if (child == 0) {
        execv(args[0], args);
        _exit(127);
    }
    for (;;) {
        assert_ok(cf_realloc(&text, n + 4097, 1));
        ssize_t got = read(terminal, text + n, 4096);
        if (got <= 0) break; /* the terminal's end is an error, EIO */
        n += (size_t)got;
    }
    text[n] = 0;
    close(terminal);
    assert_int_equal(waitpid(child, &status, 0), child);
    *out = text;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* What stays on the screen: each "\r\033[K" takes away what stands before it in its line. */
static char *screen(const char *text)
{
    char *out;
    size_t n = 0, line = 0;
    assert_ok(cf_alloc(&out, strlen(text) + 1, 1));
    for (const char *p = text; *p; p++) {
        if (strncmp(p, "\r\033[K", 4) == 0) {
            n = line;
            p += 3;
        } else if (*p != '\r') {
            out[n++] = *p;
            if (*p == '\n') line = n;
        }
    }
    out[n] = 0;
    return out;
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, what)); p += strlen(what)) n++;
    return n;
}

/* A folder with a short run's configuration; the caller frees both. */
static char *prepare(char **yaml, const char *print_freq)
{
    char *folder = micro_folder(false);
    cf_config_free(micro_config(folder, "run", (const char *const[]){ print_freq, NULL }));
    *yaml = test_path(folder, "run.yaml");
    return folder;
}

static void a_terminal_has_one_live_line(void **state)
{
    (void)state;
    micro_need_program();
    static const unsigned short widths[] = { 120, 40 };
    for (size_t i = 0; i < 2; i++) {
        char *yaml, *folder = prepare(&yaml, "PRINT_FREQ=2"), *text;
        const char *const argv[] = { "train", "-c", yaml, NULL };
        int status = on_terminal(&text, widths[i], argv);
        if (status != 0) fail_msg("exit status %d: %s", status, text);
        assert_true(count(text, "\r\033[Kepoch 1/2  ") > 0);
        for (const char *p = text; (p = strstr(p, "\033[K")); p += 3) {
            size_t width = strcspn(p + 3, "\r\n");
            bool live = p[3 + width] == '\r' && p[4 + width] == '\033';
            if (live && width >= widths[i])
                fail_msg("%zu columns on a terminal of %d: %.*s", width, widths[i], (int)width,
                         p + 3);
        }
        if (widths[i] == 120)
            assert_non_null(strstr(text, "%  step ")); /* behind the bar and percent */
        char *left = screen(text);
        assert_null(strchr(left, '\033'));
        assert_null(strstr(left, "  step ")); /* of the live lines nothing stays */
        assert_int_equal(count(left, "\nepoch 1/2  loss "), 1);
        assert_int_equal(count(left, "\nepoch 2/2  loss "), 1);
        assert_int_equal(count(left, "\nepoch 2/2  top-1 "), 1);
        const char *end = strstr(left, "\ndone: ");
        assert_non_null(end);
        assert_string_equal(strchr(end + 1, '\n'), "\n");
        cf_free(left);
        cf_free(text);
        cf_free(yaml);
        test_folder_remove(folder);
    }
}

static void a_file_gets_plain_lines(void **state)
{
    (void)state;
    micro_need_program();
    char *yaml, *folder = prepare(&yaml, "PRINT_FREQ=6"), *text;
    const char *const argv[] = { "train", "-c", yaml, NULL };
    assert_int_equal(micro_program(&text, argv, NULL, NULL), 0);
    for (const char *p = text; *p; p++)
        if (*p < ' ' && *p != '\n') fail_msg("control character %d in: %s", *p, text);
    /* 6 steps of 2 micro-batches an epoch: after the first, then each third; the last is told by
     * the epoch's own line */
    assert_int_equal(count(text, "\nepoch 1/2  step "), 2);
    assert_int_equal(count(text, "\nepoch 2/2  step "), 1);
    assert_non_null(strstr(text, "\nepoch 1/2  step 3/12  loss "));
    const char *line = strstr(text, "\nepoch 2/2  step 9/12  loss ");
    assert_non_null(line);
    static const char *const fields[] = { "  lr ",     "  grad ",       " videos/s  ",
                                          " waiting ", "  epoch left ", "  left " };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const char *at = strstr(line, fields[i]);
        if (!at || at > strchr(line + 1, '\n')) fail_msg("no '%s' in: %s", fields[i], line);
    }
    assert_int_equal(count(text, "\nepoch 1/2  loss "), 1);
    assert_int_equal(count(text, "\nepoch 2/2  top-1 "), 1);
    cf_free(text);
    cf_free(yaml);
    test_folder_remove(folder);
}

static void quiet_leaves_results(void **state)
{
    (void)state;
    micro_need_program();
    char *yaml, *folder = prepare(&yaml, "PRINT_FREQ=1"), *text;
    const char *const train[] = { "train", "-c", yaml, "--quiet", NULL };
    assert_int_equal(micro_program(&text, train, NULL, NULL), 0);
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) && *line;)
        if (strncmp(line, "epoch ", 6) != 0 || !strstr(line, "top-1 "))
            if (strncmp(line, "warning: ", 9) != 0) fail_msg("not a result: %s", line);
    cf_free(text);
    char *weights = test_path(folder, "run/last.safetensors");
    const char *const test[] = { "test", "-c", yaml, "--resume", weights, "-q", NULL };
    assert_int_equal(micro_program(&text, test, NULL, NULL), 0);
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) && *line;)
        if (strncmp(line, "warning: ", 9) != 0) fail_msg("on stderr: %s", line);
    cf_free(text);
    /* the same with its progress, on a terminal */
    const char *const loud[] = { "test", "-c", yaml, "--resume", weights, NULL };
    assert_int_equal(on_terminal(&text, 80, loud), 0);
    assert_non_null(strstr(text, "testing  ["));
    char *left = screen(text);
    if (strstr(left, "testing")) fail_msg("%s", left);
    assert_non_null(strstr(left, "\ntop-1 "));
    cf_free(left);
    cf_free(text);
    cf_free(weights);
    cf_free(yaml);
    test_folder_remove(folder);
}

TESTS(TEST(a_terminal_has_one_live_line), TEST(a_file_gets_plain_lines), TEST(quiet_leaves_results))
