/* Names of published weights: which file they mean, and what a run starts from without weights. */
#include "micro.h"

static void names_and_paths(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *found = NULL;
    char *file = test_path(folder, "ViT-L-14-336px.pt");
    assert_string_equal(cf_published_file("ViT-B/32"), "ViT-B-32.pt");
    assert_string_equal(cf_published_file("zero"), "zero.pth");
    assert_null(cf_published_file("ViT-B-32.pt"));
    assert_fails(cf_weights_locate(&found, "ViT-L/14@336px", folder), CF_ENOTFOUND,
                 "get it: scripts/get-weights ViT-L/14@336px");
    assert_fails(cf_weights_locate(&found, "zero", NULL), CF_ENOTFOUND,
                 "get it: scripts/get-weights zero");
    assert_null(found);
    assert_ok(cf_file_write(file, "x", 1));
    assert_ok(cf_weights_locate(&found, "ViT-L/14@336px", folder));
    assert_string_equal(found, file);
    cf_free(found);
    assert_ok(
        cf_weights_locate(&found, "no/such/file.pt", folder)); /* whoever opens it complains */
    assert_string_equal(found, "no/such/file.pt");
    cf_free(found);
    cf_free(file);
    test_folder_remove(folder);
}

/* `more` trains nothing: cf_run_new fails with this text. */
static void assert_no_run(const char *folder, const char *cache, const char *const *more,
                          const char *text)
{
    const cf_run_options o = { .cache = cache };
    cf_config *c = micro_config(folder, "run", more);
    cf_run *r = NULL;
    if (cf_run_new(&r, c, &o) == CF_OK) fail_msg("a run without weights starts");
    if (!strstr(cf_error(), text)) fail_msg("\"%s\" does not say \"%s\"", cf_error(), text);
    cf_config_free(c);
}

static void a_published_architecture_starts_from_clip(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *file = test_path(folder, "ViT-B-32.pt");
#define B32                                                                                        \
    "MODEL.ARCH=ViT-B/32", "MODEL.PATCH_SIZE=0", "MODEL.VISION_WIDTH=0", "MODEL.VISION_LAYERS=0",  \
        "MODEL.EMBED_DIM=0", "MODEL.TEXT_WIDTH=0", "MODEL.TEXT_LAYERS=0",                          \
        "MODEL.CONTEXT_LENGTH=0", "DATA.INPUT_SIZE=224"
    const char *const unset[] = { B32, NULL };
    const char *const scratch[] = { B32, "MODEL.PRETRAINED=scratch", NULL };
    const char *const named[] = { "MODEL.PRETRAINED=k400_32_8", NULL };
    assert_no_run(folder, folder, unset, "get it: scripts/get-weights ViT-B/32");
    assert_no_run(folder, folder, unset, "scratch starts from random values");
    assert_no_run(folder, NULL, unset, "get it: scripts/get-weights ViT-B/32");
    assert_no_run(folder, folder, named, "get it: scripts/get-weights k400_32_8");
    assert_ok(cf_file_write(file, "no weights", 10));
    assert_no_run(folder, folder, unset, file);
    /* from random values: the next thing that does not fit is the tiny vocabulary */
    assert_no_run(folder, folder, scratch, "not the vocabulary");
    cf_free(file);
    test_folder_remove(folder);
}

static void custom_starts_from_random_values(void **state)
{
    (void)state;
    char *folder = micro_folder(false);
    const char *const scratch[] = { "MODEL.PRETRAINED=scratch", NULL };
    assert_fails(micro_train(micro_config(folder, "a", NULL), 1), CF_EINTERRUPTED, "step 1");
    assert_fails(micro_train(micro_config(folder, "b", scratch), 1), CF_EINTERRUPTED, "step 1");
    char *a = test_path(folder, "a/last.safetensors"), *b = test_path(folder, "b/last.safetensors");
    assert_same_tensors(a, b);
    cf_free(a);
    cf_free(b);
    test_folder_remove(folder);
}

TESTS(TEST(names_and_paths), TEST(a_published_architecture_starts_from_clip),
      TEST(custom_starts_from_random_values))
