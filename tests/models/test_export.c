/* Writing: rounding to 16 bits, archives, the folder of XCLIPModel, and failures that leave nothing
 * behind. That PyTorch reads the archives is for tests/peer. */
#include "layout_help.h"
#include "models/weights/container.h"
#include "models/weights/export.h"
#include "test_in_folder.h"

static float bits_as_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint16_t narrow_one(cf_st_dtype dtype, double x, size_t lost)
{
    cf_real value = (cf_real)x;
    uint16_t out[2] = { 0 };
    assert_int_equal(cf_narrow(out, dtype, &value, 1), lost);
    return out[0];
}

/* Every number of the type comes back; the middle of two neighbours goes to the even one, and what
 * lies a little to a side of it to that side. */
static void check_rounding(cf_st_dtype dtype, uint16_t largest)
{
    for (uint32_t h = 0; h <= largest; h++) {
        uint16_t pair[2] = { (uint16_t)h, (uint16_t)(h + 1) };
        cf_real a, b;
        cf_widen(&a, pair, dtype, 0, 1, 1);
        assert_int_equal(narrow_one(dtype, (double)a, 0), h);
        assert_int_equal(narrow_one(dtype, -(double)a, 0), h | 0x8000);
        if (h == largest) return;
        cf_widen(&b, pair, dtype, 1, 1, 1);
        double middle = ((double)a + (double)b) / 2;
        uint32_t even = h % 2 ? h + 1 : h;
        if ((double)(float)middle != middle) continue; /* below float's smallest */
        assert_int_equal(narrow_one(dtype, middle, 0), even);
        assert_int_equal(narrow_one(dtype, (double)nextafterf((float)middle, 0), 0), h);
        assert_int_equal(narrow_one(dtype, (double)nextafterf((float)middle, INFINITY), 0), h + 1);
    }
}

static void rounding_is_to_nearest_even(void **state)
{
    (void)state;
    check_rounding(CF_ST_F16, 0x7bff);
    check_rounding(CF_ST_BF16, 0x7f7f);
    assert_int_equal(narrow_one(CF_ST_F16, 65519.996, 0), 0x7bff);
    assert_int_equal(narrow_one(CF_ST_F16, 65520, 1), 0x7c00);
    assert_int_equal(narrow_one(CF_ST_F16, -1e9, 1), 0xfc00);
    assert_int_equal(narrow_one(CF_ST_BF16, 3.4e38, 1), 0x7f80);
    assert_int_equal(narrow_one(CF_ST_F16, INFINITY, 0), 0x7c00);
    assert_int_equal(narrow_one(CF_ST_BF16, -INFINITY, 0), 0xff80);
    assert_true((narrow_one(CF_ST_F16, NAN, 0) & 0x7fff) > 0x7c00);
    cf_real odd = (cf_real)bits_as_float(0x7f800001); /* its fraction is lost when it is cut */
    uint16_t out;
    assert_int_equal(cf_narrow(&out, CF_ST_BF16, &odd, 1), 0);
    assert_true((out & 0x7fff) > 0x7f80);
}

static void result_may_take_the_place(void **state)
{
    (void)state;
    cf_real x[1000];
    float want[1000];
    uint16_t half[1000];
    for (size_t i = 0; i < 1000; i++) x[i] = (cf_real)(want[i] = (float)i * 0.25f);
    cf_narrow(half, CF_ST_F16, x, 1000);
    cf_narrow(x, CF_ST_F16, x, 1000);
    assert_memory_equal(x, half, sizeof half);
    for (size_t i = 0; i < 1000; i++) x[i] = (cf_real)want[i];
    cf_narrow(x, CF_ST_F32, x, 1000);
    assert_memory_equal(x, want, sizeof want);
}

/* ---- files ----------------------------------------------------------------------------------- */

static cf_weights *small_file(const cf_xclip_config *c)
{
    char *path = test_path(folder, "in.safetensors");
    cf_xclip *m = small_model(c, 1);
    write_native(path, m);
    cf_xclip_free(m);
    cf_weights *w = open_native(path);
    cf_free(path);
    return w;
}

static void same_input_same_bytes(void **state)
{
    (void)state;
    static const cf_st_pair metadata[] = { { "epoch", "3" }, { "config", "a: \"b\"\n" } };
    cf_weights *w = small_file(&small_sizes), *back;
    char *path[] = { test_path(folder, "a"), test_path(folder, "b") }, *bytes[2];
    size_t n[2];
    for (int format = 0; format < 2; format++) {
        const cf_export e = { .layout = CF_LAYOUT_XCLIP,
                              .format = (cf_weights_format)format,
                              .dtype = CF_ST_BF16,
                              .metadata = metadata,
                              .n_metadata = 2 };
        for (int i = 0; i < 2; i++) {
            assert_ok(cf_weights_export(path[i], w, &e));
            assert_ok(cf_file_read(&bytes[i], &n[i], path[i]));
        }
        assert_int_equal(n[0], n[1]);
        assert_memory_equal(bytes[0], bytes[1], n[0]);
        assert_ok(cf_weights_open(&back, path[0]));
        assert_string_equal(cf_weights_metadata(back, "epoch"), "3");
        assert_string_equal(cf_weights_metadata(back, "config"), "a: \"b\"\n");
        assert_int_equal(cf_weights_at(back, 0)->dtype, CF_ST_BF16);
        cf_weights_close(back);
        cf_free(bytes[0]);
        cf_free(bytes[1]);
    }
    cf_weights_close(w);
    cf_free(path[0]);
    cf_free(path[1]);
}

static void xclip_model_folder(void **state)
{
    (void)state;
    cf_weights *w = small_file(&small_sizes), *back;
    const cf_export e = { .dtype = CF_ST_F32 };
    char *to = test_path(folder, "deep/er"), *path, *text;
    size_t n;
    assert_ok(cf_weights_export_hf(to, w, &e));
    assert_int_equal(count_files(to), 3);
    assert_ok(cf_weights_export_hf(to, w, &e)); /* over it */
    assert_int_equal(count_files(to), 3);
    path = test_path(to, "model.safetensors");
    assert_ok(cf_weights_open_model(&back, path));
    assert_string_equal(cf_weights_metadata(back, "format"), "pt");
    assert_same_weights(w, back);
    cf_weights_close(back);
    cf_free(path);
    path = test_path(to, "config.json");
    assert_ok(cf_file_read(&text, &n, path));
    assert_non_null(strstr(text, "\"mit_num_attention_heads\": 3,"));
    assert_non_null(strstr(text, "\"prompt_num_attention_heads\": 3,"));
    assert_non_null(strstr(text, "\"num_frames\": 3,"));
    assert_non_null(strstr(text, "\"torch_dtype\": \"float32\""));
    cf_free(text);
    cf_free(path);
    path = test_path(to, "preprocessor_config.json");
    assert_ok(cf_file_read(&text, &n, path));
    assert_non_null(strstr(text, "0.485"));
    cf_free(text);
    cf_free(path);
    cf_free(to);
    cf_weights_close(w);
}

/* ---- failures -------------------------------------------------------------------------------- */

static void refusals_leave_nothing(void **state)
{
    (void)state;
    const cf_xclip_config clip = small_clip();
    cf_weights *w = small_file(&clip);
    cf_real *big;
    cf_export e = { .layout = CF_LAYOUT_CLIP, .dtype = CF_ST_F16 };
    char *to = test_path(folder, "out"), *inside = test_path(folder, "no/out");
    assert_fails(cf_weights_export_hf(to, w, &e), CF_EUNSUPPORTED, "0 MIT layers");
    assert_ok(cf_alloc_zero(&big, 64, sizeof *big));
    big[3] = (cf_real)1e6;
    assert_ok(cf_weights_put(w, "ln_final.bias", 1, (const size_t[]){ 64 }, big));
    for (int format = 0; format < 2; format++) {
        e.format = (cf_weights_format)format;
        assert_fails(cf_weights_export(to, w, &e), CF_ENUMERIC,
                     "1 number is too large for F16, the first in ln_final.bias: take bf16");
        assert_fails(cf_weights_export(inside, w, &e), format ? CF_EIO : CF_ENOTFOUND, inside);
    }
    assert_ok(cf_alloc_zero(&big, 1, sizeof *big));
    assert_ok(cf_weights_put(w, "surplus", 1, (const size_t[]){ 1 }, big));
    assert_fails(cf_weights_export(to, w, &e), CF_EUNSUPPORTED, "no name for tensor surplus");
    assert_int_equal(count_files(folder), 1); /* in.safetensors */
    cf_weights_close(w);
    cf_free(to);
    cf_free(inside);
}

static void without_memory_nothing_is_left(void **state)
{
    (void)state;
    cf_weights *w = small_file(&small_sizes);
    char *to = test_path(folder, "out");
    for (int format = 0; format < 2; format++) {
        const cf_export e = { .layout = CF_LAYOUT_XCLIP_HF,
                              .format = (cf_weights_format)format,
                              .dtype = CF_ST_F32 };
        size_t before = cf_memory_stats_get().bytes_now, n = 0;
        for (cf_status status = CF_ENOMEM; status != CF_OK; n++) {
            cf_memory_fail_at(n + 1);
            status = format ? cf_weights_export(to, w, &e) : cf_weights_export_hf(to, w, &e);
            cf_memory_fail_at(0);
            assert_true(status == CF_OK || status == CF_ENOMEM);
            assert_int_equal(cf_memory_stats_get().bytes_now, before);
            assert_int_equal(count_files(folder), status == CF_OK ? 2 : 1);
        }
        assert_true(n > 10);
        if (!format) {
            char *argv[] = { "rm", "-r", to, NULL };
            pid_t child = fork();
            if (child == 0) execvp("rm", argv);
            waitpid(child, NULL, 0);
        }
    }
    cf_weights_close(w);
    cf_free(to);
}

#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, folder_setup, folder_teardown)
TESTS(TEST(rounding_is_to_nearest_even), TEST(result_may_take_the_place),
      IN_FOLDER(same_input_same_bytes), IN_FOLDER(xclip_model_folder),
      IN_FOLDER(refusals_leave_nothing), IN_FOLDER(without_memory_nothing_is_left))
