/* MODEL.VIDEO: what it asks of other keys, and runs of each variant that stop, go on, are tested
 * and refused. */
#include "micro.h"

static cf_config *parse(const char *text)
{
    cf_config *c;
    assert_ok(cf_config_parse(&c, text, strlen(text), "x.yaml"));
    return c;
}

static const char *origin(const cf_config *c, const char *key)
{
    size_t index;
    assert_non_null(cf_config_find(&index, key));
    return c->origin[index];
}

static void keys_follow(void **state)
{
    (void)state;
    cf_config *c = parse("MODEL: {VIDEO: one}\n");
    assert_ok(cf_config_settle_model(c));
    assert_int_equal(c->data.num_frames, 1);
    assert_int_equal(c->model.mit_layers, 0);
    assert_string_equal(origin(c, "DATA.NUM_FRAMES"), "MODEL.VIDEO one");
    assert_ok(cf_config_settle_model(c)); /* nothing is left to do */
    cf_config_free(c);
    c = parse("MODEL: {VIDEO: joint}\n");
    assert_ok(cf_config_settle_model(c));
    assert_int_equal(c->data.num_frames, 8);
    assert_int_equal(c->model.mit_layers, 0);
    assert_string_equal(origin(c, "MODEL.MIT_LAYERS"), "MODEL.VIDEO joint");
    cf_config_free(c);
    c = parse("MODEL: {VIDEO: mean}\n");
    assert_ok(cf_config_settle_model(c));
    assert_int_equal(c->model.mit_layers, 1);
    assert_null(origin(c, "MODEL.MIT_LAYERS"));
    cf_config_free(c);
}

static void contradictions_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *line;
    } cases[] = {
        { "DATA: {NUM_FRAMES: 8}\nMODEL: {VIDEO: one}\n",
          "DATA.NUM_FRAMES 8 (x.yaml:1) does not go with MODEL.VIDEO one (x.yaml:2): it sees one "
          "frame of a video; it must be 1, or not be given" },
        { "MODEL: {VIDEO: one, MIT_LAYERS: 1}\n", "one frame leaves MIT nothing to integrate" },
        { "DATA: {SAMPLING: dense}\nMODEL: {VIDEO: one}\n", "drawn from the whole video" },
        { "TEST: {SAMPLING: dense}\nMODEL: {VIDEO: one}\n", "drawn from the whole video" },
        { "MODEL: {HEAD: fc, PROMPT: video}\n",
          "MODEL.PROMPT video (x.yaml:1) does not go with MODEL.HEAD fc (x.yaml:1): a fully "
          "connected head has no text to prompt; it must be none" },
        { "MODEL: {VIDEO: joint, MIT_LAYERS: 2}\n", "its one class token is the video's feature, "
                                                    "MIT has nothing to integrate; it must be 0" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cf_config *c = parse(cases[i].text);
        assert_fails(cf_config_settle_model(c), CF_EINVAL, cases[i].line);
        assert_fails(cf_config_check(c), CF_EINVAL, cases[i].line);
        cf_config_free(c);
    }
    cf_config *c = parse("DATA: {NUM_FRAMES: 1}\nMODEL: {VIDEO: one, MIT_LAYERS: 0}\n");
    assert_ok(cf_config_settle_model(c));
    assert_ok(cf_config_check(c));
    cf_config_free(c);
}

/* ---- runs ------------------------------------------------------------------------------------ */

static const char *const one[] = { "MODEL.VIDEO=one",   "DATA.NUM_FRAMES=1", "MODEL.MIT_LAYERS=0",
                                   "MODEL.PROMPT=none", "TEST.NUM_CLIP=2",   NULL };
static const char *const joint[] = { "MODEL.VIDEO=joint", "MODEL.MIT_LAYERS=0", NULL };
static const char *const head[] = { "MODEL.HEAD=fc", "MODEL.PROMPT=none", NULL };

static char *file_of(const char *folder, const char *name, const char *file)
{
    char *path;
    assert_ok(cf_format(&path, "%s/%s/%s", folder, name, file));
    return path;
}

static void stopped_and_gone_on(void **state)
{
    (void)state;
    const char *const *variants[] = { one, joint, head };
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        char *folder = micro_folder(false), *last = file_of(folder, "parts", "last.safetensors"),
             *whole = file_of(folder, "whole", "last.safetensors");
        micro_train_whole(folder, "whole", variants[i]);
        cf_config *c = micro_config(folder, "parts", variants[i]);
        assert_fails(micro_train(c, 4), CF_EINTERRUPTED, "--resume");
        c = micro_config(folder, "parts", variants[i]);
        assert_ok(cf_config_set_plain(c, "MODEL.RESUME", last, "--resume"));
        assert_ok(micro_train(c, 0));
        assert_same_tensors(last, whole);
        cf_free(last);
        cf_free(whole);
        test_folder_remove(folder);
    }
}

/* The key is taken off the list of those that were given. */
static void forget(cf_config *c, const char *key)
{
    size_t index;
    assert_non_null(cf_config_find(&index, key));
    cf_free(c->origin[index]);
    c->origin[index] = NULL;
}

static cf_status test_run(cf_eval_record *e, cf_config *c, const char *weights)
{
    const cf_run_options o = { .only_test = true };
    cf_run *r = NULL;
    assert_ok(cf_config_set_plain(c, "MODEL.RESUME", weights, "--resume"));
    cf_status status = cf_run_new(&r, c, &o);
    if (status == CF_OK) status = cf_run_test(e, r);
    cf_run_free(r);
    return status;
}

static void a_checkpoint_tells_joint(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *last = file_of(folder, "a", "last.safetensors");
    const char *const more[] = { "DATA.NUM_FRAMES=2", "MODEL.MIT_POSITION=interpolate", NULL };
    const char *const other[] = { "MODEL.VIDEO=cct", NULL };
    cf_eval_record e;
    micro_train_whole(folder, "a", joint);
    cf_config *c = micro_config(folder, "b", NULL);
    forget(c, "MODEL.VIDEO");
    forget(c, "MODEL.MIT_LAYERS");
    assert_ok(test_run(&e, c, last));
    assert_int_equal(c->model.video, CF_VIDEO_JOINT);
    assert_int_equal(c->model.mit_layers, 0);
    assert_int_equal(e.frames, 3);
    cf_config_free(c);
    c = micro_config(folder, "b", more);
    forget(c, "MODEL.MIT_LAYERS");
    assert_ok(test_run(&e, c, last)); /* the places of 3 frames for 2 */
    assert_int_equal(e.frames, 2);
    cf_config_free(c);
    c = micro_config(folder, "b", other);
    assert_fails(test_run(&e, c, last), CF_EINVAL,
                 "has the temporal embedding of joint attention (--opts)");
    cf_config_free(c);
    cf_free(last);
    test_folder_remove(folder);
}

/* A trunk trained for one way of seeing frames is no start for another. */
static void other_trunks_are_refused(void **state)
{
    (void)state;
    char *folder = micro_folder(false), *start = file_of(folder, "a", "last.safetensors");
    cf_weights *w;
    cf_xclip *m;
    cf_xclip_config sizes;
    cf_load_counts counts;
    micro_train_whole(folder, "a", joint);
    assert_ok(cf_weights_open_model(&w, start));
    assert_ok(cf_xclip_config_from_file(&sizes, w));
    assert_int_equal(sizes.video, CF_ENCODER_JOINT);
    assert_int_equal(sizes.frames, 3);
    sizes.video = CF_ENCODER_MEAN;
    assert_ok(cf_xclip_declare(&m, &sizes));
    assert_fails(cf_xclip_check(&counts, m, w, true), CF_EFORMAT,
                 "joint attention cannot start one that looks at frames apart");
    cf_xclip_free(m);
    cf_weights_close(w);
    cf_free(start);
    test_folder_remove(folder);
}

TESTS(TEST(keys_follow), TEST(contradictions_are_refused), TEST(stopped_and_gone_on),
      TEST(a_checkpoint_tells_joint), TEST(other_trunks_are_refused))
