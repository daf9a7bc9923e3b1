/* The program from outside: exit statuses, what goes to stdout and stderr, and inspect on each
 * kind of file, whole and damaged. */
#include "../test.h"

#include "crossframe/data.h"
#include "crossframe/safetensors.h"

#include <fcntl.h>

/* Kept out of line: gcc 12 takes the inlined name for a dangling one. */
__attribute__((noinline)) static char *new_folder(void) { return test_folder_new(); }

/* The program that was built with this test: build/MODE/tests/cli/test_cli ->
 * build/MODE/crossframe. */
static const char *program(void)
{
    static char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 32);
    if (getenv("CROSSFRAME") || n <= 0) return test_program();
    path[n] = 0;
    for (int up = 0; up < 3; up++) *strrchr(path, '/') = 0;
    strcat(path, "/crossframe");
    return access(path, X_OK) == 0 ? path : test_program();
}

typedef struct {
    int status; /* exit status, or 1000 + signal */
    char out[60000], err[8192];
} outcome;

static void read_back(char *text, size_t size, FILE *from)
{
    rewind(from);
    text[fread(text, 1, size - 1, from)] = 0;
    fclose(from);
}

/* Runs the program with these arguments, NULL at the end. */
static const outcome *run(const char *const *arguments)
{
    static outcome o;
    const char *argv[32] = { program() };
    for (size_t i = 0; arguments[i]; i++) argv[i + 1] = arguments[i];
    FILE *out = tmpfile(), *err = tmpfile();
    assert_true(out && err);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(fileno(out), STDOUT_FILENO);
        dup2(fileno(err), STDERR_FILENO);
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    o.status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
    read_back(o.out, sizeof o.out, out);
    read_back(o.err, sizeof o.err, err);
    return &o;
}
#define RUN(...) run((const char *const[]){ __VA_ARGS__, NULL })

/* One complaint line with this text on stderr, this exit status. */
static void assert_complains(const outcome *o, int status, const char *text)
{
    if (o->status != status || !strstr(o->err, text) || strncmp(o->err, "crossframe: ", 12) != 0 ||
        strchr(o->err, '\n') != o->err + strlen(o->err) - 1)
        fail_msg("exit %d, \"%s\"; expected exit %d and one line with \"%s\"", o->status, o->err,
                 status, text);
}

static void assert_prints(const outcome *o, const char *text)
{
    if (o->status != 0 || *o->err || !strstr(o->out, text))
        fail_msg("exit %d, stderr \"%s\", stdout \"%s\"; expected \"%s\"", o->status, o->err,
                 o->out, text);
}

static void help_and_version(void **state)
{
    (void)state;
    assert_prints(RUN("--version"), "crossframe " CF_VERSION "\n");
    assert_prints(RUN("--help"), "\n  inspect ");
    assert_null(strstr(RUN("--help")->out, "(null)"));
    assert_prints(RUN("inspect", "--help"), "--tensors");
    assert_prints(RUN("inspect", "nothing", "--nothing", "--help"), "--tensors");
    const outcome *o = run((const char *const[]){ NULL });
    assert_int_equal(o->status, 2);
    assert_non_null(strstr(o->err, "inspect"));
}

/* Each command that --help lists has a --help of its own. */
static void each_listed_command_helps(void **state)
{
    (void)state;
    static char list[60000];
    strcpy(list, RUN("--help")->out);
    size_t n = 0;
    char *rest = list;
    for (char *line; (line = strsep(&rest, "\n"));) {
        if (strncmp(line, "  ", 2) != 0) continue;
        char *name = strtok(line, " ");
        const outcome *o = RUN(name, "--help");
        if (o->status != 0 || !strstr(o->out, name))
            fail_msg("%s --help: exit %d: %s", name, o->status, o->err);
        n++;
    }
    assert_true(n >= 1);
}

static void wrong_calls_exit_2(void **state)
{
    (void)state;
    assert_complains(RUN("inspct"), 2, "unknown command inspct; did you mean inspect?");
    assert_complains(RUN("zzzzzzzz"), 2, "unknown command zzzzzzzz (");
    assert_complains(RUN("inspect"), 2, "inspect: give one FILE");
    assert_complains(RUN("inspect", "a", "b"), 2, "unexpected argument b");
    assert_complains(RUN("inspect", "--tensor", "a"), 2, "did you mean --tensors?");
    assert_complains(RUN("inspect", "-x", "a"), 2, "unknown option -x");
    assert_complains(RUN("inspect", "a", "--metadata"), 2, "--metadata needs a KEY");
    assert_complains(RUN("inspect", "a", "--tensors=1"), 2, "--tensors takes no =VALUE");
    assert_complains(RUN("inspect", "a", "--keys"), 2, "give one FILE, or --keys");
    assert_complains(RUN("inspect", "--", "--keys", "b"), 2, "unexpected argument b");
}

static void failures_exit_1(void **state)
{
    (void)state;
    char *folder = new_folder();
    char *path = test_path(folder, "file");
    assert_complains(RUN("inspect", path), 1, "cannot open");
    assert_complains(RUN("inspect", "--", "--keys"), 1, "cannot open --keys");
    assert_complains(RUN("inspect", folder), 1, "has no model.safetensors");
    static const struct {
        const char *bytes;
        size_t n;
        const char *why;
    } files[] = {
        { "", 0, "is empty" },
        { "\0\1\2\3", 4, "is no checkpoint, packed dataset or configuration" },
        { "\xff\xd8\xff\xe0 JFIF", 9, "is no checkpoint" },
        { "PK\3\4 and so on", 14, "zip archive" },
        { "\x89HDF\r\n\x1a\n and so on", 18, "" },
        { "\x20\0\0\0\0\0\0\0{\"a\":1}", 15, "is cut off" },
        { "\7\0\0\0\0\0\0\0{\"a\":1}", 15, "tensor a" },
        { "id,name\n0,abseiling\n", 20, "not" },
        { "TRAIN:\n  LRR: 1\n", 16, "unknown key TRAIN.LRR; the nearest is TRAIN.LR" },
        { "MODEL:\n  HEAD: fc\n  PROMPT: video\n", 34,
          "a fully connected head has no text to prompt" },
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        assert_ok(cf_file_write(path, files[i].bytes, files[i].n));
        const outcome *o = RUN("inspect", path);
        assert_complains(o, 1, files[i].why);
        assert_non_null(strstr(o->err, path));
    }
    cf_free(path);
    test_folder_remove(folder);
}

static void inspect_tells_of_a_checkpoint(void **state)
{
    (void)state;
    char *folder = new_folder();
    char *path = test_path(folder, "named.yaml"); /* the name says nothing */
    float x[4] = { 1, 3, NAN, INFINITY };
    int64_t ids = 5;
    const cf_st_tensor tensors[] = {
        { .name = "visual.conv1.weight", .rank = 2, .shape = { 2, 2 }, .data = x },
        { .name = "visual.transformer.resblocks.0.message_fc.weight",
          .rank = 1,
          .shape = { 3 },
          .data = x },
        { .name = "transformer.x", .rank = 1, .shape = { 2 }, .data = x },
        { .name = "mit.x", .data = x },
        { .name = "prompts_generator.alpha", .data = x },
        { .name = "optimizer.m.mit.x", .data = x },
        { .name = "ids", .dtype = CF_ST_I64, .data = &ids },
    };
    const cf_st_pair metadata[] = { { "epoch", "3" }, { "config", "TRAIN:\n  LR: 1.0\n" } };
    assert_ok(cf_st_write(path, tensors, 7, metadata, 2));
    const outcome *o = RUN("inspect", path);
    assert_prints(o, "checkpoint (safetensors), 7 tensors");
    assert_non_null(strstr(o->out, "layout         X-CLIP\n"));
    assert_non_null(strstr(o->out, "architecture   ")); /* what is missing for one */
    assert_non_null(strstr(o->out, "there is no visual.positional_embedding, "));
    assert_non_null(strstr(o->out, "types          F32 in 6 tensors, 12 numbers\n"));
    assert_non_null(strstr(o->out, "               I64 in 1 tensors, 1 numbers\n"));
    assert_non_null(strstr(o->out, "visual                    1              4\n"));
    assert_non_null(strstr(o->out, "message                   1              3\n"));
    assert_non_null(strstr(o->out, "text                      1              2\n"));
    assert_non_null(strstr(o->out, "prompts                   1              1\n"));
    assert_non_null(strstr(o->out, "optimiser state           1              1\n"));
    assert_non_null(strstr(o->out, "model                     6             12\n"));
    assert_non_null(strstr(o->out, "  epoch                3\n"));
    assert_non_null(strstr(o->out, "17 bytes (--metadata config shows them)"));
    o = RUN("inspect", "--tensors", path);
    assert_prints(o, "visual.conv1.weight");
    assert_non_null(
        strstr(o->out, "[2, 2]                     2           1           1           3      2"));
    assert_prints(RUN("inspect", path, "--metadata", "config"), "TRAIN:\n  LR: 1.0\n");
    assert_prints(RUN("inspect", path, "--metadata=epoch"), "3\n");
    assert_complains(RUN("inspect", path, "--metadata", "no"), 1, "has no metadata no");
    cf_free(path);
    test_folder_remove(folder);
}

static void inspect_tells_of_a_dataset(void **state)
{
    (void)state;
    char *folder = new_folder();
    char *path = test_path(folder, "x.safetensors");
    static const char *const classes[] = { "walking", "running" };
    static const uint8_t pixels[3 * 6 * 8 * 3];
    const int64_t rows[] = { 0, 2 };
    cf_pack_writer *w;
    const cf_pack_options options = { .encoding = CF_ENCODING_RAW,
                                      .class_name = classes,
                                      .n_classes = 2 };
    assert_ok(cf_pack_writer_new(&w, path, &options));
    assert_ok(cf_pack_writer_add(w, "a", 0, 25, pixels, 3, 6, 8));
    assert_ok(cf_pack_writer_add(w, "b", 1, 25, pixels, 2, 6, 8));
    assert_ok(cf_pack_writer_add(w, "c", 1, 25, pixels, 3, 8, 6));
    assert_ok(cf_pack_writer_split(w, "test1", rows, 2));
    assert_ok(cf_pack_writer_commit(w));
    const outcome *o = RUN("inspect", path);
    assert_prints(o, "packed dataset, 3 videos, 8 frames, 2 classes");
    assert_non_null(strstr(o->out, "frames a video     2 to 3\n"));
    assert_non_null(strstr(o->out, "height             6 to 8 pixels\n"));
    assert_non_null(strstr(o->out, "1 (walking) to 2 (running)"));
    assert_non_null(strstr(o->out, "2 videos"));
    assert_non_null(strstr(o->out, "#test1\n"));
    char *bytes;
    size_t n;
    assert_ok(cf_file_read(&bytes, &n, path));
    for (size_t cut = 16; cut < n; cut += n / 7) {
        assert_ok(cf_file_write(path, bytes, cut));
        assert_complains(RUN("inspect", path), 1, path);
    }
    cf_free(bytes);
    cf_free(path);
    test_folder_remove(folder);
}

static void inspect_tells_of_a_configuration(void **state)
{
    (void)state;
    char *folder = new_folder();
    char *path = test_path(folder, "c"), *base = test_path(folder, "b");
    const char *top = "BASE: [b]\nTRAIN:\n  LR: 1e-5\n  WARMUP_EPOCHS: 1\n";
    assert_ok(cf_file_write(base, "TRAIN:\n  EPOCHS: 3\n", 19));
    assert_ok(cf_file_write(path, top, strlen(top)));
    const outcome *o = RUN("inspect", path);
    assert_prints(o, "  LR: 1.0e-05 ");
    assert_non_null(strstr(o->out, "/c:3\n"));
    assert_non_null(strstr(o->out, "  EPOCHS: 3 "));
    assert_non_null(strstr(o->out, "/b:2\n"));
    assert_ok(cf_file_write(path, o->out, strlen(o->out))); /* it prints a configuration */
    o = RUN("inspect", path);
    assert_int_equal(o->status, 0);
    assert_non_null(strstr(o->out, "  LR: 1.0e-05 "));
    assert_prints(RUN("inspect", "--keys"), "TRAIN.LR ");
    cf_free(base);
    cf_free(path);
    test_folder_remove(folder);
}

static void a_dry_run_tells_the_plan(void **state)
{
    (void)state;
    char *folder = new_folder(), *path = test_path(folder, "c.yaml"), *out = test_path(folder, "o");
    const char *text = "DATA:\n  TRAIN_FILE: no.h5\nMODEL:\n  ARCH: ViT-B/16\n";
    assert_ok(cf_file_write(path, text, strlen(text)));
    const outcome *o = RUN("train", "-c", path, "--dry-run", "--output", out);
    assert_int_equal(o->status, 0);
    assert_non_null(strstr(o->out, "194.929 M numbers, 131.501 M trained; from weights that are "
                                   "missing\n"));
    assert_non_null(strstr(o->err, "labels/kinetics400.csv is read\n")); /* the shipped list */
    assert_non_null(strstr(o->out, "cost     287.0 GFLOP a view"));
    assert_non_null(strstr(o->out, "with TRAIN.USE_CHECKPOINT True "));
    assert_non_null(strstr(o->out, "missing  DATA.TRAIN_FILE no.h5: cannot open no.h5"));
    assert_null(strstr(o->out, "missing  OUTPUT"));
    assert_false(cf_is_folder(out));
    o = RUN("inspect", "-c", path);
    assert_non_null(strstr(o->out, "# cost     287.0 GFLOP a view"));
    assert_non_null(strstr(o->out, "# missing  OUTPUT: not set"));
    o = RUN("train", "-c", path, "--dry-run", "--batch-size", "100000");
    assert_non_null(strstr(o->out, "warning: this machine has "));
    assert_complains(RUN("train", "-c", path, "--dry-run", "--opts", "TEST.NUM_CROP=2"), 1,
                     "TEST.NUM_CROP must be 1 or 3");
    cf_free(out);
    cf_free(path);
    test_folder_remove(folder);
}

static void browse_draws_clips_and_views(void **state)
{
    (void)state;
    char *folder = new_folder();
    char *pack = test_path(folder, "x.h5"), *config = test_path(folder, "x.yaml"), *text;
    char *sheet = test_path(folder, "x.png"), *bytes;
    static const char *const classes[] = { "walking", "running" };
    static const uint8_t pixels[3 * 60 * 80 * 3];
    cf_pack_writer *w;
    size_t n;
    const cf_pack_options options = { .encoding = CF_ENCODING_RAW,
                                      .class_name = classes,
                                      .n_classes = 2 };
    assert_ok(cf_pack_writer_new(&w, pack, &options));
    assert_ok(cf_pack_writer_add(w, "a/b.mp4", 0, 25, pixels, 3, 60, 80));
    assert_ok(cf_pack_writer_add(w, "c", 1, 25, pixels, 2, 80, 60));
    assert_ok(cf_pack_writer_commit(w));
    assert_ok(cf_format(&text,
                        "DATA: {TRAIN_FILE: %s, VAL_FILE: %s, LABEL_LIST: '', NUM_CLASSES: 2}\n"
                        "TRAIN: {BATCH_SIZE: 2}\nTEST: {NUM_CLIP: 4, NUM_CROP: 3}\n",
                        pack, pack));
    assert_ok(cf_file_write(config, text, strlen(text)));
    cf_free(text);
    assert_prints(RUN("browse", "-c", config, "--out", sheet, "--clips", "2", "--epoch", "1"),
                  sheet);
    assert_prints(RUN("browse", "-c", config, "--out", sheet, "--views", "b.mp4"), sheet);
    assert_ok(cf_file_read(&bytes, &n, sheet));
    assert_memory_equal(bytes, "\211PNG", 4);
    cf_free(bytes);
    assert_complains(RUN("browse", "-c", config, "--out", sheet, "--views", "d"), 1, "no video d");
    assert_complains(RUN("browse", "-c", config), 1, "--out FILE.png");
    assert_complains(RUN("browse", "--out", sheet), 2, "-c CONFIG");
    assert_complains(
        RUN("browse", "-c", config, "--out", sheet, "--opts", "DATA.VAL_FILE=''", "--views", "0"),
        1, "DATA.VAL_FILE");
    cf_free(pack);
    cf_free(config);
    cf_free(sheet);
    test_folder_remove(folder);
}

static char *put(const char *folder, const char *name, const char *text)
{
    char *path = test_path(folder, name);
    assert_ok(cf_file_write(path, text, strlen(text)));
    return path;
}

static void tokenize_cuts_on_request(void **state)
{
    (void)state;
    char *folder = new_folder(), *bpe = put(folder, "m.txt", "l o\nlo w</w>\n");
    assert_prints(RUN("tokenize", "--bpe", bpe, "low lo"), "514 513 75 334 515\n");
    assert_complains(RUN("tokenize", "--bpe", bpe, "--context", "4", "low lo"), 1, "\"low lo\"");
    assert_prints(RUN("tokenize", "--bpe", bpe, "--context", "4", "--truncate", "low lo"),
                  "514 513 75 515\n");
    cf_free(bpe);
    test_folder_remove(folder);
}

static void splits_and_check(void **state)
{
    (void)state;
    char *folder = new_folder(), *out = test_path(folder, "out");
    char *labels = put(folder, "labels.csv", "id,name\n0,kick ball\n1,run\n");
    char *a = put(folder, "kick_ball_test_split1.txt", "a.avi 1\nb.avi 2\nc.avi 1\n");
    char *b = put(folder, "run_test_split1.txt", "d.avi 1\ne.avi 2\n");
    const outcome *o = RUN("splits", "hmdb51", "--source", folder, "--labels", labels, "--out", out,
                           "--split", "1", "--shots", "1", "--seed", "3");
    assert_prints(o, "train_split1.txt: 3 videos, labels 0 to 1");
    assert_prints(o, "train_split1_1-shot_seed3.txt: 2 videos");
    assert_complains(RUN("splits", "hmdb51", "--source", folder, "--labels", labels, "--out", out,
                         "--split", "1", "--shots", "2"),
                     1, "class 1 has 1 videos");
    assert_complains(RUN("splits", "moments", "--out", out), 2, "no dataset moments");
    assert_complains(RUN("splits", "hmdb51", "--out", out), 2, "--labels CSV is missing");
    char *train = test_path(out, "train_split1.txt");
    o = RUN("check", train, labels, "--root", folder, "--labels", labels);
    assert_int_equal(o->status, 1);
    assert_non_null(strstr(o->out, "kick_ball/a.avi is missing in"));
    assert_non_null(strstr(o->out, "0 videos, 3 problems\n"));
    assert_prints(RUN("check", train, labels, "--labels", labels), "0 problems\n");
    cf_free(train);
    cf_free(a);
    cf_free(b);
    cf_free(labels);
    cf_free(out);
    test_folder_remove(folder);
}

static void a_closed_output_is_a_failure(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK) != 0) skip();
    char *command;
    assert_ok(cf_format(&command, "exec %s inspect --keys >/dev/full 2>/dev/null", program()));
    int status = system(command);
    assert_int_equal(WEXITSTATUS(status), 1);
    cf_free(command);
}

TESTS(TEST(help_and_version), TEST(each_listed_command_helps), TEST(wrong_calls_exit_2),
      TEST(failures_exit_1), TEST(inspect_tells_of_a_checkpoint), TEST(inspect_tells_of_a_dataset),
      TEST(inspect_tells_of_a_configuration), TEST(a_dry_run_tells_the_plan),
      TEST(browse_draws_clips_and_views), TEST(tokenize_cuts_on_request), TEST(splits_and_check),
      TEST(a_closed_output_is_a_failure))
