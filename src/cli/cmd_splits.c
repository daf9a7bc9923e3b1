/* crossframe splits: lists of videos from the datasets' own files.
 *
 *   splits ucf101|hmdb51 --source DIR --labels CSV --out DIR [--split N] [--shots 2,4 --seed S]
 *   splits kinetics --source DIR --labels CSV --out DIR [--naming TEXT]
 *   splits pack --source PACK[#SPLIT] --labels CSV --out DIR
 *   splits zeroshot-k600 --labels CSV --seen CSV --out DIR [--source DIR] [--seed S]
 *
 * Lists are OUT/train_splitN.txt, OUT/test_splitN.txt (ucf101, hmdb51), OUT/train.txt, OUT/val.txt
 * (kinetics), OUT/NAME.txt for NAME.csv (pack), OUT/train_splitN_K-shot_seedS.txt,
 * OUT/zeroshot_setN.csv and, where the source has validate.csv, OUT/zeroshot_setN.txt. */
#include "cli.h"

#include "crossframe/predict.h"
#include "crossframe/splits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETS = 3, MOST_SHOTS = 16 };

typedef struct {
    const char *source, *out, *labels, *seen, *naming, *shots;
    int64_t seed, split, size;
    cf_labels names, seen_names;
    long shot[MOST_SHOTS];
    size_t n_shots;
} call;

static cf_split_classes classes_of(const cf_labels *l)
{
    return (cf_split_classes){ (const char *const *)l->name, l->n };
}

static cf_status write_list(const call *c, const cf_split *s, const char *name)
{
    char *path;
    int32_t most = -1;
    CF_TRY(cf_path_join(&path, c->out, name));
    cf_status status = cf_split_write(s, path);
    for (size_t i = 0; i < s->n; i++)
        if (s->video[i].label > most) most = s->video[i].label;
    if (status == CF_OK) printf("%s: %zu videos, labels 0 to %d\n", path, s->n, most);
    cf_free(path);
    return status;
}

static cf_status write_shots(const call *c, const cf_split *train, int split)
{
    for (size_t i = 0; i < c->n_shots; i++) {
        char name[96];
        cf_split few = { 0 };
        snprintf(name, sizeof name, "train_split%d_%ld-shot_seed%lld.txt", split, c->shot[i],
                 (long long)c->seed);
        cf_status status = cf_split_shots(&few, train, (size_t)c->shot[i], (uint64_t)c->seed);
        if (status == CF_OK) status = write_list(c, &few, name);
        cf_split_fini(&few);
        CF_TRY_CTX(status, "%ld shots of split %d", c->shot[i], split);
    }
    return CF_OK;
}

static cf_status make_split(const call *c, bool is_ucf, int split)
{
    cf_split train = { 0 }, test = { 0 };
    cf_split_classes classes = classes_of(&c->names);
    char name[64];
    cf_status status = CF_OK;
    if (is_ucf)
        CF_GO(cf_split_ucf101(&train, &test, c->source, split, &classes));
    else
        CF_GO(cf_split_hmdb51(&train, &test, c->source, split, &classes));
    snprintf(name, sizeof name, "train_split%d.txt", split);
    CF_GO(write_list(c, &train, name));
    snprintf(name, sizeof name, "test_split%d.txt", split);
    CF_GO(write_list(c, &test, name));
    if (split == 1) CF_GO(write_shots(c, &train, split));
done:
    cf_split_fini(&train);
    cf_split_fini(&test);
    return status;
}

/* The first of these files that is there. */
static cf_status read_kinetics(cf_split *out, const call *c, const char *first, const char *second)
{
    char *path = NULL;
    cf_split_classes classes = classes_of(&c->names);
    CF_TRY(cf_path_join(&path, c->source, first));
    if (second && !cf_file_exists(path)) {
        cf_free(path);
        CF_TRY(cf_path_join(&path, c->source, second));
    }
    cf_status status = cf_split_kinetics(out, path, c->naming, &classes);
    cf_free(path);
    return status;
}

static cf_status make_kinetics(const call *c)
{
    cf_split s = { 0 };
    cf_status status = CF_OK;
    CF_GO(read_kinetics(&s, c, "train.csv", NULL));
    CF_GO(write_list(c, &s, "train.txt"));
    cf_split_fini(&s);
    CF_GO(read_kinetics(&s, c, "validate.csv", "val.csv"));
    CF_GO(write_list(c, &s, "val.txt"));
done:
    cf_split_fini(&s);
    return status;
}

/* The videos of the classes that --labels names, in a list called as that file. */
static cf_status make_of_pack(const call *c)
{
    cf_dataset *d = NULL;
    cf_split s = { 0 };
    cf_split_classes classes = classes_of(&c->names);
    char name[256];
    const char *base = strrchr(c->labels, '/');
    base = base ? base + 1 : c->labels;
    const char *dot = strrchr(base, '.');
    snprintf(name, sizeof name, "%.*s.txt", (int)(dot ? dot - base : (long)strlen(base)), base);
    cf_status status = CF_OK;
    CF_GO(cf_dataset_open(&d, c->source, NULL));
    CF_GO(cf_split_named(&s, d, &classes));
    CF_GO(write_list(c, &s, name));
done:
    cf_dataset_free(d);
    cf_split_fini(&s);
    return status;
}

static cf_status write_names(const call *c, const size_t *set, size_t n, const char *name)
{
    char *text = NULL, *path = NULL;
    size_t used = 0, room = 16;
    cf_status status = CF_OK;
    for (size_t i = 0; i < n; i++) room += 2 * strlen(c->names.name[set[i]]) + 32;
    CF_GO(cf_alloc(&text, room, 1));
    used += (size_t)sprintf(text, "id,name\n");
    for (size_t i = 0; i < n; i++) {
        used += (size_t)sprintf(text + used, "%zu,", i);
        used += cf_csv_field(text + used, c->names.name[set[i]]);
        text[used++] = '\n';
    }
    CF_GO(cf_path_join(&path, c->out, name));
    CF_GO(cf_file_write(path, text, used));
    printf("%s: %zu classes\n", path, n);
done:
    cf_free(text);
    cf_free(path);
    return status;
}

static cf_status write_set(const call *c, const size_t *unseen, size_t n, const cf_split *all,
                           uint32_t number)
{
    size_t *set = NULL;
    cf_split picked = { 0 };
    char name[64];
    cf_status status = CF_OK;
    CF_GO(cf_alloc(&set, (size_t)c->size, sizeof *set));
    CF_GO(cf_split_draw(set, (size_t)c->size, unseen, n, (uint64_t)c->seed, number));
    snprintf(name, sizeof name, "zeroshot_set%u.csv", number);
    CF_GO(write_names(c, set, (size_t)c->size, name));
    if (all->n == 0) goto done;
    CF_GO(cf_split_pick(&picked, all, set, (size_t)c->size));
    snprintf(name, sizeof name, "zeroshot_set%u.txt", number);
    CF_GO(write_list(c, &picked, name));
done:
    cf_free(set);
    cf_split_fini(&picked);
    return status;
}

static cf_status make_zero_shot(const call *c)
{
    cf_split_classes classes = classes_of(&c->names), seen = classes_of(&c->seen_names);
    size_t *unseen = NULL, n = 0, n_near = 0;
    cf_split all = { 0 };
    cf_status status = CF_OK;
    CF_GO(cf_split_unseen(&unseen, &n, &classes, &seen));
    if (c->source) CF_GO(read_kinetics(&all, c, "validate.csv", "val.csv"));
    printf("%zu of %zu classes are not among the %zu seen ones\n", n, classes.n, seen.n);
    for (size_t i = 0; i < n; i++) {
        const char *name = classes.name[unseen[i]], *near = cf_split_near(name, &seen);
        if (near) printf("near-duplicate: \"%s\" and the seen \"%s\"\n", name, near);
        n_near += near != NULL;
    }
    printf("%zu near-duplicates among them are not left out\n", n_near);
    for (uint32_t set = 1; set <= SETS; set++) CF_GO(write_set(c, unseen, n, &all, set));
done:
    cf_free(unseen);
    cf_split_fini(&all);
    return status;
}

static cf_status run(call *c, const char *dataset)
{
    CF_TRY_CTX(cf_labels_read_csv(&c->names, c->labels), "--labels");
    if (c->seen) CF_TRY_CTX(cf_labels_read_csv(&c->seen_names, c->seen), "--seen");
    CF_TRY(cf_make_folders(c->out));
    if (strcmp(dataset, "zeroshot-k600") == 0) return make_zero_shot(c);
    if (strcmp(dataset, "kinetics") == 0) return make_kinetics(c);
    if (strcmp(dataset, "pack") == 0) return make_of_pack(c);
    for (int split = 1; split <= 3; split++)
        if (c->split == 0 || c->split == split)
            CF_TRY(make_split(c, strcmp(dataset, "ucf101") == 0, split));
    return CF_OK;
}

/* "2,4,8,16"; false: it is no such list. */
static bool read_shots(call *c)
{
    const char *at = c->shots;
    while (at) {
        char *end;
        long k = strtol(at, &end, 10);
        if (end == at || (*end && *end != ',') || k < 1 || k > 1000000 || c->n_shots == MOST_SHOTS)
            return false;
        c->shot[c->n_shots++] = k;
        at = *end ? end + 1 : NULL;
    }
    return true;
}

/* 0, or the exit status after a complaint. */
static int check_call(call *c, const char *dataset)
{
    static const char *const known[] = { "ucf101", "hmdb51", "kinetics", "zeroshot-k600", "pack" };
    size_t k = 0;
    while (k < 5 && strcmp(dataset, known[k]) != 0) k++;
    if (k == 5)
        return cli_misused("splits",
                           "no dataset %s; there are ucf101, hmdb51, kinetics, zeroshot-k600 and "
                           "pack",
                           dataset);
    if (!c->out) return cli_misused("splits", "--out DIR is missing");
    if (!c->labels) return cli_misused("splits", "--labels CSV is missing");
    if (!c->source && k != 3) return cli_misused("splits", "--source DIR is missing");
    if (!c->seen && k == 3) return cli_misused("splits", "--seen CSV is missing");
    if (c->shots && k > 1) return cli_misused("splits", "--shots is for ucf101 and hmdb51");
    if (c->shots && c->split > 1) return cli_misused("splits", "--shots draws from split 1");
    if (!read_shots(c)) return cli_misused("splits", "--shots takes numbers as 2,4,8,16");
    return 0;
}

int cmd_splits(int argc, char **argv)
{
    call c = { .size = 160 };
    const cli_option options[] = {
        { "source", 0, CLI_TEXT, &c.source, "DIR", "the dataset's own split files", 0, 0 },
        { "labels", 0, CLI_TEXT, &c.labels, "CSV", "class names `id,name`: configs/labels/...", 0,
          0 },
        { "out", 0, CLI_TEXT, &c.out, "DIR", "where the lists go", 0, 0 },
        { "split", 0, CLI_SIZE, &c.split, "N", "only split 1, 2 or 3", 1, 3 },
        { "shots", 0, CLI_TEXT, &c.shots, "K,...", "also lists of K videos a class, of split 1", 0,
          0 },
        { "seed", 0, CLI_SIZE, &c.seed, "S", "of these draws, and of the class sets (0)", 0, 9e15 },
        { "naming", 0, CLI_TEXT, &c.naming, "TEXT", "kinetics: file names ({id}_{start}_{end}.mp4)",
          0, 0 },
        { "seen", 0, CLI_TEXT, &c.seen, "CSV", "zeroshot-k600: the classes of training", 0, 0 },
        { "classes", 0, CLI_SIZE, &c.size, "N", "zeroshot-k600: classes of a set (160)", 1, 1e6 },
    };
    const cli_command command = {
        .name = "splits",
        .usage = "ucf101|hmdb51|kinetics|zeroshot-k600|pack --labels CSV --out DIR [options]",
        .summary = "makes lists of videos from the datasets' own split files",
        .options = options,
        .n_options = sizeof options / sizeof *options,
        .least = 1,
        .most = 1,
        .notes =
            "ucf101 reads classInd.txt, trainlist0N.txt and testlist0N.txt, hmdb51 "
            "CLASS_test_splitN.txt,\nkinetics train.csv and validate.csv; zeroshot-k600 draws "
            "three sets of the classes that\n--seen does not have, and lists the videos of "
            "validate.csv if --source is given. pack takes of --source PACK the videos of the "
            "classes\n"
            "that --labels names, under its numbers, into OUT/NAME.txt for NAME.csv.\n"
            "--naming knows {id} {start} {end} {label} "
            "{label_} {split}. A draw depends on the seed alone;\ntwo shots are among the four.",
    };
    cli_args args;
    int status = 0;
    if (!cli_parse(&args, &status, &command, argc, argv)) return status;
    status = check_call(&c, args.positional[0]);
    if (status == 0 && run(&c, args.positional[0]) != CF_OK) status = cli_failed();
    cf_labels_fini(&c.names);
    cf_labels_fini(&c.seen_names);
    cli_args_free(&args);
    return status;
}
