/* Where DATA.LABEL_LIST is looked for: as it stands, round the YAML file, among the shipped. */
#include "../test_in_folder.h"

#include "crossframe/train.h"

static char logged[4096];
static void remember(void *user, cf_log_level level, const char *line)
{
    (void)user;
    (void)level;
    snprintf(logged, sizeof logged, "%s", line);
}

static void put(const char *name, const char *text)
{
    char *file = test_path(folder, name), *in;
    assert_ok(cf_path_folder(&in, file));
    assert_ok(cf_make_folders(in));
    assert_ok(cf_file_write(file, text, strlen(text)));
    cf_free(in);
    cf_free(file);
}

/* The configuration FOLDER/configs/k400/a.yaml, which names this list. */
static cf_config *with_list(const char *list)
{
    char *text, *file = test_path(folder, "configs/k400/a.yaml");
    cf_config *c;
    assert_ok(cf_format(&text, "BASE: ''\nDATA:\n  LABEL_LIST: '%s'\n", list));
    put("configs/k400/a.yaml", text);
    assert_ok(cf_config_load(&c, file, NULL, 0));
    cf_free(text);
    cf_free(file);
    return c;
}

/* It is found at FOLDER/expected; the configuration then says `kept`, NULL: that path. */
static void assert_found(cf_config *c, const char *share, const char *expected, const char *kept)
{
    char *found, *file = test_path(folder, expected);
    *logged = 0;
    cf_log_set(remember, NULL);
    assert_ok(cf_label_list_find(&found, c, share));
    cf_log_set(NULL, NULL);
    assert_string_equal(found, file);
    assert_string_equal(c->data.label_list, kept ? kept : file);
    cf_free(found);
    cf_free(file);
    cf_config_free(c);
}

static void round_the_yaml_file(void **state)
{
    (void)state;
    const char *list = "labels/hmdb_51_labels.csv";
    put("labels/hmdb_51_labels.csv", "");
    assert_found(with_list(list), NULL, list, NULL); /* the published layout */
    assert_non_null(strstr(logged, "DATA.LABEL_LIST labels/hmdb_51_labels.csv: "));
    put("configs/labels/hmdb_51_labels.csv", "");
    assert_found(with_list(list), NULL, "configs/labels/hmdb_51_labels.csv", NULL);
    put("configs/k400/labels/hmdb_51_labels.csv", "");
    assert_found(with_list(list), NULL, "configs/k400/labels/hmdb_51_labels.csv", NULL);
    assert_found(with_list("../labels/hmdb_51_labels.csv"), NULL,
                 "configs/k400/../labels/hmdb_51_labels.csv", NULL);
    char *whole = test_path(folder, list);
    assert_found(with_list(whole), NULL, list, NULL);
    assert_string_equal(logged, ""); /* as it stands */
    cf_free(whole);
}

/* A list that another file or the command line names: beside its file, or the one of -c. */
static void of_base_and_of_the_command_line(void **state)
{
    (void)state;
    char *file = test_path(folder, "b/top.yaml");
    cf_config *c;
    put("a/base.yaml", "DATA:\n  LABEL_LIST: names.csv\n");
    put("a/names.csv", "");
    put("b/names.csv", "");
    put("b/top.yaml", "BASE: [../a/base.yaml]\n");
    assert_ok(cf_config_load(&c, file, NULL, 0));
    assert_found(c, NULL, "b/../a/names.csv", NULL);
    const char *opts[] = { "DATA.LABEL_LIST=names.csv" };
    assert_ok(cf_config_load(&c, file, opts, 1));
    assert_found(c, NULL, "b/names.csv", NULL);
    cf_free(file);
}

static void the_shipped_of_the_same_classes(void **state)
{
    (void)state;
    static const char *const pairs[][2] = { { "kinetics_400_labels.csv", "kinetics400.csv" },
                                            { "kinetics_600_labels.csv", "kinetics600.csv" },
                                            { "hmdb_51_labels.csv", "hmdb51.csv" },
                                            { "ucf_101_labels.csv", "ucf101.csv" } };
    char *share = test_path(folder, "share");
    for (size_t i = 0; i < 4; i++) {
        char *list, *shipped;
        assert_ok(cf_format(&list, "labels/%s", pairs[i][0]));
        assert_ok(cf_format(&shipped, "share/labels/%s", pairs[i][1]));
        put(shipped, "");
        assert_found(with_list(list), share, shipped, list);
        cf_free(list);
        cf_free(shipped);
        /* and it is really there */
        assert_ok(cf_format(&shipped, "configs/labels/%s", pairs[i][1]));
        assert_true(cf_file_exists(shipped));
        cf_free(shipped);
    }
    cf_config *c;
    assert_ok(cf_config_load(&c, NULL, NULL, 0));
    assert_found(c, share, "share/labels/kinetics400.csv", "labels/kinetics_400_labels.csv");
    cf_free(share);
}

static void nowhere(void **state)
{
    (void)state;
    char *found, *places;
    cf_config *c = with_list("labels/own.csv");
    assert_fails(cf_label_list_find(&found, c, NULL), CF_ENOTFOUND,
                 "DATA.LABEL_LIST labels/own.csv does not exist, nor in ");
    assert_ok(cf_format(&places, "nor in %s/configs/k400, %s/configs, %s (%s/", folder, folder,
                        folder, folder));
    assert_non_null(strstr(cf_error(), places));
    assert_non_null(strstr(cf_error(), "a.yaml:3)"));
    cf_free(places);
    cf_config_free(c);
    c = with_list("/there/is/no/kinetics_400_labels.csv"); /* not another one in its place */
    assert_fails(cf_label_list_find(&found, c, "configs"), CF_ENOTFOUND, "does not exist");
    cf_config_free(c);
    c = with_list("labels/ucf_101_labels.csv");
    assert_fails(cf_label_list_find(&found, c, NULL), CF_ENOTFOUND, "no shipped lists are there");
    assert_fails(cf_label_list_find(&found, c, folder), CF_ENOTFOUND, "nor is it shipped");
    cf_config_free(c);
}

static void failed_allocations(void **state)
{
    (void)state;
    put("names.csv", "");
    cf_status status = CF_ENOMEM;
    for (size_t n = 1; status != CF_OK; n++) {
        char *found = NULL;
        cf_config *c = with_list("names.csv");
        cf_memory_fail_at(n);
        status = cf_label_list_find(&found, c, NULL);
        cf_memory_fail_at(0);
        if (status != CF_OK) assert_int_equal(status, CF_ENOMEM);
        cf_free(found);
        cf_config_free(c);
    }
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = { IN_FOLDER(round_the_yaml_file),
                                        IN_FOLDER(of_base_and_of_the_command_line),
                                        IN_FOLDER(the_shipped_of_the_same_classes),
                                        IN_FOLDER(nowhere), IN_FOLDER(failed_allocations) };
    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
