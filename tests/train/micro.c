/* See micro.h. */
#include "micro.h"

#include <signal.h>

const char *const micro_class[MICRO_CLASSES] = { "a red thing moving left",
                                                 "a red thing moving right",
                                                 "a blue thing moving left",
                                                 "a blue thing moving right" };

/* ---- data ------------------------------------------------------------------------------------ */

enum { SIZE = 20, FRAMES = 3 };

/* A bright bar that moves, in red or blue, over noise. */
static void draw(uint8_t *pixels, int32_t label, uint64_t video)
{
    cf_rng rng = cf_rng_make(7, CF_RNG_TEST, (uint32_t)label, video);
    int start = (int)cf_rng_below(&rng, 4);
    for (int f = 0; f < FRAMES; f++) {
        int at = label % 2 ? 2 + start + 4 * f : 14 - start - 4 * f;
        for (int y = 0; y < SIZE; y++) {
            for (int x = 0; x < SIZE; x++) {
                uint8_t *p = pixels + 3 * ((f * SIZE + y) * SIZE + x);
                for (int c = 0; c < 3; c++) p[c] = (uint8_t)(60 + cf_rng_below(&rng, 40));
                if (x >= at && x < at + 5) p[label / 2 ? 2 : 0] = 250;
            }
        }
    }
}

static void write_pack(const char *folder, const char *name, size_t videos, uint64_t first,
                       bool families)
{
    static const int32_t family[] = { 0, 0, 1, 1 };
    static const int64_t some[] = { 0, 1, 2 };
    static uint8_t pixels[FRAMES * SIZE * SIZE * 3];
    const cf_pack_options options = { .encoding = CF_ENCODING_RAW,
                                      .class_name = micro_class,
                                      .class_family = families ? family : NULL,
                                      .n_classes = MICRO_CLASSES };
    char *path = test_path(folder, name);
    cf_pack_writer *w;
    assert_ok(cf_pack_writer_new(&w, path, &options));
    for (size_t i = 0; i < videos; i++) {
        char video[32];
        int32_t label = (int32_t)(i % MICRO_CLASSES);
        snprintf(video, sizeof video, "video %zu", i);
        draw(pixels, label, first + i);
        assert_ok(cf_pack_writer_add(w, video, label, 8, pixels, FRAMES, SIZE, SIZE));
    }
    assert_ok(cf_pack_writer_split(w, "some", some, 3));
    assert_ok(cf_pack_writer_split(w, "empty", NULL, 0));
    assert_ok(cf_pack_writer_commit(w));
    cf_free(path);
}

char *micro_folder(bool families)
{
    char *folder = test_folder_new(), *merges, *path = test_path(folder, "merges.txt");
    write_pack(folder, "train.h5", MICRO_TRAIN, 0, families);
    write_pack(folder, "test.h5", MICRO_TEST, 1000, families);
    assert_ok(cf_bpe_learn(&merges, micro_class, MICRO_CLASSES, 40));
    assert_ok(cf_file_write(path, merges, strlen(merges)));
    cf_free(merges);
    cf_free(path);
    return folder;
}

static const char yaml[] =
    "DATA: {TRAIN_FILE: '%s/train.h5', VAL_FILE: '%s/test.h5', LABEL_LIST: '', NUM_CLASSES: 4,\n"
    "  NUM_FRAMES: 3, INPUT_SIZE: 20, WORKERS: 1}\n"
    "MODEL: {ARCH: custom, PATCH_SIZE: 10, VISION_WIDTH: 64, VISION_LAYERS: 2, EMBED_DIM: 64,\n"
    "  TEXT_WIDTH: 64, TEXT_LAYERS: 1, CONTEXT_LENGTH: 16, DROP_PATH_RATE: 0.2}\n"
    "TRAIN: {EPOCHS: 2, WARMUP_EPOCHS: 0.3, LR: 1.0e-3, BATCH_SIZE: 2, ACCUMULATION_STEPS: 2,\n"
    "  CLIP_GRAD: 1.0}\n"
    "AUG: {MULTI_SCALE_CROP: False}\n"
    "OUTPUT: '%s/%s'\n"
    "PRINT_FREQ: 1\n";

cf_config *micro_config(const char *folder, const char *name, const char *const *more)
{
    char *text, *path, *file;
    cf_config *c;
    assert_ok(cf_format(&text, yaml, folder, folder, folder, name));
    assert_ok(cf_format(&file, "%s.yaml", name));
    path = test_path(folder, file);
    assert_ok(cf_file_write(path, text, strlen(text)));
    size_t n = 0;
    while (more && more[n]) n++;
    assert_ok(cf_config_load(&c, path, more, n));
    assert_ok(cf_config_write(c, path));
    cf_free(text);
    cf_free(file);
    cf_free(path);
    return c;
}

/* ---- runs ------------------------------------------------------------------------------------ */

cf_status micro_train(cf_config *c, int64_t stop_after)
{
    const cf_run_options o = { .stop_after = stop_after };
    cf_run *r = NULL;
    cf_status status = cf_run_new(&r, c, &o);
    if (status == CF_OK) status = cf_run_train(r);
    cf_run_free(r);
    cf_config_free(c);
    return status;
}

void micro_train_whole(const char *folder, const char *name, const char *const *more)
{
    assert_ok(micro_train(micro_config(folder, name, more), 0));
}

void assert_same_tensors(const char *a, const char *b)
{
    cf_st_file *x, *y;
    assert_ok(cf_st_open(&x, a));
    assert_ok(cf_st_open(&y, b));
    assert_int_equal(cf_st_n_tensors(x), cf_st_n_tensors(y));
    for (size_t i = 0; i < cf_st_n_tensors(x); i++) {
        const cf_st_tensor *t = cf_st_tensor_at(x, i), *u = cf_st_find(y, t->name);
        if (!u) fail_msg("%s has no %s", b, t->name);
        if (u->n != t->n || memcmp(t->data, u->data, t->n * cf_st_dtype_bytes(t->dtype)) != 0)
            fail_msg("%s: other bits in %s and %s", t->name, a, b);
    }
    cf_st_close(x);
    cf_st_close(y);
}

static size_t line_length(const char *line)
{
    size_t n = strcspn(line, "\n");
    const char *times = strstr(line, ",\"seconds\"");
    return times && (size_t)(times - line) < n ? (size_t)(times - line) : n;
}

void assert_same_log(const char *a, const char *b)
{
    char *x, *y;
    size_t n;
    assert_ok(cf_file_read(&x, &n, a));
    assert_ok(cf_file_read(&y, &n, b));
    const char *p = x, *q = y;
    while (*p || *q) {
        size_t m = line_length(p);
        if (m != line_length(q) || memcmp(p, q, m) != 0)
            fail_msg("other lines:\n%.*s\n%.*s", (int)strcspn(p, "\n"), p, (int)strcspn(q, "\n"),
                     q);
        p += strcspn(p, "\n");
        q += strcspn(q, "\n");
        if (*p) p++;
        if (*q) q++;
    }
    cf_free(x);
    cf_free(y);
}

/* ---- the program ----------------------------------------------------------------------------- */

void micro_need_program(void)
{
    if (access(test_program(), X_OK) == 0) return;
    print_message("%s is not built\n", test_program());
    skip();
}

static void run_child(int to, const char *const *argv, void (*tamper)(void))
{
    char *args[64] = { (char *)(uintptr_t)test_program() };
    for (size_t i = 0; argv[i] && i < 62; i++) args[i + 1] = (char *)(uintptr_t)argv[i];
    dup2(to, STDERR_FILENO);
    if (tamper) tamper();
    execv(args[0], args);
    _exit(127);
}

int micro_program(char **err, const char *const *argv, void (*tamper)(void),
                  const char *signal_after)
{
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) run_child(ends[1], argv, tamper);
    close(ends[1]);
    char *text = NULL;
    size_t n = 0;
    for (;;) {
        assert_ok(cf_realloc(&text, n + 4097, 1));
        ssize_t got = read(ends[0], text + n, 4096);
        if (got <= 0) break;
        n += (size_t)got;
        text[n] = 0;
        if (signal_after && strstr(text, signal_after)) {
            kill(child, SIGINT);
            signal_after = NULL;
        }
    }
    text[n] = 0;
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    *err = text;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

size_t micro_lines(const char *text)
{
    size_t n = 0;
    for (const char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n') n += *p != '\n';
    return n;
}
