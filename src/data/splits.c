/* Lists from the datasets' own files: UCF101, HMDB51, Kinetics. */
#include "crossframe/splits.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "splits_parts.h"

/* ---- lists ----------------------------------------------------------------------------------- */

void cf_split_fini(cf_split *s)
{
    for (size_t i = 0; i < s->n; i++) cf_free(s->video[i].path);
    cf_free(s->video);
    *s = (cf_split){ 0 };
}

cf_status split_add(cf_split *s, const char *path, int32_t label)
{
    CF_TRY(cf_grow(&s->video, &s->capacity, s->n + 1, sizeof *s->video));
    CF_TRY(cf_strdup(&s->video[s->n].path, path));
    s->video[s->n++].label = label;
    return CF_OK;
}

cf_status cf_split_text(char **out, const cf_split *s)
{
    size_t room = 1, used = 0;
    char *text;
    for (size_t i = 0; i < s->n; i++) room += strlen(s->video[i].path) + 16;
    CF_TRY(cf_alloc(&text, room, 1));
    *text = 0;
    for (size_t i = 0; i < s->n; i++)
        used += (size_t)snprintf(text + used, room - used, "%s %d\n", s->video[i].path,
                                 (int)s->video[i].label);
    *out = text;
    return CF_OK;
}

cf_status cf_split_write(const cf_split *s, const char *path)
{
    char *text;
    if (s->n == 0) return CF_FAIL(CF_EINVAL, "%s would be empty", path);
    CF_TRY(cf_split_text(&text, s));
    cf_status status = cf_file_write(path, text, strlen(text));
    cf_free(text);
    return status;
}

/* ---- names ----------------------------------------------------------------------------------- */

static char plain(char c)
{
    if (c >= 'A' && c <= 'Z') return (char)(c + 32);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (unsigned char)c >= 128 ? c : 0;
}

bool split_same_name(const char *a, size_t n_a, const char *b, size_t n_b)
{
    const char *a_end = a + n_a, *b_end = b + n_b;
    for (;;) {
        while (a < a_end && !plain(*a)) a++;
        while (b < b_end && !plain(*b)) b++;
        if (a == a_end || b == b_end) return a == a_end && b == b_end;
        if (plain(*a++) != plain(*b++)) return false;
    }
}

/* A class by its dataset's name: letter for letter if it is there, else normalised. */
static cf_status find_class(int32_t *out, const cf_split_classes *classes, const char *name,
                            size_t n)
{
    for (size_t i = 0; i < classes->n; i++)
        if (strlen(classes->name[i]) == n && memcmp(classes->name[i], name, n) == 0) {
            *out = (int32_t)i;
            return CF_OK;
        }
    for (size_t i = 0; i < classes->n; i++)
        if (split_same_name(classes->name[i], strlen(classes->name[i]), name, n)) {
            *out = (int32_t)i;
            return CF_OK;
        }
    return CF_FAIL(CF_ENOTFOUND, "the class '%.*s' is not among the %zu labels", (int)n, name,
                   classes->n);
}

/* ---- lines ----------------------------------------------------------------------------------- */

typedef cf_status line_fn(void *user, char *line);

/* Each line without its end and the blanks around it; blank ones are skipped. */
static cf_status each_line(const char *path, line_fn *fn, void *user)
{
    char *text, *rest;
    size_t n, number = 1;
    cf_status status = CF_OK;
    CF_TRY(cf_file_read(&text, &n, path));
    if (strlen(text) != n) CF_GO(CF_FAIL(CF_EFORMAT, "%s: not a text", path));
    rest = strncmp(text, "\xef\xbb\xbf", 3) == 0 ? text + 3 : text;
    for (char *line; status == CF_OK && (line = strsep(&rest, "\n")); number++) {
        line += strspn(line, " \t\r");
        for (char *end = line + strlen(line); end > line && strchr(" \t\r", end[-1]);) *--end = 0;
        if (*line) status = fn(user, line);
        if (status != CF_OK) cf_fail_context(status, "%s, line %zu", path, number);
    }
done:
    cf_free(text);
    return status;
}

/* Cuts the last field off a line, if it is a whole number. */
static bool cut_number(long *out, char *line)
{
    char *end, *field = line + strlen(line);
    while (field > line && field[-1] != ' ' && field[-1] != '\t') field--;
    *out = strtol(field, &end, 10);
    if (field == line || end == field || *end) return false;
    while (field > line && (field[-1] == ' ' || field[-1] == '\t')) *--field = 0;
    return true;
}

/* ---- UCF101 ---------------------------------------------------------------------------------- */

enum { MOST_CLASSES = 1000 };

typedef struct {
    const cf_split_classes *classes;
    int32_t label_of[MOST_CLASSES + 1]; /* by classInd.txt's number; -1 = none */
    cf_split *out;
} ucf101;

/* "1 ApplyEyeMakeup" */
static cf_status class_line(void *user, char *line)
{
    ucf101 *u = user;
    char *name;
    long number = strtol(line, &name, 10);
    if (name == line || (*name != ' ' && *name != '\t') || number < 1 || number > MOST_CLASSES)
        return CF_FAIL(CF_EFORMAT, "not a number and a class: '%.60s'", line);
    name += strspn(name, " \t");
    return find_class(&u->label_of[number], u->classes, name, strlen(name));
}

/* "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1"; no number in the lists for test. */
static cf_status video_line(void *user, char *line)
{
    ucf101 *u = user;
    long number = 0;
    int32_t label;
    bool numbered = cut_number(&number, line);
    const char *slash = strchr(line, '/');
    if (!slash) return CF_FAIL(CF_EFORMAT, "not CLASS/FILE: '%.80s'", line);
    CF_TRY(find_class(&label, u->classes, line, (size_t)(slash - line)));
    if (numbered && (number < 1 || number > MOST_CLASSES || u->label_of[number] != label))
        return CF_FAIL(CF_EFORMAT, "%ld is not the number of the class '%.*s' in classInd.txt",
                       number, (int)(slash - line), line);
    return split_add(u->out, line, label);
}

cf_status cf_split_ucf101(cf_split *train, cf_split *test, const char *folder, int split,
                          const cf_split_classes *classes)
{
    ucf101 u = { .classes = classes };
    char *path = NULL;
    cf_status status = CF_OK;
    memset(u.label_of, -1, sizeof u.label_of);
    CF_GO(cf_path_join(&path, folder, "classInd.txt"));
    CF_GO(each_line(path, class_line, &u));
    for (int side = 0; side < 2; side++) {
        char name[64];
        cf_free(path);
        path = NULL;
        snprintf(name, sizeof name, "%s%02d.txt", side == 0 ? "trainlist" : "testlist", split);
        CF_GO(cf_path_join(&path, folder, name));
        u.out = side == 0 ? train : test;
        CF_GO(each_line(path, video_line, &u));
    }
done:
    cf_free(path);
    return status;
}

/* ---- HMDB51 ---------------------------------------------------------------------------------- */

typedef struct {
    cf_split *train, *test;
    const char *folder; /* of the class */
    int32_t label;
} hmdb51;

static cf_status hmdb51_line(void *user, char *line)
{
    hmdb51 *h = user;
    long use;
    char *path;
    if (!cut_number(&use, line) || use < 0 || use > 2)
        return CF_FAIL(CF_EFORMAT, "not a file and 0, 1 or 2: '%.80s'", line);
    if (use == 0) return CF_OK;
    CF_TRY(cf_path_join(&path, h->folder, line));
    cf_status status = split_add(use == 1 ? h->train : h->test, path, h->label);
    cf_free(path);
    return status;
}

static cf_status hmdb51_file(hmdb51 *h, const char *folder, const char *file, const char *ending,
                             const cf_split_classes *classes, bool *seen)
{
    char *name = NULL, *path = NULL;
    cf_status status = CF_OK;
    size_t n = strlen(file) - strlen(ending);
    CF_GO(cf_format(&name, "%.*s", (int)n, file));
    CF_GO(cf_path_join(&path, folder, file));
    status = find_class(&h->label, classes, name, n);
    if (status != CF_OK) CF_GO(cf_fail_context(status, "%s", path));
    if (seen[h->label]) CF_GO(CF_FAIL(CF_EFORMAT, "%s: a second file of class %d", path, h->label));
    seen[h->label] = true;
    h->folder = name;
    CF_GO(each_line(path, hmdb51_line, h));
done:
    cf_free(name);
    cf_free(path);
    return status;
}

cf_status cf_split_hmdb51(cf_split *train, cf_split *test, const char *folder, int split,
                          const cf_split_classes *classes)
{
    hmdb51 h = { .train = train, .test = test };
    char ending[64];
    struct dirent **names = NULL;
    bool *seen = NULL;
    cf_status status = CF_OK;
    snprintf(ending, sizeof ending, "_test_split%d.txt", split);
    int n = scandir(folder, &names, NULL, alphasort);
    if (n < 0) return CF_FAIL(CF_ENOTFOUND, "cannot read the folder %s", folder);
    CF_GO(cf_alloc_zero(&seen, classes->n, sizeof *seen));
    for (int i = 0; i < n; i++) {
        const char *file = names[i]->d_name;
        size_t length = strlen(file), m = strlen(ending);
        if (length > m && strcmp(file + length - m, ending) == 0)
            CF_GO(hmdb51_file(&h, folder, file, ending, classes, seen));
    }
    for (size_t k = 0; k < classes->n; k++)
        if (!seen[k])
            CF_GO(CF_FAIL(CF_ENOTFOUND, "%s: no *%s of class %zu, \"%s\"", folder, ending, k,
                          classes->name[k]));
done:
    for (int i = 0; i < n; i++) free(names[i]);
    free(names);
    cf_free(seen);
    return status;
}

/* ---- Kinetics -------------------------------------------------------------------------------- */

enum { LABEL, ID, START, END, SPLIT, N_COLUMNS, MOST_FIELDS = 32 };
static const char *const column_name[N_COLUMNS] = { "label", "youtube_id", "time_start", "time_end",
                                                    "split" };

typedef struct {
    cf_split *out;
    const char *naming;
    const cf_split_classes *classes;
    int column[N_COLUMNS]; /* -1 = not there */
    bool header_read;
    int32_t last_label; /* rows come class by class */
} kinetics;

/* Fields of a CSV line, without quotes, in place. */
static size_t cut_fields(char **field, char *line)
{
    size_t n = 0;
    for (char *from = line, *to; from && n < MOST_FIELDS;) {
        bool quoted = *from == '"';
        field[n++] = to = from;
        if (quoted) from++;
        while (*from && (quoted || *from != ',')) {
            if (quoted && *from == '"' && *++from != '"') {
                quoted = false;
                continue;
            }
            *to++ = *from++;
        }
        char *next = *from ? from + 1 : NULL;
        *to = 0;
        from = next;
    }
    return n;
}

static cf_status read_header(kinetics *k, char *const *field, size_t n)
{
    for (int c = 0; c < N_COLUMNS; c++) {
        k->column[c] = -1;
        for (size_t i = 0; i < n; i++)
            if (strcmp(field[i], column_name[c]) == 0) k->column[c] = (int)i;
        if (k->column[c] < 0 && c != SPLIT)
            return CF_FAIL(CF_EFORMAT, "the header has no column '%s'", column_name[c]);
    }
    k->header_read = true;
    return CF_OK;
}

/* Seconds, whole or with a fraction, as the file names have them. */
static cf_status six_digits(char out[16], const char *text)
{
    char *end;
    double s = strtod(text, &end);
    if (end == text || *end || !(s >= 0 && s < 1e6))
        return CF_FAIL(CF_EFORMAT, "'%.40s' is no time in seconds", text);
    snprintf(out, 16, "%06ld", (long)s);
    return CF_OK;
}

static cf_status append(char **text, const char *more, size_t n)
{
    char *longer;
    CF_TRY(cf_format(&longer, "%s%.*s", *text ? *text : "", (int)n, more));
    cf_free(*text);
    *text = longer;
    return CF_OK;
}

static cf_status fill_name(char **out, const char *naming, const char *const value[N_COLUMNS])
{
    static const char *const hole[] = {
        "{label}", "{id}", "{start}", "{end}", "{split}", "{label_}"
    };
    cf_status status = CF_OK;
    char *text = NULL;
    for (const char *p = naming; *p;) {
        size_t h = 0, n = strcspn(p, "{");
        if (n > 0) {
            CF_GO(append(&text, p, n));
            p += n;
            continue;
        }
        while (h < 6 && strncmp(p, hole[h], strlen(hole[h])) != 0) h++;
        if (h == 6) CF_GO(CF_FAIL(CF_EINVAL, "the naming has no such part: %.20s", p));
        const char *v = value[h == 5 ? LABEL : h];
        size_t from = text ? strlen(text) : 0;
        CF_GO(append(&text, v, strlen(v)));
        for (char *c = text + from; h == 5 && *c; c++)
            if (*c == ' ') *c = '_';
        p += strlen(hole[h]);
    }
    *out = text;
    text = NULL;
done:
    cf_free(text);
    return status;
}

static cf_status kinetics_line(void *user, char *line)
{
    kinetics *k = user;
    char *field[MOST_FIELDS], *path = NULL, start[16], end[16];
    const char *value[N_COLUMNS] = { 0 };
    int32_t label = k->last_label;
    size_t n = cut_fields(field, line);
    if (!k->header_read) return read_header(k, field, n);
    for (int c = 0; c < N_COLUMNS; c++) {
        if (k->column[c] >= (int)n)
            return CF_FAIL(CF_EFORMAT, "%zu fields, the column '%s' is missing", n, column_name[c]);
        value[c] = k->column[c] < 0 ? "" : field[k->column[c]];
    }
    if (!*value[ID] || strpbrk(value[ID], "/ \t"))
        return CF_FAIL(CF_EFORMAT, "'%.40s' is no youtube_id", value[ID]);
    CF_TRY(six_digits(start, value[START]));
    CF_TRY(six_digits(end, value[END]));
    value[START] = start;
    value[END] = end;
    if (label < 0 || strcmp(k->classes->name[label], value[LABEL]) != 0)
        CF_TRY(find_class(&label, k->classes, value[LABEL], strlen(value[LABEL])));
    k->last_label = label;
    CF_TRY(fill_name(&path, k->naming, value));
    cf_status status = split_add(k->out, path, label);
    cf_free(path);
    return status;
}

cf_status cf_split_kinetics(cf_split *out, const char *csv, const char *naming,
                            const cf_split_classes *classes)
{
    kinetics k = { .out = out,
                   .naming = naming ? naming : "{id}_{start}_{end}.mp4",
                   .classes = classes,
                   .last_label = -1 };
    if (!*k.naming) return CF_FAIL(CF_EINVAL, "the naming of the files is empty");
    return each_line(csv, kinetics_line, &k);
}
