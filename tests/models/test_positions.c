/* Position embeddings of another T and picture size, against PyTorch's interpolation. */
#include "layout_help.h"
#include "positions_golden.h"
#include "test_in_folder.h"

/* A CLIP of 4 x 4 patches and width `d` = 2 but in name: only what the functions look at. */
static cf_weights *write_tensors(void)
{
    static const float zeros[64];
    float positions[2 + 32] = { 5, 6 };
    memcpy(positions + 2, grid_4, sizeof grid_4);
    const cf_st_tensor tensors[] = {
        { .name = "mit.positional_embedding", .rank = 3, .shape = { 1, 5, 3 }, .data = frames_5 },
        { .name = "visual.positional_embedding", .rank = 2, .shape = { 17, 2 }, .data = positions },
        { .name = "visual.conv1.weight", .rank = 4, .shape = { 2, 3, 2, 2 }, .data = zeros },
        { .name = "text_projection", .rank = 2, .shape = { 2, 3 }, .data = zeros },
        { .name = "positional_embedding", .rank = 2, .shape = { 4, 2 }, .data = zeros },
        { .name = "token_embedding.weight", .rank = 2, .shape = { 8, 2 }, .data = zeros },
    };
    char *path = test_path(folder, "w.safetensors");
    cf_weights *w;
    assert_ok(cf_st_write(path, tensors, sizeof tensors / sizeof *tensors, NULL, 0));
    assert_ok(cf_weights_open(&w, path));
    cf_free(path);
    return w;
}

static size_t read_tensor(cf_real *out, const cf_weights *w, const char *name)
{
    const cf_weight *t;
    assert_ok(cf_weights_get(&t, w, name));
    assert_ok(cf_weights_read(out, t->n, w, t));
    return t->n;
}

static void frames_like_pytorch(void **state)
{
    (void)state;
    static const struct {
        size_t T;
        const float *want;
    } cases[] = { { 8, frames_8 }, { 2, frames_2 }, { 5, frames_5 } };
    cf_real got[24];
    for (size_t i = 0; i < 3; i++) {
        cf_weights *w = write_tensors();
        assert_ok(cf_weights_set_frames(w, cases[i].T, CF_FRAMES_INTERPOLATE, 1));
        assert_int_equal(read_tensor(got, w, "mit.positional_embedding"), 3 * cases[i].T);
        assert_all_near(got, cases[i].want, 3 * cases[i].T, 1e-6);
        cf_weights_close(w);
    }
}

static void frames_cut_and_new(void **state)
{
    (void)state;
    cf_real got[36], again[36];
    cf_weights *w = write_tensors();
    assert_ok(cf_weights_set_frames(w, 12, CF_FRAMES_CUT, 1));
    assert_int_equal(read_tensor(got, w, "mit.positional_embedding"), 36);
    for (size_t i = 0; i < 36; i++) assert_near(got[i], frames_5[i % 15], 0);
    assert_ok(cf_weights_set_frames(w, 4, CF_FRAMES_CUT, 1));
    assert_int_equal(read_tensor(got, w, "mit.positional_embedding"), 12);
    assert_all_near(got, frames_5, 12, 0);
    assert_ok(cf_weights_set_frames(w, 12, CF_FRAMES_NEW, 1));
    read_tensor(got, w, "mit.positional_embedding");
    for (size_t i = 0; i < 36; i++) assert_true(got[i] != 0 && fabs((double)got[i]) < 0.1);
    assert_ok(cf_weights_set_frames(w, 11, CF_FRAMES_NEW, 1));
    read_tensor(again, w, "mit.positional_embedding");
    assert_memory_equal(got, again, 33 * sizeof *got);
    assert_fails(cf_weights_set_frames(w, 0, CF_FRAMES_CUT, 1), CF_EFORMAT, "no frames");
    cf_weights_close(w);
}

/* Joint attention's places [T, d] are resized alike; new ones start as a new model's, at 0. */
static void joint_attention(void **state)
{
    (void)state;
    const cf_st_tensor tensors[] = {
        { .name = "visual.temporal_embedding", .rank = 2, .shape = { 5, 3 }, .data = frames_5 },
        { .name = "visual.conv1.weight", .rank = 1, .shape = { 1 }, .data = frames_5 },
    };
    char *path = test_path(folder, "joint.safetensors");
    const cf_weight *t;
    cf_weights *w;
    cf_real got[24];
    assert_ok(cf_st_write(path, tensors, 2, NULL, 0));
    assert_ok(cf_weights_open(&w, path));
    assert_int_equal(cf_weights_frames(w), 5);
    assert_ok(cf_weights_set_frames(w, 8, CF_FRAMES_INTERPOLATE, 1));
    assert_ok(cf_weights_get(&t, w, "visual.temporal_embedding"));
    assert_int_equal(t->rank, 2);
    assert_int_equal(t->shape[0], 8);
    assert_int_equal(read_tensor(got, w, "visual.temporal_embedding"), 24);
    assert_all_near(got, frames_8, 24, 1e-6);
    assert_ok(cf_weights_set_frames(w, 4, CF_FRAMES_NEW, 1));
    assert_int_equal(read_tensor(got, w, "visual.temporal_embedding"), 12);
    for (size_t i = 0; i < 12; i++) assert_near(got[i], 0, 0);
    assert_null(cf_weights_find(w, "mit.positional_embedding"));
    cf_weights_close(w);
    cf_free(path);
}

static void pictures_like_pytorch(void **state)
{
    (void)state;
    static const struct {
        size_t side;
        cf_picture_positions by;
        const float *want;
    } cases[] = { { 7, CF_PICTURES_BICUBIC, bicubic_7 },
                  { 3, CF_PICTURES_BICUBIC, bicubic_3 },
                  { 7, CF_PICTURES_BILINEAR, bilinear_7 },
                  { 3, CF_PICTURES_BILINEAR, bilinear_3 } };
    cf_real got[100];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = 2 * cases[i].side * cases[i].side;
        cf_weights *w = write_tensors();
        assert_ok(cf_weights_set_image(w, 2 * cases[i].side, cases[i].by));
        assert_int_equal(read_tensor(got, w, "visual.positional_embedding"), n + 2);
        assert_true(got[0] == 5 && got[1] == 6); /* the class token's */
        assert_all_near(got + 2, cases[i].want, n, 2e-6);
        assert_fails(cf_weights_set_image(w, 5, cases[i].by), CF_EINVAL, "whole patches of 2");
        cf_weights_close(w);
    }
}

static void without_memory_nothing_changes(void **state)
{
    (void)state;
    cf_real got[100];
    cf_weights *w = write_tensors();
    size_t n = 0;
    for (cf_status status = CF_ENOMEM; status != CF_OK; n++) {
        cf_memory_fail_at(n + 1);
        status = cf_weights_set_image(w, 6, CF_PICTURES_BICUBIC);
        if (status == CF_OK) status = cf_weights_set_frames(w, 2, CF_FRAMES_INTERPOLATE, 1);
        cf_memory_fail_at(0);
        assert_true(status == CF_OK || status == CF_ENOMEM);
    }
    assert_true(n > 10);
    assert_int_equal(read_tensor(got, w, "mit.positional_embedding"), 6);
    cf_weights_close(w);
}

TESTS(cmocka_unit_test_setup_teardown(frames_like_pytorch, folder_setup, folder_teardown),
      cmocka_unit_test_setup_teardown(frames_cut_and_new, folder_setup, folder_teardown),
      cmocka_unit_test_setup_teardown(joint_attention, folder_setup, folder_teardown),
      cmocka_unit_test_setup_teardown(pictures_like_pytorch, folder_setup, folder_teardown),
      cmocka_unit_test_setup_teardown(without_memory_nothing_changes, folder_setup,
                                      folder_teardown))
