/* Frozen weights set aside: out of memory, and still what is written to a checkpoint. */
#include "../test_in_folder.h"

#include "crossframe/models.h"

#include <dirent.h>

enum { ALL = 5 };
static const char *const names[ALL] = { "text.a", "text.b", "keep", "text.c", "trained" };
static const size_t sizes[ALL] = { (size_t)4 << 20, 5000, 100, 7, 1000 };

static bool trains(const char *name, const void *user)
{
    (void)user;
    return strcmp(name, "trained") == 0;
}

static bool is_text(const char *name, const void *user)
{
    (void)user;
    return strncmp(name, "t", 1) == 0; /* "trained" too, which is not frozen */
}

static cf_params *new_set(cf_tensor *tensor[ALL])
{
    cf_params *p;
    assert_ok(cf_params_new(&p));
    for (size_t i = 0; i < ALL; i++)
        assert_ok(cf_params_add(&tensor[i], p, (cf_init){ CF_INIT_NORMAL, 1 },
                                cf_shape_of(sizes[i]), "%s", names[i]));
    assert_ok(cf_params_alloc(p, trains, NULL));
    cf_params_init(p, 1);
    return p;
}

static void write_set(const cf_params *p, const char *path)
{
    cf_st_tensor t[ALL];
    for (size_t i = 0; i < ALL; i++) {
        const cf_param *q = cf_params_get(p, i);
        t[i] = cf_param_as_st(q, q->tensor.name, q->tensor.data);
    }
    assert_ok(cf_st_write_checked(path, t, ALL, NULL, 0));
}

static size_t resident_now(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%*u %lu", &pages), 1);
    fclose(f);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

static size_t entries(const char *path)
{
    size_t n = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    while (readdir(d)) n++;
    closedir(d);
    return n;
}

static void files_are_the_same_before_and_after(void **state)
{
    (void)state;
    cf_tensor *tensor[ALL];
    cf_params *p = new_set(tensor);
    char *before = test_path(folder, "before"), *after = test_path(folder, "after");
    write_set(p, before);
    size_t n_files = entries(folder), resident = resident_now();
    assert_ok(cf_params_set_aside(p, is_text, NULL, folder));
    assert_int_equal(entries(folder), n_files); /* it has no name */
    assert_true(resident_now() + sizes[0] * sizeof(cf_real) * 9 / 10 < resident);
    for (size_t i = 0; i < ALL; i++) {
        bool aside = i == 0 || i == 1 || i == 3;
        assert_int_equal(tensor[i]->data == NULL, aside);
        assert_int_equal(cf_params_get(p, i)->aside, aside ? CF_ASIDE_FILE : CF_ASIDE_NOT);
    }
    write_set(p, after);
    char *a, *b;
    size_t n, m;
    assert_ok(cf_file_read(&a, &n, before));
    assert_ok(cf_file_read(&b, &m, after));
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    cf_free(a);
    cf_free(b);
    cf_free(before);
    cf_free(after);
    cf_params_free(p);
}

static void what_is_aside_cannot_be_computed_with(void **state)
{
    (void)state;
    cf_tensor *tensor[ALL];
    cf_params *p = new_set(tensor);
    cf_tape *t;
    assert_ok(cf_tape_new(&t, NULL));
    assert_ok(cf_params_set_aside(p, is_text, NULL, NULL));
    assert_int_equal(cf_params_get(p, 0)->aside, CF_ASIDE_GONE);
    assert_non_null(cf_scale(t, tensor[2], 1));
    assert_non_null(cf_scale(t, tensor[4], 1));
    assert_null(cf_scale(t, tensor[1], 1));
    assert_fails(cf_tape_status(t), CF_EINVAL, "scale: text.b was set aside");
    cf_tape_free(t);
    cf_params_free(p);
}

static void a_failure_changes_nothing(void **state)
{
    (void)state;
    cf_tensor *tensor[ALL];
    cf_params *p = new_set(tensor);
    char *nowhere = test_path(folder, "nowhere");
    assert_fails(cf_params_set_aside(p, is_text, NULL, nowhere), CF_ENOTFOUND, "nowhere");
    for (size_t i = 0; i < ALL; i++) assert_non_null(tensor[i]->data);
    assert_ok(cf_params_set_aside(p, is_text, NULL, folder));
    assert_null(tensor[0]->data);
    cf_free(nowhere);
    cf_params_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = { TEST(files_are_the_same_before_and_after),
                                        TEST(what_is_aside_cannot_be_computed_with),
                                        TEST(a_failure_changes_nothing) };
    return cmocka_run_group_tests(tests, folder_setup, folder_teardown) != 0;
}
